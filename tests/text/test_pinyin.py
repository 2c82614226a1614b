"""Toned pinyin: what is a syllable, and how it is spelled for the model."""

import pytest

from pipeline.text.pinyin import SYLLABLES, has_pinyin, spell_pinyin


def test_syllable_table():
    assert {"zhuang", "xiong", "lve", "er", "ang", "de", "dei", "shang", "yuan", "weng"} <= SYLLABLES
    assert not {"bing2", "beta", "la1", "fi", "jo", "wo2", "v", "a", "e", "o", "m", "ng"} & SYLLABLES
    assert 400 <= len(SYLLABLES) <= 430


@pytest.mark.parametrize(
    ("written", "spelled"),
    [("xuan4", "XVAN4"), ("XUAN4", "XVAN4"), ("ju2qu3xu1", "JV2QV3XV1"), ("qiu2", "qiu2"), ("jun1", "JVN1"),
     ("lü4", "LV4"), ("NÜ3", "NV3"), ("lve4", "LVE4"), ("liao3", "liao3"), ("shu1", "shu1"), ("babala2", "babala2"),
     ("ju6", "ju6"), ("ju21", "ju21"), ("éju2", "éju2"), ("衣ju2裳", "衣JV2裳")],
)  # fmt: skip
def test_spelling(written, spelled):
    assert spell_pinyin(written) == spelled


@pytest.mark.parametrize("text", ["", "beta2", "gan6", "gan0", "GAN34", "a1", "E5", "2gan", "ps5", "gan"])
def test_not_pinyin(text):
    assert not has_pinyin(text)
