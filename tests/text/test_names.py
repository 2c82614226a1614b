"""Names: the CMU dictionary's readings of words that the reader's own dictionary lacks."""

import pytest

from pipeline.text.annotations import phones_of
from pipeline.text.names import NamesFirst, pronunciations, read_name
from pipeline.text.phones import PHONES, STRESS, read_phones
from training import names

pytest.importorskip("hibari", reason="hibari-tts is not installed (requirements-dev.txt)")


def never(word: str) -> str:
    raise AssertionError(f"the network was asked for {word}")


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("Yosemite", "jOsˈɛmɪTi"),
        ("YOSEMITE", "jOsˈɛmɪTi"),
        ("Chirac", "ʃɪɹˈæk"),
        ("Chirac's", "ʃɪɹˈæks"),
        ("Chirac’s", "ʃɪɹˈæks"),
        ("Gonzalez's", "ɡɑnzˈɑləzᵻz"),
    ],
)
def test_names_are_read_as_people_say_them(text, phones):
    assert read_name(text) == phones
    assert read_phones(text.capitalize()) == phones


@pytest.mark.parametrize("word", ["", "'s", "blorptrix", "the", "naïve", "x" * 300])
def test_what_is_no_name_is_left_to_others(word):
    assert read_name(word) is None
    assert NamesFirst(lambda: lambda asked: f"net {asked}")(word) == f"net {word}"


def test_the_network_is_not_even_loaded_for_a_name():
    assert NamesFirst(lambda: never)("Yosemite") == read_name("Yosemite")


def test_every_entry_is_spoken_in_the_readers_phones():
    assert len(pronunciations()) > 30_000
    for word, cmu in pronunciations().items():
        assert word.isascii() and word.isalpha() and word.islower()
        assert set(phones_of(cmu)) <= set(PHONES + STRESS), word


def test_an_entry_is_kept_where_the_network_errs(tmp_path, monkeypatch):
    lines = [
        "yosemite Y OW0 S EH1 M IH0 T IY0",
        "yosemite(2) Y OW1",
        "# no word",
        "a.b. EY1",
        "the DH AH0",
        "zig-zag Z",
    ]
    found = names.entries(lines)
    assert found == {"yosemite": "Y OW0 S EH1 M IH0 T IY0", "the": "DH AH0"}
    assert names.missing(found) == {"yosemite": "Y OW0 S EH1 M IH0 T IY0"}
    names.write({"b": "B IY1", "a": "EY1"}, tmp_path / "n.gz")
    monkeypatch.setattr("pipeline.text.names.FILE", tmp_path / "n.gz")
    assert list(pronunciations.__wrapped__().items()) == [("a", "EY1"), ("b", "B IY1")]


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [("wˈɔtᵊɹ", "wˈɔTəɹ", True), ("kˈIɹæk", "ʃɪɹˈæk", False), ("ɹˈikɔɹd", "ɹɪkˈɔɹd", False)],
)
def test_what_counts_as_another_reading(ours, theirs, same):
    assert names.alike(ours, theirs) is same
