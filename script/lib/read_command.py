"""`script/read`: what is found in a text, how each of it is read, and the segments that the model would
speak.

script/read "It costs $5."
script/read "5-3" --language zh
script/read "GPT-5" --glossary "GPT-5=G P T five"
script/read - < text.txt
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.text import (
    Glossary,
    Pause,
    TextNormalizer,
    Tokenizer,
    UnspeakableError,
    parse_markup,
    prepare_script,
)
from pipeline.text.languages import SPOKEN
from pipeline.text.markup import Speech
from pipeline.text.multilingual import MultilingualTokenizer, is_multilingual
from pipeline.text.normalize import WITH_GRAMMAR
from pipeline.text.phones import PhoneTokenizer, read_phones
from pipeline.text.prepare import MAX_SEGMENT_TOKENS


def read(options: argparse.Namespace) -> None:
    text = sys.stdin.read() if options.text == "-" else options.text
    if options.tokenizer is None:
        tokenizer = PhoneTokenizer()
    elif is_multilingual(options.tokenizer):
        tokenizer = MultilingualTokenizer(options.tokenizer)
    else:
        tokenizer = Tokenizer(options.tokenizer)
    phones, many = isinstance(tokenizer, PhoneTokenizer), isinstance(tokenizer, MultilingualTokenizer)
    languages = SPOKEN if many else WITH_GRAMMAR
    normalizer = TextNormalizer(Glossary.parse(options.glossary), languages, phones=phones, annotated=many)
    speeches = [part.text for part in parse_markup(text) if isinstance(part, Speech)]
    language = options.language if options.language != "auto" else normalizer.language("\n".join(speeches))
    print(f"language: {language}")
    for speech in speeches:
        reading = normalizer.read(speech, language)
        for form in reading.forms:
            written = " ".join(speech[form.start : form.end].split())
            print(f"  {written!r:<24} {form.kind:<14} {form.spoken.strip()!r}")
        print(f"  = {reading.spoken}")
        for note in reading.notes:
            print(f"  note: {note.text}")
        if reading.lost:
            print(f"  not read: {' '.join(dict.fromkeys(sign for _, sign in reading.lost))}")
    print("segments:")
    try:
        script = prepare_script(
            text, normalizer, tokenizer, language=options.language, max_segment_tokens=options.segment_tokens
        )
    except UnspeakableError as error:
        print(f"  none: {error}")
        return
    for part in script:
        if isinstance(part, Pause):
            print(f"  pause {part.seconds:g} s")
        else:
            print(f"  {len(part.token_ids):>4} tokens  {part.text}")
            if phones:
                print(f"  {'phones':>11}  {read_phones(part.text)}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/read", description="How a text is read, and why.")
    parser.add_argument("text", help="the text, or - for standard input")
    parser.add_argument("--language", default="auto", choices=("auto", *SPOKEN))
    parser.add_argument(
        "--glossary", action="append", default=[], metavar="TERM=READING", help="may be repeated"
    )
    parser.add_argument("--segment-tokens", type=int, default=MAX_SEGMENT_TOKENS)
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="a bpe.model or a .tiktoken: the text is read for that model (default: phones, as the small voice does)",
    )
    options = parser.parse_args(arguments)
    try:
        read(options)
    except ValueError as error:
        print(f"read: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
