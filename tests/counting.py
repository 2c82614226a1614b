"""How often the conditioning modules of a model run."""


def count_calls(model, monkeypatch) -> dict[str, int]:
    calls: dict[str, int] = {}
    parts = {
        "semantic": model.semantic.model,
        "codec": model.codec.encoder,
        "speaker": model.speaker,
        "conditioner": model.gpt.conditioning_encoder,
        "emotion": model.gpt.emo_conditioning_encoder,
        "regulator": model.regulator,
    }
    for name, part in parts.items():

        def counted(*args, _forward=part.forward, _name=name, **kwargs):
            calls[_name] = calls.get(_name, 0) + 1
            return _forward(*args, **kwargs)

        monkeypatch.setattr(part, "forward", counted)
    return calls
