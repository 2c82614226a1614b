"""Any text reads, or is refused in one line; in linear time."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.text.glossary import Glossary
from pipeline.text.normalize import TextNormalizer
from pipeline.text.script import prepare_script

PIECES = (
    "0 1 2 05 12 300 1999 2024 1,000 3.5 . , : ; / - -- ~ ～ — – % ‰ $ € ¥ £ ₹ ¢ # @ & + * ** _ __ ` ~~ = ^ < > ≤ ≥ ± × ÷ ² ³ √ "
    "° ℃ ' \" “ ” ( ) [ ] 【 】 { } | \\ … ! ? 。 ， 、 ： m km kg s h am pm th st nd C F K M B x v No. Dr. St. e.g. U.S. Henry VIII XIV "
    "May Jan. code PIN call 第 年 月 日 号 点 分 个 万 亿 比分 胜 电话 编号 约 到 &amp; &#8364; <b> </b> <break/> [pause] \n \n\n http:// www. .com a.b@c.de "
    "config.yaml 😀 ∮ ½ Ⅳ ① ㎡ \u200b \u202e \ud800 \u0301 é ß İ ſ שלום ١٢ 한 ｱ XUAN4 it's 's"
).split(" ")
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from([*PIECES, " ", " "]), max_size=24).map("".join),
    st.text(alphabet="0123456789.,:/-~%$€+*^'\" apmthskKMxX年月日第", max_size=40),
)
LANGUAGES = st.sampled_from(["auto", "zh", "en"])
UNSPOKEN = set("：；，。！？（）【】“”\\`*_#|")


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS, LANGUAGES)
def test_any_text_reads(normalizer, text, language):
    reading = normalizer.read(text, language)
    spoken = reading.spoken
    assert spoken == spoken.strip() and "  " not in spoken
    assert not set(spoken) & UNSPOKEN
    assert not any(c.isdecimal() for c in spoken if c.isascii()) or any(
        form.kind == "pinyin" for form in reading.forms
    )
    assert len(reading.aligned.starts) == len(reading.aligned.ends) == len(spoken)
    assert all(
        0 <= a <= b <= len(text) for a, b in zip(reading.aligned.starts, reading.aligned.ends, strict=True)
    )
    assert all(0 <= form.start <= form.end <= len(text) for form in reading.forms)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS, LANGUAGES)
def test_any_text_is_prepared_or_refused_in_one_line(normalizer, tokenizer, text, language):
    try:
        prepare_script(text, normalizer, tokenizer, language=language)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 300


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS, LANGUAGES)
def test_a_glossary_overrules_any_kind(text, language):
    normalizer = TextNormalizer(Glossary.parse("3.5=half way\n$5=a fiver\nconfig.yaml=the file"))
    spoken = normalizer.normalize(f"{text} 。 config.yaml 。", language)
    assert "the file" in spoken


@pytest.mark.parametrize(
    "unit",
    [
        "7",
        "[",
        "a",
        "1-",
        "1,",
        "1.",
        "1 ",
        "$1",
        "<a ",
        "&a",
        "*a",
        "`a",
        "A. ",
        "x.",
        "a.b/",
        "(1",
        "X",
        "∮",
        "1:",
    ],
)
def test_work_grows_with_the_text_alone(unit):
    """Twice the text, at most twice the calls (not the time, which a busy machine spoils)."""
    normalizer = TextNormalizer()

    def calls(size: int) -> int:
        count = 0

        def counted(frame, event, arg):
            nonlocal count
            count += 1

        text = (unit * size)[:size]
        normalizer.normalize(text)  # what is loaded once
        sys.setprofile(counted)
        try:
            normalizer.normalize(text)
        finally:
            sys.setprofile(None)
        return count

    assert calls(4000) <= 2.5 * calls(2000) + 2000
