"""From a request's text with its pauses to what is spoken and how long is waited in between."""

import dataclasses
import logging

from pipeline.text.markup import Paragraph, Pause, Speech, Turn, join_pauses, split_markup
from pipeline.text.multilingual import MultilingualTokenizer
from pipeline.text.normalize import TextNormalizer
from pipeline.text.prepare import (
    MAX_CHARACTERS,
    MAX_SEGMENT_TOKENS,
    TextSegment,
    UnspeakableError,
    check_text,
    prepare_text,
)
from pipeline.text.tokenize import TextTokenizer

log = logging.getLogger(__name__)


def prepare_script(
    text: str,
    normalizer: TextNormalizer,
    tokenizer: TextTokenizer | MultilingualTokenizer,
    *,
    language: str = "auto",
    max_segment_tokens: int = MAX_SEGMENT_TOKENS,
    quick_start_tokens: int = 0,
    max_characters: int = MAX_CHARACTERS,
) -> list[TextSegment | Pause]:
    """`prepare_text` for a text with markup (`pipeline.text.markup`): its segments and pauses in order; who speaks is
    told by each segment.

    There is at least one segment, and no two pauses are neighbours. A part between pauses with nothing to
    read aloud is left out, with a warning that counts such parts, unless there is no other. "auto" is decided
    for the whole text, so that a pause does not change how a number beside it is read. Text without markup
    gives what `prepare_text` gives. Raises ValueError as `prepare_text` and `split_markup` do.
    """
    check_text(text, max_characters)
    parts = split_markup(text)
    speeches = [part.text for part in parts if isinstance(part, Speech)]
    if not speeches:
        raise ValueError("the text holds only pauses; give at least one word")
    if language == "auto":
        language = normalizer.language("\n".join(speeches))
    script: list[TextSegment | Pause | Paragraph] = []
    errors: list[UnspeakableError] = []
    tokens, turn = 0, None
    for part in parts:
        if isinstance(part, Turn):
            turn = part
            continue
        if not isinstance(part, Speech):
            script.append(part)
            continue
        try:
            segments = prepare_text(
                part.text,
                normalizer,
                tokenizer,
                language=language,
                max_characters=max_characters,
                max_segment_tokens=max_segment_tokens,
                quick_start_tokens=max(0, quick_start_tokens - tokens),
            )
        except UnspeakableError as error:
            errors.append(error)
            continue
        tokens += sum(len(segment.token_ids) for segment in segments)
        if turn is not None:
            segments = [
                dataclasses.replace(segment, voice=turn.voice, emotion=turn.emotion) for segment in segments
            ]
        script += segments
    if len(errors) == len(speeches):
        raise errors[0]
    if errors:
        log.warning("%d of %d parts of the text hold nothing to read aloud", len(errors), len(speeches))
    return join_pauses(script)
