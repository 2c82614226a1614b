"""'s after a pronoun or question word: is, unless a participle says that it means has."""

import re

from pipeline.text.written.rule import Rule, after, rule

_WORDS = r"what|where|who|which|how|there|here|it|he|she|that|this|when|why"
_ADVERBS = r"(?: (?:already|always|just|never|only|ever|not|also|still|long|since|now|all|really|finally|probably|recently))?"
# With one of these 's is "has" (or may be): it stays as written, which is right either way.
_SUBJECT = (
    r"(?: (?:he|she|it|everyone|everybody|(?:the|my|your|his|her|our|their) [a-z]+))?"  # "where's he been"
)
_PARTICIPLES = re.compile(
    rf"^{_SUBJECT}{_ADVERBS} (?:been|got|gotten|had|become|come|gone|done|seen|made|taken|given|begun|started|said|told|left|lost|won|"
    r"found|kept|let|put|read|run|set|shown|shut|sent|spent|stood|thought|understood|written|worn|won|broken|chosen|driven|"
    r"eaten|fallen|flown|forgotten|forgiven|frozen|grown|hidden|known|led|met|paid|proven|ridden|risen|sold|spoken|stolen|"
    r"sung|sunk|swum|taught|thrown|torn|woken|built|bought|brought|caught|cost|cut|dealt|drawn|felt|fought|gained|heard|held|"
    r"hit|hurt|laid|lain|learnt|meant|slept|stuck|struck|[a-z]{2,14}ed)\b"
)


def _is(match: re.Match[str]) -> str | None:
    return None if _PARTICIPLES.match(after(match, 40)) else " is"


def _behind() -> str:
    lengths: dict[int, list[str]] = {}
    for word in _WORDS.split("|"):
        lengths.setdefault(len(word), []).append(word)
    return "(?:" + "|".join(rf"(?<=\b(?:{'|'.join(group)}))" for _, group in sorted(lengths.items())) + ")"


CONTRACTIONS: tuple[Rule, ...] = (rule("contraction", _behind() + r"'s(?![A-Za-z])", _is, re.IGNORECASE),)
