"""Hostile requests to the real server: each gets the answer that is right for it, and the valid one after
them the same bytes as before. `pytest tests/service/test_hostile.py -s` prints the counts."""

import collections
import string

import hypothesis
import pytest
import requests
from hypothesis import strategies as st

from checks.hostile import EITHER, Hostile, body_of, clip_of, fits, kind_of, table, valid_inputs
from checks.hostile_values import WRONG_TYPES
from checks.server import began_at
from checks.trickster import Trickster
from tests.service.server import CogServer, wave_of

MINIMUM = 200  # hostile requests
MAX_AUDIO_SECONDS = 120
EXAMPLES = 120
# What a valid request may ask for and still be quick.
CHEAP = {"max_mel_tokens": 50, "diffusion_steps": 1, "num_beams": 1, "return_voice": False, "denoise": False}
# Mini, whose weights are random, seldom ends by itself, but does where anything may be drawn: most requests speak a
# fraction of a second instead of trying twice for the whole of what they may.
SOON_OVER = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "seed": 26}
CHARACTERS = st.one_of(
    st.sampled_from(string.ascii_letters + string.digits + " .,!?[]=:\n"),
    st.sampled_from("你好，世界。一二三"),
    st.sampled_from("\u0000\u001b\u200b\u200d\u202e\ufeff\u0301😀ßéñ½№"),
    st.characters(exclude_categories=["Cs"]),
)


class Answers:
    """What became of every request."""

    def __init__(self, server: CogServer):
        self.server, self.worker = server, server.worker()
        self.began = began_at(self.worker)
        self.counts: collections.Counter = collections.Counter()

    def check(self, request: Hostile) -> None:
        answer = self.server.send(request.body, request.content_type)
        status, error = answer["status"], str(answer.get("error"))
        self.counts[request.group, status] += 1
        about = f"{request.group}: {request.name}: {status}: {error[:300]}"
        assert status in request.outcomes, about
        assert began_at(self.worker) == self.began, f"the worker died of {about}"
        if status == "failed":
            assert "\n" not in error.strip() and "Traceback" not in error, about
            assert str(self.server.temporary) not in error, about
        if status == "succeeded":
            assert answer["metrics"]["audio_seconds"] <= MAX_AUDIO_SECONDS, about


@pytest.fixture(scope="module")
def answers(server):
    return Answers(server)


@pytest.fixture(scope="module")
def clip() -> bytes:
    return clip_of()


@pytest.fixture(scope="module")
def valid(clip) -> dict:
    return valid_inputs(clip) | SOON_OVER


@pytest.fixture(scope="module")
def first(server, valid) -> bytes:
    return wave_of(server.predict(**valid))


@pytest.fixture(scope="module")
def schemas(server) -> dict:
    return requests.get(f"{server.url}/openapi.json", timeout=10).json()["components"]["schemas"]


def test_every_hostile_request_gets_the_right_answer(answers, first, schemas, valid, clip):
    with Trickster(clip) as trickster:
        hostile = table(schemas, valid, trickster.url)
        for request in hostile:
            answers.check(request)
    assert len(hostile) >= MINIMUM and len({(h.group, h.name) for h in hostile}) == len(hostile)


def allowed(name: str, kind: dict, valid: dict) -> st.SearchStrategy:
    """Values of an input that the schema allows."""
    if name in CHEAP:
        return st.just(CHEAP[name])
    if "enum" in kind:
        return st.sampled_from(kind["enum"])
    if kind["type"] == "boolean":
        return st.booleans()
    if kind["type"] == "string":
        if "format" in kind:
            return st.sampled_from(
                [valid["speaker"]] * 6
                + ["", "/etc/passwd", "http://127.0.0.1:1/", "data:audio/wav;base64,AAAA"]
            )
        return st.text(CHARACTERS, max_size=30) | st.text(CHARACTERS, max_size=20).map(
            lambda text: f"Hello {text}"
        )
    numbers = st.integers if kind["type"] == "integer" else st.floats
    return numbers(kind["minimum"], kind["maximum"])


def not_allowed(kind: dict) -> st.SearchStrategy:
    """Values of an input that the schema does not allow."""
    wrong = st.sampled_from(list(WRONG_TYPES.values()))
    numbers = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
    return (wrong | numbers | st.text(max_size=9)).filter(lambda value: not fits(kind, value))


@st.composite
def inputs(draw, schemas: dict, valid: dict) -> dict[str, object]:
    """Inputs of a request: any of them, each allowed; in one of three one that is not, or is missing."""
    properties, needed = schemas["Input"]["properties"], schemas["Input"]["required"]
    chosen = needed + draw(
        st.lists(st.sampled_from(sorted(set(properties) - set(needed) - set(CHEAP))), unique=True, max_size=6)
    )
    found = valid | {name: draw(allowed(name, kind_of(schemas, name), valid)) for name in chosen}
    if draw(st.integers(0, 2)) == 0:
        name = draw(st.sampled_from(sorted(properties)))
        if name in needed and draw(st.booleans()):
            del found[name]
        else:
            found[name] = draw(not_allowed(kind_of(schemas, name)))
    return found


def test_any_request_is_answered_as_the_schema_says(answers, first, schemas, valid):
    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    @hypothesis.given(inputs(schemas, valid))
    def check(request):
        fitting = set(schemas["Input"]["required"]) <= set(request) and all(
            fits(kind_of(schemas, name), value) for name, value in request.items()
        )
        answers.check(
            Hostile(
                "any", str(request)[-300:], body_of(request), EITHER if fitting else frozenset({"http_422"})
            )
        )

    check()


def test_after_all_this_the_valid_request_gives_the_same_bytes_and_little_is_left(
    server, answers, valid, first
):
    assert wave_of(server.predict(**valid)) == first
    assert server.wait_until_ready().worker() == answers.worker
    left = [path for path in server.left_behind() if not path.endswith("/speech.wav")]
    assert left == [], "nothing but the latest result, which waits for the next request"
    statuses = sorted({status for _, status in answers.counts})
    lines = [f"{'':<18}{''.join(f'{status:>12}' for status in statuses)}"]
    for group in dict.fromkeys(group for group, _ in answers.counts):
        lines.append(f"{group:<18}{''.join(f'{answers.counts[group, status]:>12}' for status in statuses)}")
    print(
        "\n".join(["", *lines]),
        f"\nrequests {answers.counts.total()}, worker deaths 0, same bytes after: yes, "
        f"temporary files left: {len(left)}",
    )
