"""Glossaries: their forms, what matches, and what is refused."""

import pytest
import yaml

from pipeline.text.glossary import MAX_TERMS, Glossary


def spoken(glossary: Glossary, text: str, language: str = "en") -> str:
    return glossary.replace(text, language, lambda reading: f"<{reading}>")


def test_longest_first_and_case_insensitive():
    glossary = Glossary.parse("gpt=one\nGPT-5=two\ngpt-5-nano=three")
    assert spoken(glossary, "Gpt, gPt-5 and GPT-5-NANO") == "<one>, <two> and <three>"


def test_latin_terms_match_whole_words_only():
    glossary = Glossary.parse(["AI=A I", "C++=see plus plus", "重庆=CHONG2 QING4"])
    assert spoken(glossary, "AI MAIN AI2 用AI做 C++ C++x 在重庆市") == (
        "<A I> MAIN AI2 用<A I>做 <see plus plus> <see plus plus>x 在<CHONG2 QING4>市"
    )


def test_readings_per_language():
    glossary = Glossary.from_mapping(
        {"TTS": {"zh": "语音合成", "en": "tee tee ess"}, "M.I.": {"en": "em eye"}, "B": "bee"}
    )
    assert spoken(glossary, "TTS M.I. B", "zh") == "<语音合成> M.I. <bee>"
    assert spoken(glossary, "TTS M.I. B", "en") == "<tee tee ess> <em eye> <bee>"


def test_full_width_terms_match_their_cleaned_form():
    assert spoken(Glossary.parse("ＡＩ（x）=A I"), "AI(x)") == "<A I>"


def test_letters_that_fold_differently_are_left_alone():
    assert spoken(Glossary.parse("ink=I N K"), "ınk ink") in ("ınk <I N K>", "<I N K> <I N K>")


def test_parse_keeps_further_equal_signs_and_skips_blank_lines():
    assert spoken(Glossary.parse("\n E=m c=squared \n\n"), "E") == "<m c=squared>"
    assert len(Glossary.parse("")) == 0 and spoken(Glossary(), "x") == "x"


def test_published_file(tmp_path):
    path = tmp_path / "glossary.yaml"
    path.write_text(
        yaml.safe_dump({"M.2": {"zh": "M二", "en": "M two"}, "GPT": "G P T"}, allow_unicode=True), "utf-8"
    )
    assert spoken(Glossary.from_file(path), "m.2 gpt") == "<M two> <G P T>"
    path.write_text("")
    assert len(Glossary.from_file(path)) == 0


def test_merging_prefers_the_other():
    own = Glossary.from_mapping({"A b": {"zh": "一", "en": "one"}})
    merged = own.merged(Glossary.from_mapping({"a B": {"en": "two"}}))
    assert len(merged) == 1 and spoken(merged, "a b") == "<two>" and spoken(merged, "a b", "zh") == "<一>"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Glossary.parse("a=b\nnonsense"), "line 2 is 'nonsense'; it must be term=reading"),
        (lambda: Glossary.parse("=b"), "line 1"),
        (lambda: Glossary.parse("a="), "line 1"),
        (lambda: Glossary.parse("\u200b=b"), "must hold something"),
        (lambda: Glossary.parse("a=" + "b" * 201), "201 characters; at most 200"),
        (lambda: Glossary.parse("a" * 101 + "=b"), "101 characters; at most 100"),
        (
            lambda: Glossary.parse("\n".join(f"t{i}=x" for i in range(MAX_TERMS + 1))),
            "1001 terms; at most 1000",
        ),
        (lambda: Glossary.from_mapping(["a"]), "not a list"),
        (lambda: Glossary.from_mapping({"a": 5}), "must be text"),
        (lambda: Glossary.from_mapping({5: "a"}), "must be text"),
        (lambda: Glossary.from_mapping({"a": {"fr": "b"}}), "allowed: zh, en"),
        (lambda: Glossary.from_mapping({"a": {}}), "allowed: zh, en"),
        (lambda: Glossary.from_mapping({"a": {"en": None}}), "must be text"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"- a\n- b", b"just text"])
def test_broken_file(tmp_path, content):
    path = tmp_path / "glossary.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="glossary") as caught:
        Glossary.from_file(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="cannot read the glossary nothing.yaml"):
        Glossary.from_file(tmp_path / "nothing.yaml")
