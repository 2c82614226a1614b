"""The values hostile requests carry, by the outcome they must have (see checks/hostile.py)."""

TEXT = "Hello there."
# The cheapest synthesis there is, so that what succeeds is quick.
QUICK = {"max_mel_tokens": 50, "diffusion_steps": 1, "num_beams": 1, "seed": 7}

WRONG_TYPES = {"null": None, "true": True, "a number": 1, "a fraction": 0.5, "a string": "7", "a list": [1],
               "an object": {"a": 1}}

REFUSED_TEXTS = {
    "empty": "",
    "spaces": " \t\r\n \u00a0\u3000",
    "1 MB": "spoken words " * 77_000,
    "20,001 characters": "a" * 20_001,
    "100,000 characters of Chinese": "你" * 100_000,
    "only NUL": "\u0000" * 9,
    "only control characters": "\x01\x02\x1b\x7f",
    "only zero width": "\u200b\u200c\u200d\ufeff\u2060",
    "only emoji": "😀🎉👨‍👩‍👧‍👦",
    "only punctuation": "?!.,;:-—…“”«»¿",
    "only brackets": "[](){}<>【】「」",
    "one bracket": "[",
    "unassigned characters": "\U000e0001\U0010ffff\ue000",
    "10,000 pauses": "[pause:1.5s]" * 10_000 + "a",
}
SPOKEN_TEXTS = {
    "NUL": "Hello\u0000there",
    "control characters": "a\x01\x1b[31m\x7fb",
    "zero width": "He\u200bl\u200cl\u200do\ufeff",
    "emoji among words": "Hi 😀 there 🎉",
    "lone brackets": "Hello [ there ] ] [",
    "1,000 open brackets": "[" * 1_000 + "a",
    "1,000 nested brackets": "[" * 500 + "a" + "]" * 500,
    "one digit": "7",
}
DOUBTFUL_TEXTS = {  # spoken or refused: either is right, within the same bounds
    "one word of 300 letters": "a" * 300,
    "100 digits": "7" * 100,
    "right to left": "\u202eolleH \u05e9\u05dc\u05d5\u05dd\u202c",
    "Arabic": "\u0645\u0631\u062d\u0628\u0627",
    "combining marks": "a" + "\u0301" * 3_000,
    "Zalgo": "H\u0334e\u0337l\u0338l\u0335o\u0336",
    "mathematical letters": "𝓗𝓮𝓵𝓵𝓸",
    "full width": "Ｈｅｌｌｏ １２３",
    "one letter": "a",
    "a huge number": "1" + "0" * 300,
    "an exponent": "1e999999999",
    "fractions": "1/0 and 0/0 and 1/" + "9" * 50,
    "dates": "99/99/9999 25:61:61",
    "money": "$-0.00 £1e9 ¥∞",
    "a path": "/etc/passwd",
    "HTML": "<script>alert(1)</script>",
    "SSML": "<speak><break time='10h'/></speak>",
    "entities": "&lol9;" * 9,
    "shell": "$(touch /hostile); `id` | cat",
    "a format string": "%s%n{0.__class__}{}",
    "special tokens": "<s></s><unk>[START][MASK]▁",
    "surrogate pair": "\U0001d11e clef",
    "1,600 pauses": "[pause:1.5s]" * 1_600 + "a",
    "only pauses": "[pause:1s][pause:1s]",
    "a pause of 10 h": "Hello [pause:36000s] there",
    "a pause of 10 h in hours": "Hello [pause:10h] there",
    "a negative pause": "Hello [pause:-5s] there",
    "a pause of NaN": "Hello [pause:NaNs] there",
    "a pause of 1e308 s": "Hello [pause:1e308s] there",
    "a pause of 50 digits": f"Hello [pause:{'9' * 50}s] there",
    "a pause that is open": "Hello [pause:1s there",
    "a pause in a pause": "Hello [pause:[pause:1s]s] there",
    "a pause of nothing": "Hello [pause:] there",
    "a pause first and last": "[pause:0.2s]Hello[pause:0.2s]",
    "markup bomb": "[" * 500 + "pause:1s" + "]" * 500 + "a",
    "5,000 paragraphs": "\n\n" * 5_000 + "a",
    "5 one-letter paragraphs": "a\n\n" * 5,
    "separators": "a\u2028b\u2029c\x0bd\x0ce\x85f",
}
OTHER_STRINGS = {  # for every other input that takes a string
    "1 MB": "x" * 1_000_000,
    "control characters": "\x00\x01\x1b",
    "only punctuation": "=,=;:=\n=",
    "not finite": "nan,inf,-inf,1e999",
    "10,000 commas": "," * 10_000,
    "markup": "[pause:1s]=[[",
    "a path": "../../etc/passwd",
    "emoji": "😀=😀",
    "empty": "",
    "a regular expression": "(a+)+$=\\1{99}",
}

NO_FILES = [
    "", " ", "\u0000", "\u202e", "{}", "null", "a" * 1_000_000,
    "/etc/passwd", "/dev/zero", "/proc/self/environ", "../../etc/passwd", "~/.ssh/id_rsa", "C:\\boot.ini",
    "file:///etc/passwd", "file://localhost/etc/passwd", "FILE:///etc/passwd", "jar:file:///etc/passwd",
    "ftp://127.0.0.1/a", "gopher://127.0.0.1:1/", "javascript:alert(1)",
    "http", "http:", "http://", "http:///etc/passwd", "http://[", "http://[::1", "//127.0.0.1:1/",
    "http://127.0.0.1:1/closed", "http://127.0.0.1:99999/", "http://0.0.0.0:1/", "https://127.0.0.1:1/",
    "http://nowhere.invalid/a.wav", "http://user:secret@127.0.0.1:1/", "http://127.0.0.1:1/\u0000",
    "http://127.0.0.1:1/" + "a" * 100_000,
    "data:", "data:,", "data:,hello", "data:audio/wav", "data:audio/wav;base64", "data:audio/wav;base64,",
    "data:audio/wav;base64,@@@@", "data:audio/wav;base64,AAA", "data:audio/wav;base64,====", "data:;base64,UklGRg==",
    "data:text/html,<script>", "data:audio/wav;charset=\u0000,a", "data:x/../../y;base64,AAAA",
    "data:audio/wav;base64,AAAA,AAAA", "data:audio/wav,%00%ff%zz", "DATA:audio/wav;base64,AAAA",
]
BAD_PATHS = [  # of a Trickster
    "/drip", "/to-a-file", "/to-data", "/to-itself", "/to-a-closed-port", "/to-nowhere", "/404", "/500", "/204", "/304",
    "/large", "/cut", "/not-gzip", "/empty", "/page", "/no-http", "/hang-up",
]
GOOD_PATHS = [
    "/clip.wav", "/to-a-clip", "/..%2f..%2fetc%2fclip.wav", "/%00clip.wav", "/" + "n" * 300 + "clip.wav",
    "/a%0ab clip.wav", "/%F0%9F%98%80clip.wav", "/clip.wav?a=%2e%2e#f",
]

BROKEN_BODIES = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a string": b'"a"',
    "a number": b"7",
    "half an object": b'{"input": {',
    "not UTF-8": b'{"input": {"text": "\xff\xfe"}}',
    "binary": bytes(range(256)),
    "100,000 brackets": b"[" * 100_000,
    "5,000 objects": b'{"input":' * 5_000 + b"1" + b"}" * 5_000,
    "no input": b"{}",
    "input null": b'{"input": null}',
    "input a list": b'{"input": []}',
    "input a string": b'{"input": "text"}',
    "id a number": b'{"id": 5}',
    "context a number": b'{"context": 5, "input": {}}',
    "webhook a number": b'{"webhook": 5, "input": {}}',
    "unknown events": b'{"webhook_events_filter": ["x"], "input": {}}',
    "NaN": b'{"input": {"seed": NaN}}',
    "1e999": b'{"input": {"seed": 1e999}}',
    "a lone surrogate": b'{"input": {"text": "\\ud800"}}',
    "a comment": b'{/**/"input": {}}',
    "form data": b"input=text",
}
ODD_SURROUNDINGS = {  # fields beside a good `input`
    "an id of 200 letters": {"id": "i" * 200},
    "an id with control characters": {"id": "a\n\x1bb"},
    "a webhook that is closed": {"webhook": "http://127.0.0.1:1/"},
    "a webhook that is no URL": {"webhook": "::"},
    "an unknown field": {"x": "y" * 100_000},
}
