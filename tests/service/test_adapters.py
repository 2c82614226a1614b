"""Requests with an adapter: what they change, that nothing stays behind, the cache, what is refused."""

import pytest
import torch

from pipeline.adapter import DOWN, UP, Adapter, lora_layers
from pipeline.adapter_file import write_adapter
from pipeline.audio import write_wav
from pipeline.deterministic import tone
from service.adapters import Adapters
from service.request import Request
from service.service import Service
from service.settings import Settings
from tests.service.server import data_uri

QUICK = dict(max_mel_tokens=50, diffusion_steps=1, num_beams=1, seed=7)
TEXT = "One fox ran."


def write_random(path, model, seed=0, rank=4):
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer, (inputs, outputs) in lora_layers(model.config, ("gpt", "dit")).items():
        tensors[f"{layer}.{DOWN}"] = 0.05 * torch.randn(rank, inputs, generator=generator)
        tensors[f"{layer}.{UP}"] = 0.05 * torch.randn(outputs, rank, generator=generator)
    write_adapter(path, Adapter("lora", tensors), model)
    return path


@pytest.fixture(scope="module", params=["exact", "fast"])
def service(request):
    return Service(Settings.read(model="tiny-en", precision=request.param))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip"
    write_wav(path, tone("service", 1.5, 16000)[0], 16000)
    return path


def test_a_request_without_it_has_the_bytes_it_had_before(service, clip, tmp_path):
    def said(adapter=None, **more):
        return service.run(Request(TEXT, clip, adapter=adapter, **QUICK | more), tmp_path)

    before = said().path.read_bytes()
    one, two = (write_random(tmp_path / str(seed), service.model, seed) for seed in (1, 2))
    with_one = said(one)
    first = with_one.path.read_bytes()
    assert first != before and len(with_one.metrics["adapter"]) == 64
    second = said(two).path.read_bytes()
    assert second not in (first, before)
    after = said()
    assert after.path.read_bytes() == before and "adapter" not in after.metrics
    assert said(one).path.read_bytes() == first


def test_a_source_is_said_again_with_it_and_a_stream_is_the_whole(service, clip, tmp_path):
    adapter = write_random(tmp_path / "a", service.model)
    asked = Request(None, clip, source_audio=clip, diffusion_steps=1, seed=1)
    plain = service.run(asked, tmp_path).path.read_bytes()
    asked = Request(None, clip, source_audio=clip, adapter=adapter, diffusion_steps=1, seed=1)
    assert service.run(asked, tmp_path).path.read_bytes() != plain
    spoken = Request(TEXT, clip, adapter=adapter, **QUICK)
    whole = service.run(spoken, tmp_path).path.read_bytes()
    (part,) = (path.read_bytes() for path in service.stream(spoken, tmp_path))
    assert part == whole


def test_what_was_read_once_is_kept_by_content_and_the_cache_is_bounded(service, tmp_path):
    paths = [write_random(tmp_path / str(seed), service.model, seed) for seed in range(3)]
    size = paths[0].stat().st_size
    adapters = Adapters(service.model, capacity=int(2.5 * size))
    models = [adapters.apply(path) for path in paths]
    copied = tmp_path / "copy"
    copied.write_bytes(paths[2].read_bytes())
    assert adapters.apply(copied) is models[2] and adapters.apply(paths[1]) is models[1]
    assert adapters.apply(paths[0]) is not models[0]  # it had to go
    assert adapters.cache.nbytes() <= adapters.cache.capacity
    assert adapters.apply(None) is service.model


def test_one_that_cannot_be_used_is_told_and_the_next_request_works(service, clip, tmp_path):
    path = write_random(tmp_path / "a", service.model)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="adapter is damaged"):
        service.run(Request(TEXT, clip, adapter=path, **QUICK), tmp_path)
    assert service.healthy() and service.run(Request(TEXT, clip, **QUICK), tmp_path)


def test_the_real_server_takes_one_and_refuses_another_models(server, service, clip, tmp_path):
    adapter = data_uri(write_random(tmp_path / "a", service.model).read_bytes())
    answer = server.predict(text=TEXT, speaker=data_uri(clip.read_bytes()), adapter=adapter, **QUICK)
    if answer["metrics"].get("model", "mini") == "tiny-en":
        assert answer["status"] == "succeeded" and len(answer["metrics"]["adapter"]) == 64
    else:
        assert answer["status"] == "failed" and "was trained on model 'tiny-en'" in answer["error"]
