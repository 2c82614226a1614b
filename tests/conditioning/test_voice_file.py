"""Voice files: exact, small, and refused by name when something in them is wrong."""

import dataclasses
import json

import pytest
import safetensors.torch
import torch

from pipeline.conditioning.emotion import from_weights
from pipeline.config import load_config
from pipeline.deterministic import tone
from pipeline.model import load_model
from pipeline.voice import make_voice
from pipeline.voice_file import (
    FORMAT,
    MAX_BYTES,
    MAX_HEADER_BYTES,
    VoiceFileError,
    is_voice_file,
    read_info,
    read_voice,
    write_voice,
)

RATE = 22050


@pytest.fixture(scope="module")
def voice(mini_model):
    return make_voice(mini_model, tone("file", 1.5, RATE), RATE)


@pytest.fixture
def path(mini_model, voice, tmp_path):
    path = tmp_path / "someone.voice.safetensors"
    write_voice(path, voice, mini_model, "ab" * 32, "denoise=false")
    return path


def test_a_file_holds_the_very_same_voice(mini_model, voice, path):
    again = read_voice(path, mini_model)
    assert again.seconds == voice.seconds
    for name, tensor in voice.tensors().items():
        assert torch.equal(getattr(again, name), tensor), name


@pytest.mark.parametrize("precision", ["fast", "smallest"])
def test_it_does_in_every_precision(mini_directory, tmp_path, precision):
    """Types as well: an emotion is mixed in the precision the vectors have."""
    model = load_model(mini_directory, load_config("mini"), precision=precision)
    made = make_voice(model, tone("file", 1.5, RATE), RATE)
    write_voice(tmp_path / "v", made, model, "", "")
    again = read_voice(tmp_path / "v", model)
    for name, tensor in made.tensors().items():
        assert getattr(again, name).dtype == tensor.dtype and torch.equal(getattr(again, name), tensor), name
    weights, config = [0.3, *[0.0] * 7], model.config.emotion
    mixed = [
        from_weights(weights, v.emotion_vector, v.style, model.speaker_matrix, model.emotion_matrix, config)
        for v in (made, again)
    ]
    assert mixed[0].dtype == mixed[1].dtype and torch.equal(*mixed)


def test_the_number_of_codes_follows_the_configurations_stride(mini_model, voice, path):
    """A model of 25 codes a second, whose clip of 1.5 s has half as many."""
    semantic = dataclasses.replace(mini_model.config.semantic, stride=4)
    slower = dataclasses.replace(mini_model, config=dataclasses.replace(mini_model.config, semantic=semantic))
    with pytest.raises(VoiceFileError, match=r"prompt_codes is \[1, \d+\]; expected \[1, 37\]"):
        read_voice(path, slower)
    rewrite(path, lambda t, m: t.update(prompt_codes=t["prompt_codes"][:, ::2].contiguous()))
    assert read_voice(path, slower).prompt_codes.shape[-1] in (37, 38)


def test_a_file_says_where_it_comes_from(mini_model, path):
    info = read_info(path)
    assert (info.model, info.fingerprint, info.seconds) == ("mini", mini_model.fingerprint, 1.5)
    assert info.precision == mini_model.precision == "exact"
    assert (info.source_sha256, info.options) == ("ab" * 32, "denoise=false")


def test_writing_leaves_nothing_else(path):
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_fifteen_seconds_of_the_full_model_stay_under_two_megabytes():
    config = load_config("indextts2")
    values = (32 + 1) * config.gpt.model_dim + config.speaker.style_dim + 80 * (15 * 22050 // 256) + 15 * 50
    assert 4 * values < 2_000_000


def test_content_tells_a_voice_file_from_audio(path, tmp_path):
    renamed = path.rename(tmp_path / "voice.wav")
    assert is_voice_file(renamed)
    for content in (b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", b"{" * 20, bytes(8)):
        renamed.write_bytes(content)
        assert not is_voice_file(renamed) or content == b"{" * 20
    assert not is_voice_file(tmp_path / "nowhere")


def rewrite(path, change=lambda tensors, metadata: None):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    tensors = safetensors.torch.load(content)
    change(tensors, metadata)
    path.write_bytes(safetensors.torch.save(tensors, metadata))


DAMAGE = {
    "missing tensor": (lambda t, m: t.pop("style"), "lacks style"),
    "unknown tensor": (lambda t, m: t.update(extra=torch.zeros(1)), "has an unknown extra"),
    "wrong shape": (
        lambda t, m: t.update(style=torch.zeros(1, 100)),
        r"style is \[1, 100\]; expected \[1, 192\]",
    ),
    "wrong length": (
        lambda t, m: t.update(reference_mel=torch.zeros(1, 80, 50)),
        r"reference_mel is \[1, 80, 50\]",
    ),
    "wrong type": (
        lambda t, m: t.update(style=t["style"].half()),
        "style is torch.float16; expected torch.float32",
    ),
    "NaN": (
        lambda t, m: t["emotion_vector"].fill_(float("nan")),
        "emotion_vector has values that are not finite",
    ),
    "infinity": (
        lambda t, m: t["reference_mel"][0, 0].fill_(float("inf")),
        "reference_mel has values that are not finite",
    ),
    "code out of range": (
        lambda t, m: t["prompt_codes"][0, 0].fill_(64),
        "prompt_codes has values outside 0 to 63",
    ),
    "negative code": (lambda t, m: t["prompt_codes"][0, 0].fill_(-1), "outside 0 to 63"),
    "another model": (
        lambda t, m: m.update(fingerprint="0" * 64, model="other"),
        "made with model 'other' .000000000000.",
    ),
    "another version": (lambda t, m: m.update(format_version="9"), "format version 9; allowed: 1"),
    "not a voice": (lambda t, m: m.update(format="pt"), "not a voice .format 'pt'."),
    "no metadata": (lambda t, m: m.clear(), "not a voice"),
    "an hour": (lambda t, m: m.update(seconds="3600"), "says 3600 s; allowed: 1 to 15 s"),
    "no seconds": (lambda t, m: m.update(seconds="long"), "header is unreadable"),
    "NaN seconds": (lambda t, m: m.update(seconds="nan"), "says nan s"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_wrong_is_named(mini_model, path, name):
    change, message = DAMAGE[name]
    rewrite(path, change)
    with pytest.raises(ValueError, match=message) as error:
        read_voice(path, mini_model)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [0, 4, 8, 9, 100, 2000])
def test_truncated_files(mini_model, path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="voice file is damaged"):
        read_voice(path, mini_model)


def test_hostile_headers(mini_model, path):
    deep = b"[" * 50_000
    for header in (
        b"{}",
        deep,
        b'{"__metadata__": 5}',
        b'{"__metadata__": {"format": "%s"}}' % FORMAT.encode(),
        b"\xff\xfe",
    ):
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(ValueError, match="voice"):
            read_voice(path, mini_model)
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="its header claims"):
        read_voice(path, mini_model)


def test_large_files_and_links_are_not_opened(mini_model, path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ValueError, match="not a regular file"):
        read_voice(link, mini_model)
    with path.open("ab") as file:
        file.truncate(5_000_000)
    with pytest.raises(ValueError, match="5,000,000 bytes; allowed: at most 4,000,000"):
        read_voice(path, mini_model)


def test_a_voice_made_of_features_keeps_its_condition_and_belongs_to_its_model(
    mini_directory_25, mini_model, path, tmp_path
):
    """IndexTTS-2.5 has no codes of a reference: what the flow reads of it is in the file."""
    model = load_model(mini_directory_25, load_config("mini25"), precision="exact")
    made = make_voice(model, tone("file", 15.0, RATE), RATE)
    assert made.prompt_codes is None and made.speaker_latents.shape[1] == 1
    write_voice(tmp_path / "v", made, model, "", "")
    again = read_voice(tmp_path / "v", model)
    assert again.prompt_codes is None
    for name, tensor in made.tensors().items():
        assert torch.equal(getattr(again, name), tensor), name
    with pytest.raises(VoiceFileError, match=r"made with model 'mini25' .*; this is 'mini'"):
        read_voice(tmp_path / "v", mini_model)
    with pytest.raises(VoiceFileError, match=r"made with model 'mini' .*; this is 'mini25'"):
        read_voice(path, model)
    rewrite(
        tmp_path / "v", lambda t, m: t.update(prompt_condition=t["prompt_condition"][:, :-1].contiguous())
    )
    with pytest.raises(VoiceFileError, match=r"prompt_condition is \[1, \d+, 32\]; expected \[1, \d+, 32\]"):
        read_voice(tmp_path / "v", model)
    rewrite(tmp_path / "v", lambda t, m: t.pop("prompt_condition"))
    with pytest.raises(VoiceFileError, match="the voice file lacks prompt_condition"):
        read_voice(tmp_path / "v", model)


def test_the_largest_file_of_the_published_models_is_allowed():
    for name in ("indextts2", "indextts2.5"):
        config = load_config(name)
        frames = int(config.reference.max_seconds * config.audio.sample_rate) // config.audio.hop_length
        floats = frames * (config.audio.n_mels + config.s2mel.dit.content_dim) + 40 * config.gpt.model_dim
        assert 4 * floats + MAX_HEADER_BYTES < MAX_BYTES
