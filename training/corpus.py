"""Varied English sentences to speak: templates over word lists, prose, everyday sentences and word drills.

All text is ours or in the public domain (training/text/README.md). Slots of `text/templates.txt`:
`noun mass adjective adverb person name surname city country interjection time title unit` are words; `verb`
(with an object) and `vi` (without) take `.past .pp .ing .s`; `noun` and `unit` take `.s`; `np` is a noun
phrase (`np.s` a plural one), `who` a third-person subject, `pronoun`, `prep` a preposition, `prep.place` a
prepositional phrase of place, `number` (`number.small`), `ordinal`, `year`, `clock`, `date`, `money`,
`digits`, `comparative`. `{a noun}` puts the article; a capital first letter in the slot's name capitalizes
what it yields.
"""

import functools
import random
import re
from pathlib import Path

from training import spelling

TEXT = Path(__file__).parent / "text"
MAX_WORDS = 27
SHARES = {"template": 0.42, "prose": 0.36, "drill": 0.16, "everyday": 0.06}
UNITS = [
    "day",
    "foot",
    "hour",
    "inch",
    "kilometer",
    "meter",
    "mile",
    "minute",
    "month",
    "pound",
    "second",
    "week",
    "year",
    "yard",
]
TITLES = [
    "Doctor",
    "Mister",
    "Missus",
    "Miss",
    "Professor",
    "Captain",
    "Uncle",
    "Aunt",
    "President",
    "Officer",
    "Sir",
    "Lady",
    "Judge",
]
DETERMINERS = [
    "the",
    "the",
    "the",
    "the",
    "a",
    "a",
    "a",
    "my",
    "your",
    "his",
    "her",
    "our",
    "their",
    "this",
    "that",
    "every",
    "each",
    "another",
    "some",
    "the",
    "other",
    "no",
    "any",
    "one",
    "Mary's",
    "the",
    "doctor's",
    "my",
    "mother's",
]
IRREGULAR_PLURALS = dict(
    pair.split("/")
    for pair in [
        "child/children",
        "foot/feet",
        "goose/geese",
        "knife/knives",
        "leaf/leaves",
        "life/lives",
        "loaf/loaves",
        "man/men",
        "mouse/mice",
        "ox/oxen",
        "person/people",
        "shelf/shelves",
        "sheep/sheep",
        "thief/thieves",
        "tooth/teeth",
        "wife/wives",
        "wolf/wolves",
        "woman/women",
        "half/halves",
        "calf/calves",
        "scarf/scarves",
        "fish/fish",
        "deer/deer",
        "aircraft/aircraft",
        "series/series",
        "species/species",
        "hero/heroes",
        "potato/potatoes",
        "tomato/tomatoes",
        "echo/echoes",
        "mosquito/mosquitoes",
        "volcano/volcanoes",
        "crisis/crises",
        "cactus/cacti",
        "handkerchief/handkerchiefs",
        "salesman/salesmen",
        "policeman/policemen",
        "fisherman/fishermen",
        "chairman/chairmen",
        "postman/postmen",
        "grandchild/grandchildren",
    ]
)
DOUBLING = re.compile(
    r"^[^aeiou]*[aeiou][bdgklmnprt]$|(?:admit|commit|occur|refer|prefer|permit|forget|begin|regret)$"
)
SLOT = re.compile(r"\{(\w+)(?: (\w+))?(?:\.(\w+))?\}")
OPTION = re.compile(r"\[([^\]]*)\]")


def read_lines(name: str) -> list[str]:
    """Lines of a file in `training/text`, without comments and blank lines."""
    lines = (line.strip() for line in (TEXT / name).read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@functools.cache
def word_lists() -> dict[str, list[str]]:
    """The sections of `words.txt`, each a list of its entries."""
    sections: dict[str, list[str]] = {}
    for line in read_lines("words.txt"):
        if line.startswith("["):
            words = sections.setdefault(line.strip("[]"), [])
        else:
            entries = line.split(",") if "," in line else line.split()
            words.extend(entry.strip().replace("_", " ") for entry in entries if entry.strip())
    return sections


@functools.cache
def unseen_words() -> frozenset[str]:
    """Words that only the held-out sentences may contain."""
    head = [
        line
        for line in (TEXT / "heldout.txt").read_text("utf-8").splitlines()
        if line.startswith("# unseen:")
    ]
    return frozenset(word for line in head for word in line.removeprefix("# unseen:").split())


@functools.cache
def held_out() -> tuple[str, ...]:
    """The held-out sentences, in file order."""
    return tuple(read_lines("heldout.txt"))


def plural(noun: str) -> str:
    """`city` → "cities"."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s")


def inflect(verb: str, form: str) -> str:
    """A verb of `words.txt` ("go/went/gone" or "walk") in form "base", "past", "pp", "ing" or "s"."""
    base, *irregular = verb.split("/")
    doubled = base + base[-1] if DOUBLING.search(base) else base
    if form == "base":
        return base
    if form in ("past", "pp") and irregular:
        return irregular[form == "pp"]
    if form in ("past", "pp"):
        if re.search(r"[^aeiou]y$", base):
            return base[:-1] + "ied"
        return base + "d" if base.endswith("e") else doubled + "ed"
    if form == "ing":
        if base.endswith("ie"):
            return base[:-2] + "ying"
        return base[:-1] + "ing" if re.search(r"[^eoy]e$", base) and base != "be" else doubled + "ing"
    return {"have": "has", "do": "does", "go": "goes"}.get(base, plural(base))


def with_article(phrase: str) -> str:
    """`a` or `an` before a phrase."""
    vowel = re.match(r"(?!uni|use|usu|eu|one)[aeiou]|hon(est|or)|hour|heir", phrase.lower())
    return ("an " if vowel else "a ") + phrase


def comparative(adjective: str) -> str:
    """`big` → "bigger"; long adjectives take "more"."""
    if len(adjective) > 6 or (len(adjective) > 4 and not adjective.endswith("y")):
        return f"more {adjective}"
    if adjective.endswith("y"):
        return adjective[:-1] + "ier"
    if adjective.endswith("e"):
        return adjective + "r"
    return (adjective + adjective[-1] if DOUBLING.search(adjective) else adjective) + "er"


class Grammar:
    """Fills templates at random; the same `rng` state gives the same sentences."""

    def __init__(self, rng: random.Random):
        self.rng, self.words = rng, word_lists()

    def sentence(self, template: str) -> str:
        """One sentence out of a template of `templates.txt`."""
        text = OPTION.sub(lambda option: option[1] if self.rng.random() < 0.5 else "", template)
        text = SLOT.sub(self._fill, text)
        text = re.sub(r"\s+([,.!?])", r"\1", re.sub(r"\s+", " ", text)).strip()
        return text[0].upper() + text[1:]

    def _fill(self, slot: re.Match) -> str:
        name, second, form = slot.groups()
        lower = name.lower()
        phrase = with_article(self.phrase(second, form)) if second else self.phrase(lower, form)
        return phrase[0].upper() + phrase[1:] if name != lower else phrase

    def phrase(self, name: str, form: str | None) -> str:
        """The words of one slot; ValueError for a slot that does not exist."""
        pick, rng = self.rng.choice, self.rng
        if name in ("verb", "vi"):
            return inflect(pick(self.words["verb" if name == "verb" else "intransitive"]), form or "base")
        if name in ("noun", "unit"):
            word = pick(self.words["noun"] if name == "noun" else UNITS)
            return plural(word) if form == "s" else word
        builders = {
            "np": self._plural_phrase if form == "s" else self._noun_phrase,
            "who": self._subject,
            "pronoun": lambda: pick(("he", "she", "it")),
            "prep": lambda: pick(self.words["preposition"]),
            "title": lambda: pick(TITLES),
            "comparative": lambda: comparative(pick(self.words["adjective"])),
            "number": lambda: spelling.cardinal(self._number(form)),
            "ordinal": lambda: spelling.ordinal(rng.choice((rng.randint(1, 12), rng.randint(13, 99)))),
            "year": lambda: spelling.year(rng.randint(1100, 2099)),
            "clock": lambda: spelling.clock(rng),
            "date": lambda: spelling.date(rng),
            "money": lambda: spelling.money(rng),
            "digits": lambda: spelling.digits(rng),
        }
        if name == "prep" and form == "place":
            where = pick(("in", "at", "near", "behind", "outside", "from", "by"))
            return f"{where} the {pick(self.words['place'])}"
        if name in builders:
            return builders[name]()
        if name in self.words:
            return pick(self.words[name])
        raise ValueError(
            f"template slot {{{name}}} does not exist, allowed: {sorted([*builders, *self.words])}"
        )

    def _number(self, form: str | None) -> int:
        rng = self.rng
        if form == "small":
            return rng.choice((rng.randint(2, 12), rng.randint(13, 99)))
        return rng.choice(
            (
                rng.randint(0, 99),
                rng.randint(100, 999),
                rng.randint(1, 99) * 100,
                rng.randint(1_000, 99_999),
                rng.randint(1, 900) * 1_000_000,
            )
        )

    def _noun_phrase(self) -> str:
        rng, pick = self.rng, self.rng.choice
        kind = rng.random()
        if kind < 0.1:
            return pick(
                (
                    "him",
                    "her",
                    "it",
                    "them",
                    "me",
                    "us",
                    "you",
                    "something",
                    "everything",
                    "nothing",
                    "myself",
                    "himself",
                    "herself",
                    "somebody",
                    "anyone",
                    "everyone",
                )
            )
        if kind < 0.18:
            return pick(self.words["name"])
        if kind < 0.27:
            return self._modified(pick(self.words["mass"]))
        determiner = pick(DETERMINERS)
        noun = self._modified(pick(self.words["noun"]))
        return with_article(noun) if determiner == "a" else f"{determiner} {noun}"

    def _plural_phrase(self) -> str:
        noun = plural(self.rng.choice(self.words["noun"]))
        determiner = self.rng.choice(
            (
                "",
                "",
                "the",
                "my",
                "these",
                "those",
                "some",
                "many",
                "most",
                "all",
                "few",
                "several",
                "both",
                "our",
                "their",
                spelling.cardinal(self._number("small")),
            )
        )
        return f"{determiner} {self._modified(noun)}".strip()

    def _subject(self) -> str:
        pick = self.rng.choice
        return pick(
            (
                pick(self.words["name"]),
                pick(self.words["name"]),
                pick(("he", "she", "it")),
                f"{pick(('the', 'my', 'your', 'our', 'that'))} {self._modified(pick(self.words['person']))}",
                f"{pick(TITLES)} {pick(self.words['surname'])}",
                pick(("someone", "nobody", "everyone")),
            )
        )

    def _modified(self, noun: str) -> str:
        return f"{self.rng.choice(self.words['adjective'])} {noun}" if self.rng.random() < 0.4 else noun


def vocabulary() -> list[str]:
    """Every word the drills go through: the word lists with their inflections and the words of the prose."""
    lists, words = word_lists(), set(read_lines("vocabulary.txt"))
    for section in ("noun", "mass", "adjective", "adverb", "name", "surname", "city", "country"):
        words.update(lists[section])
    words.update(plural(noun) for noun in lists["noun"])
    words.update(
        comparative(adjective) for adjective in lists["adjective"] if " " not in comparative(adjective)
    )
    for verb in lists["verb"] + lists["intransitive"]:
        words.update(inflect(verb, form) for form in ("base", "past", "pp", "ing", "s"))
    return sorted(words - unseen_words())


def drills(rng: random.Random, count: int) -> list[str]:
    """Runs of one to six words in random order, so that each pass over the vocabulary meets each word."""
    sentences: list[str] = []
    queue: list[str] = []
    while len(sentences) < count:
        if len(queue) < 6:
            fresh = vocabulary()
            rng.shuffle(fresh)
            queue.extend(fresh)
        run = [queue.pop() for _ in range(rng.choice((1, 2, 3, 3, 4, 4, 5, 6)))]
        text = rng.choice((", ", " ", " ")).join(run)
        sentences.append(text[0].upper() + text[1:] + rng.choice(".....?!"))
    return sentences


def allowed(sentence: str) -> bool:
    """False for a held-out sentence, one with a word kept for the held-out list, and one that is too long."""
    words = re.findall(r"[a-z']+", sentence.lower())
    return len(words) <= MAX_WORDS and not unseen_words().intersection(words) and sentence not in held_out()


def sentences(count: int, seed: int) -> list[str]:
    """`count` training sentences in random order, mixed by `SHARES`; the same seed gives the same list."""
    rng = random.Random(seed)
    grammar = Grammar(rng)
    templates, prose, everyday = (
        read_lines("templates.txt"),
        read_lines("prose.txt"),
        read_lines("sentences.txt"),
    )
    wanted = {kind: round(share * count) for kind, share in SHARES.items()}
    wanted["template"] += count - sum(wanted.values())
    pools = {
        "template": [grammar.sentence(templates[i % len(templates)]) for i in range(2 * wanted["template"])],
        "prose": _cycled(rng, prose, 2 * wanted["prose"]),
        "everyday": _cycled(rng, everyday, 2 * wanted["everyday"]),
        "drill": drills(rng, 2 * wanted["drill"]),
    }
    chosen = [text for kind, pool in pools.items() for text in list(filter(allowed, pool))[: wanted[kind]]]
    rng.shuffle(chosen)
    return chosen


def _cycled(rng: random.Random, lines: list[str], count: int) -> list[str]:
    """At least `count` lines: whole passes over `lines`, each in a new order."""
    passes = [rng.sample(lines, len(lines)) for _ in range(-(-count // len(lines)))]
    return [line for one_pass in passes for line in one_pass][:count]
