"""The sentence generator: repeatable, varied, and apart from the held-out sentences."""

import random
import re

import pytest

from training import corpus, spelling


@pytest.fixture(scope="module")
def sentences():
    return corpus.sentences(3000, seed=5)


def test_same_seed_same_sentences_and_another_seed_others(sentences):
    assert sentences == corpus.sentences(3000, seed=5)
    assert sentences != corpus.sentences(3000, seed=6)


def test_asked_for_number_and_speakable_length(sentences):
    assert len(sentences) == 3000
    assert all(1 <= len(text.split()) <= corpus.MAX_WORDS for text in sentences)


def test_no_held_out_sentence_or_word(sentences):
    assert len(corpus.held_out()) >= 100 and len(corpus.unseen_words()) >= 20
    assert not set(sentences) & set(corpus.held_out())
    words = {word for text in sentences for word in re.findall(r"[a-z']+", text.lower())}
    assert not words & corpus.unseen_words()
    held = {word for text in corpus.held_out() for word in re.findall(r"[a-z']+", text.lower())}
    assert held & corpus.unseen_words()


def test_only_characters_the_tokenizer_knows(sentences):
    assert set("".join(sentences)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz '-,.!?")


def test_wide_vocabulary_and_all_sentence_types(sentences):
    words = {word for text in sentences for word in re.findall(r"[a-z']+", text.lower())}
    assert len(words) > 6000
    assert {text[-1] for text in sentences} == {".", "!", "?"}
    lengths = [len(text.split()) for text in sentences]
    assert min(lengths) == 1 and max(lengths) > 20


def test_every_template_can_be_filled():
    grammar = corpus.Grammar(random.Random(0))
    for template in corpus.read_lines("templates.txt"):
        assert not re.search(r"[{}\[\]]", grammar.sentence(template)), template


def test_unknown_slot_is_named():
    with pytest.raises(ValueError, match=r"slot \{nonesuch\} does not exist"):
        corpus.Grammar(random.Random(0)).sentence("The {nonesuch}.")


@pytest.mark.parametrize(
    "verb, past, participle, ing, third",
    [
        ("go/went/gone", "went", "gone", "going", "goes"),
        ("carry", "carried", "carried", "carrying", "carries"),
        ("stop", "stopped", "stopped", "stopping", "stops"),
        ("die", "died", "died", "dying", "dies"),
        ("have/had/had", "had", "had", "having", "has"),
        ("watch", "watched", "watched", "watching", "watches"),
        ("agree", "agreed", "agreed", "agreeing", "agrees"),
        ("admit", "admitted", "admitted", "admitting", "admits"),
    ],
)
def test_inflection(verb, past, participle, ing, third):
    assert [corpus.inflect(verb, form) for form in ("past", "pp", "ing", "s")] == [
        past,
        participle,
        ing,
        third,
    ]


@pytest.mark.parametrize(
    "noun, plural", [("city", "cities"), ("boy", "boys"), ("box", "boxes"), ("wolf", "wolves")]
)
def test_plural(noun, plural):
    assert corpus.plural(noun) == plural


def test_articles():
    assert [corpus.with_article(word) for word in ("apple", "uniform", "hour", "dog")] == [
        "an apple",
        "a uniform",
        "an hour",
        "a dog",
    ]


@pytest.mark.parametrize(
    "number, words",
    [
        (0, "zero"),
        (21, "twenty one"),
        (100, "one hundred"),
        (115, "one hundred and fifteen"),
        (2_005, "two thousand and five"),
        (1_234_567, "one million two hundred and thirty four thousand five hundred and sixty seven"),
    ],
)
def test_cardinals(number, words):
    assert spelling.cardinal(number) == words


def test_ordinals_and_years():
    assert [spelling.ordinal(n) for n in (1, 12, 20, 23, 40)] == [
        "first",
        "twelfth",
        "twentieth",
        "twenty third",
        "fortieth",
    ]
    assert [spelling.year(n) for n in (1984, 1905, 1900, 2000, 2023)] == [
        "nineteen eighty four",
        "nineteen oh five",
        "nineteen hundred",
        "two thousand",
        "two thousand and twenty three",
    ]


def test_number_out_of_range():
    with pytest.raises(ValueError, match="-1 is outside 0 to 999999999"):
        spelling.cardinal(-1)
