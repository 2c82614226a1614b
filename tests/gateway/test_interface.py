"""The HTTP interface by the client people have: formats, streams, voices, refusals, a full queue, who hangs up."""

import base64
import http.client
import io
import json
import subprocess
import threading
import time
import zipfile
from urllib.parse import urlsplit

import pytest
import requests
import soundfile

from gateway.formats import RESPONSE_FORMATS
from tests.conftest import ROOT
from tests.gateway.conftest import QUEUE, QUICK, Served
from tests.service.test_adapters import write_random

CODECS = {"mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac", "wav": "pcm_s16le"}
TEXT = "Good morning. And good evening."


def speak(served, **changes):
    body = {
        "model": "tts-1",
        "input": "Hello.",
        "voice": "speaker",
        "response_format": "wav",
        **QUICK,
    } | changes
    return requests.post(f"{served.url}/v1/audio/speech", json=body, timeout=300)


def error(answer) -> tuple[int, str, str]:
    told = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"} and "\n" not in told["message"]
    return answer.status_code, told["param"], told["message"]


@pytest.mark.parametrize("format", RESPONSE_FORMATS)
def test_every_format_is_what_it_says(served, tmp_path, format):
    path = tmp_path / f"out.{format}"
    with served.client().audio.speech.with_streaming_response.create(
        model="tts-1", voice="george", input="Hello.", response_format=format, extra_body=QUICK
    ) as answer:
        assert answer.headers["x-seed"] == "7"
        answer.stream_to_file(path)
    if format == "pcm":
        assert 0.3 < len(path.read_bytes()) / 2 / 24000 < 3
        return
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == CODECS[format] and not told.stderr
    decoded = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ar", "8000", "-"],
        capture_output=True,
        check=True,
    )
    assert 0.3 < len(decoded.stdout) / 2 / 8000 < 3


def test_the_same_request_gives_the_same_bytes_and_a_stream_those_of_the_file(served):
    whole = speak(served, input=TEXT).content
    assert whole == speak(served, input=TEXT).content != speak(served, input=TEXT, seed=8).content
    events = speak(served, input=TEXT, stream_format="sse")
    assert events.headers["content-type"].startswith("text/event-stream")
    told = [json.loads(line[6:]) for line in events.text.splitlines() if line]
    assert [event["type"] for event in told[:-1]] == ["speech.audio.delta"] * (len(told) - 1)
    assert b"".join(base64.b64decode(event["audio"]) for event in told[:-1]) == whole
    assert told[-1]["type"] == "speech.audio.done" and told[-1]["usage"]["output_tokens"] > 0


def test_what_needs_the_whole_is_made_whole(served):
    loud = speak(served, loudness=-20)
    assert soundfile.read(io.BytesIO(loud.content))[0].any()
    packed = speak(served, receipt=True, subtitles="srt", response_format="flac")
    assert packed.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert set(archive.namelist()) == {"speech.flac", "speech.json", "speech.srt"}
    assert error(speak(served, receipt=True, response_format="aac"))[:2] == (400, "response_format")


def test_several_voices_and_a_clip_of_ones_own(served):
    clip = "data:audio/flac;base64," + base64.b64encode((ROOT / "examples/george.flac").read_bytes()).decode()
    own = speak(served, voice=None, speaker=clip)
    assert own.content == speak(served, voice="george").content
    both = speak(served, input="Hello. [voice:george] Hello.", quick_start_tokens=0).content
    alone = speak(served, quick_start_tokens=0).content
    assert both[: len(alone) // 2] == alone[: len(alone) // 2] and len(both) > 1.2 * len(alone)


@pytest.fixture(scope="module")
def adapters(service, tmp_path_factory):
    """Two of them, for the model that is served."""
    folder = tmp_path_factory.mktemp("adapters")
    return [write_random(folder / str(seed), service.model, seed).read_bytes() for seed in (1, 2)]


def uri(content: bytes) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(content).decode()


def test_an_adapter_comes_with_a_request_or_with_its_voice(served, adapters):
    url, clip = f"{served.url}/v1/audio/voices", (ROOT / "examples/george.flac").read_bytes()

    def add(adapter: bytes, name: str):
        files = {"audio_sample": clip, "adapter": adapter}
        return requests.post(url, data={"name": name, "consent": "yes"}, files=files, timeout=120)

    plain = speak(served, voice="george").content
    with_one = speak(served, voice="george", adapter=uri(adapters[0])).content
    assert with_one != plain
    added = add(adapters[0], "trained")
    assert (
        added.status_code == 201 and len(added.json()["adapter"]) == 64 and "adapter_url" not in added.json()
    )
    assert speak(served, voice="trained").content == with_one
    assert speak(served, voice="trained", adapter=uri(adapters[1])).content not in (with_one, plain)
    assert speak(served, voice="george").content == plain
    told = error(speak(served, voice="george", input="Hello. [voice:trained] Hello."))
    assert told[:2] == (400, "input") and "has an adapter of its own" in told[2]
    assert error(speak(served, voice="george", adapter=uri(b"none")))[0] == 400
    told = error(add(b"none", "broken"))
    assert told[:2] == (400, "adapter") and requests.get(f"{url}/broken").status_code == 404
    for body in ({"adapter": "/etc/passwd"}, {"source_audio": "/etc/passwd"}, {"adapter": 5}):
        assert error(speak(served, **body))[1:] == (next(iter(body)), not_a_file(body))
    assert requests.delete(f"{url}/trained").json()["deleted"]


def not_a_file(body: dict) -> str:
    return f"{next(iter(body))} is not a file; allowed: a data URI in base64, or an https URL"


def test_speech_is_said_again_in_a_voice(served):
    source = uri((ROOT / "examples/isabella.flac").read_bytes())
    answer = speak(served, input=None, source_audio=source, max_mel_tokens=None, num_beams=None)
    seconds = soundfile.info(ROOT / "examples/isabella.flac").duration
    assert len(answer.content) / 2 / 22050 == pytest.approx(seconds, rel=0.15)
    both = error(speak(served, source_audio=source, max_mel_tokens=None, num_beams=None))
    assert both[0] == 400 and "text and source_audio are given" in both[2]


def test_progress_is_told_beside_the_audio_where_it_is_asked_for(served):
    asked = {"input": "Hello.\n\nGood day.", "stream_format": "sse", "progress": True, "receipt": True}
    answer = speak(served, **asked)
    told = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    reports = [event for event in told if event["type"] == "speech.progress"]
    stages = [event["stage"] for event in reports]
    assert {"gpt", "s2mel"} <= set(stages) and stages.index("gpt") < stages.index("s2mel"), stages
    assert reports[-1]["segments"] == reports[-1]["begun"] == 2
    assert all(0 <= event["step"] <= event["of"] for event in reports)
    sent = b"".join(base64.b64decode(event["audio"]) for event in told if "audio" in event)
    with zipfile.ZipFile(io.BytesIO(sent)) as archive, archive.open("speech.wav") as file:
        assert (
            file.read()[-1000:] == speak(served, input=asked["input"], quick_start_tokens=0).content[-1000:]
        )
    assert told[-1]["type"] == "speech.audio.done"
    streamed = speak(served, **asked | {"receipt": False}).text
    assert "speech.progress" in streamed
    assert "speech.progress" not in speak(served, **asked | {"progress": False}).text
    assert error(speak(served, progress=True))[:2] == (400, "progress")
    late = speak(served, **asked | {"voice": None, "speaker": uri(b"no audio")})
    assert late.status_code == 400 or json.loads(late.text.splitlines()[-2][6:])["type"] == "error"


@pytest.mark.parametrize(
    "change, status, param, message",
    [
        ({"input": None}, 400, "input", "input is missing"),
        ({"input": ""}, 400, None, "the text is empty"),
        ({"input": 5}, 400, "input", "text"),
        ({"input": "x" * 20_001}, 400, None, "20,001 characters"),
        ({"input": "..."}, 400, None, "nothing to read aloud"),
        ({"voice": None}, 400, "voice", "voice is missing"),
        ({"voice": "nobody"}, 404, "voice", "the voice 'nobody' does not exist; allowed: george"),
        ({"voice": "../../etc/passwd"}, 404, "voice", "does not exist"),
        ({"voice": "a" * 1000}, 404, "voice", "does not exist"),
        ({"voice": ["george"]}, 400, "voice", "voice is missing"),
        ({"input": "Hi. [voice:nobody]"}, 404, "voice", "'nobody' does not exist"),
        ({"input": "Hi. [voice:../x]"}, 400, "input", "voice name"),
        ({"model": "other"}, 404, "model", "the model 'other' does not exist; allowed: tiny-en"),
        ({"response_format": "ogg"}, 400, "response_format", "allowed: mp3"),
        ({"stream_format": "ws"}, 400, "stream_format", "allowed: audio, sse"),
        ({"speed": 4}, 400, "speed", "allowed: a number from 0.5 to 2"),
        ({"num_beams": 9}, 400, "num_beams", "from 1 to 8"),
        ({"denoise": "yes"}, 400, "denoise", "allowed: true, false"),
        ({"nothing": 1}, 400, "nothing", "unknown parameter"),
        ({"text": "x"}, 400, "text", "unknown parameter"),
        ({"output_format": "wav"}, 400, "output_format", "unknown parameter"),
        ({"language": "zh"}, 400, "language", "speaks en"),
        ({"instructions": "sad"}, 400, None, "text emotion model"),
        ({"voice": None, "speaker": "/etc/passwd"}, 400, "speaker", "is not a file"),
        ({"voice": None, "speaker": "data:audio/wav;base64,####"}, 400, "speaker", "is not a file"),
        ({"voice": None, "speaker": "data:audio/wav;base64,AAAA"}, 400, None, "audio file refused"),
        ({"voice": None, "speaker": "https://example.org/a.wav"}, 400, "speaker", "host that is not allowed"),
        ({"voice": None, "speaker": "https://[::1"}, 400, "speaker", "host that is not allowed"),
        ({"duration": 60}, 400, "duration", "possible are"),
    ],
)
def test_refusals(served, change, status, param, message):
    told = error(speak(served, **change))
    assert told[0] == status and message in told[2] and told[1] == param


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b'"x"', b"\xff", b"[" * 100_000, b'{"input": "\\ud800"}']
)
def test_bodies_that_are_none(served, body):
    answer = requests.post(f"{served.url}/v1/audio/speech", data=body, timeout=60)
    assert error(answer)[0] == 400


def test_ten_megabytes_of_text_are_refused_at_once(served):
    answer = speak(served, input="a" * 10_000_000)
    assert error(answer)[0] == 413


def test_the_clients_own_errors(served):
    import openai

    with pytest.raises(openai.NotFoundError, match="nobody"):
        served.client().audio.speech.create(model="tts-1", voice="nobody", input="Hello.")
    with pytest.raises(openai.BadRequestError, match="0.5 to 2"):
        served.client().audio.speech.create(model="tts-1", voice="george", input="Hello.", speed=4)
    assert [model.id for model in served.client().models.list()] == ["tiny-en"]


def test_the_voice_library(served):
    url, clip = f"{served.url}/v1/audio/voices", (ROOT / "examples/isabella.flac").read_bytes()

    def add(content=clip, **form):
        form = {"name": "anna", "consent": "Anna agreed."} | form
        form = {name: value for name, value in form.items() if value is not None}
        return requests.post(url, data=form, files={"audio_sample": content}, timeout=120)

    assert {"speaker", "george", "isabella", "puck"} <= {
        voice["id"] for voice in requests.get(url).json()["voices"]
    }
    for form, message in (
        ({"consent": None}, "consent is missing"),
        ({"consent": " "}, "consent is missing"),
        ({"name": "a/b"}, "the voice name"),
        ({"name": ".."}, "the voice name"),
        ({"name": "a" * 1000}, "the voice name"),
        ({"name": None}, "the voice name"),
        ({"notes": "x" * 3000}, "3,000 characters"),
        ({"other": "x"}, "unknown parameter"),
        ({"content": b"no audio"}, "audio file refused"),
        ({"content": b""}, "0 bytes"),
    ):
        told = error(add(**form))
        assert told[0] == 400 and message in told[2], form
    added = add(language="en", notes="test")
    assert added.status_code == 201 and added.json()["report"]["seconds"] > 1
    assert error(add())[0] == 409
    assert speak(served, voice="anna").content == speak(served, voice="isabella").content
    assert requests.get(f"{url}/anna").json()["consent"] == "Anna agreed."
    assert requests.delete(f"{url}/anna").json()["deleted"]
    assert (
        error(requests.delete(f"{url}/anna"))[0] == 404 and error(requests.delete(f"{url}/george"))[0] == 403
    )
    assert error(speak(served, voice="anna"))[0] == 404


def test_a_full_queue_says_when_to_come_back_and_who_hangs_up_frees_it(served):
    body = {"model": "tts-1", "voice": "george", "input": " ".join([TEXT] * 20)}
    waiting = [ask_and_wait(served, body) for _ in range(QUEUE + 1)]
    while served.gateway.under_way < QUEUE + 1:
        time.sleep(0.02)
    full = speak(served)
    assert error(full)[0] == 429 and int(full.headers["retry-after"]) >= 1
    for connection in waiting:
        connection.close()
    until = time.monotonic() + 60
    while served.gateway.under_way and time.monotonic() < until:
        time.sleep(0.05)
    assert served.gateway.under_way == 0 and speak(served).status_code == 200


def ask_and_wait(served, body) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc)
    connection.request(
        "POST", "/v1/audio/speech", json.dumps(body), headers={"Content-Type": "application/json"}
    )
    return connection


def test_keys_and_rates(service, tmp_path):
    import openai

    from gateway.keys import new_key

    keys = tmp_path / "keys"
    first, second = new_key(keys, "one"), new_key(keys, "two")
    assert first not in keys.read_text() and oct(keys.stat().st_mode)[-3:] == "600"
    with Served(service, voices=str(tmp_path / "v"), keys=str(keys), rate=2) as served:
        url = f"{served.url}/v1/models"
        for wrong in (None, "Bearer wrong", f"Basic {first}", f"Bearer {first}x", "Bearer"):
            answer = requests.get(url, headers={"Authorization": wrong} if wrong else {})
            assert error(answer)[0] == 401
        assert requests.get(f"{served.url}/health").status_code == 200
        served.client(first).models.list()
        served.client(first).models.list()
        with pytest.raises(openai.RateLimitError) as limited:
            served.client(first).models.list()
        assert int(limited.value.response.headers["retry-after"]) >= 1
        served.client(second).models.list()


def test_draining_answers_what_is_under_way_and_takes_nothing_new(service, tmp_path):
    with Served(service, voices=str(tmp_path / "v")) as served:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(speak(served)))
        thread.start()
        while not served.gateway.under_way:
            time.sleep(0.01)
        served.gateway.draining = True
        assert error(speak(served))[0] == 503 and requests.get(f"{served.url}/ready").status_code == 503
        thread.join()
        assert answers[0].status_code == 200


def test_what_operators_see(served):
    before = served.gateway.measures.audio._value.get()
    speak(served)
    told = requests.get(f"{served.url}/metrics").text
    assert (
        'indextts_requests_total{status="200"}' in told
        and 'indextts_stage_seconds_count{stage="gpt"}' in told
    )
    assert served.gateway.measures.audio._value.get() > before
    assert requests.get(f"{served.url}/ready").json() == {"ready": True, "speakers": 1}
    assert error(requests.get(f"{served.url}/nothing"))[0] == 404
    assert error(requests.get(f"{served.url}/v1/audio/speech"))[0] == 405
