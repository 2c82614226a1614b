"""The stages of `training.tiny_en`: which data each takes, where it writes, and what is measured after it."""
import functools
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.config import ModelConfig, build, load_config, read_yaml
from training import codec, data, features, gpt, loop, s2mel, semantic, speaker, speech, tokens, vocoder

CONFIGS = Path(__file__).parent / "configs"
MODEL = "tiny-en"
SENTENCES = 28_000
SPEECH_SEED = 0
UNSEEN_SPEAKERS = frozenset({"slt-09", "rms-05", "awb-13", "kal16-11"})  # never trained on: they measure new voices
SEMANTIC_CLIPS = 6_000    # the first so many clips of the corpus feed the semantic encoder,
FEATURE_CLIPS = 4_000     # the codec and the GPT's conditioning,
VOCODER_CLIPS = 3_000     # the vocoder,
MEL_CLIPS = 6_000         # the flow and the style encoder,
LATENT_CLIPS = 4_000      # and the flow's training with GPT latents
CHECKED_CLIPS = 100
logger = logging.getLogger(__name__)


class Recipe:
    """Stages over one work folder. Every method can be called again and does only what is missing."""

    def __init__(self, work: Path):
        self.work = work
        self.config: ModelConfig = load_config(MODEL)

    # --- what stages share ------------------------------------------------------------------------

    @functools.cached_property
    def clips(self) -> list[data.Clip]:
        """All clips of the corpus in manifest order; their place is their index in every cache."""
        return data.read_manifest(self.work / "speech" / speech.MANIFEST)[0]

    def seen(self, indices: Iterable[int]) -> list[int]:
        """Those of `indices` whose speaker is trained on."""
        return [index for index in indices if self.clips[index].speaker not in UNSEEN_SPEAKERS]

    def unseen(self, indices: Iterable[int]) -> list[int]:
        """Those of `indices` whose speaker is kept for measuring."""
        return [index for index in indices if self.clips[index].speaker in UNSEEN_SPEAKERS]

    def speakers(self, indices: Iterable[int]) -> dict[int, str]:
        return {index: self.clips[index].speaker for index in indices}

    def cache(self, name: str) -> features.Cache:
        return features.Cache(self.work / "cache" / name)

    def folder(self, stage: str) -> Path:
        return self.work / "runs" / stage

    def settings(self, stage: str, options_type: type) -> tuple[loop.RunConfig, object]:
        """The run and the stage section of `configs/STAGE.yaml`."""
        path = CONFIGS / f"{stage}.yaml"
        return loop.read_run(path), build(options_type, read_yaml(path)["stage"], path.name)

    def note(self, stage: str, **values: float) -> None:
        """Write measured values to a stage's log."""
        loop.write_metrics(self.folder(stage), " ".join(f"{name}={value:.4f}" for name, value in values.items()))

    @functools.cached_property
    def recognizer(self) -> semantic.PhoneRecognizer:
        return semantic.load_recognizer(self.config.semantic, loop.averaged(self.folder("semantic")))

    @functools.cached_property
    def statistics(self) -> dict[str, Tensor]:
        """Mean and variance of the semantic features, measured once."""
        path = self.folder("semantic") / "statistics.pt"
        if not path.exists():
            banks = self.cache("bank").load(["bank"], first=features.CLIPS_PER_SHARD)
            chosen = [banks[index]["bank"] for index in self.seen(banks)]
            torch.save(semantic.feature_statistics(self.recognizer.model, chosen), path)
        return torch.load(path, weights_only=True)

    @functools.cached_property
    def trained_codec(self) -> codec.SemanticCodec:
        return codec.load_codec(self.config.codec, loop.averaged(self.folder("codec")))

    def normalized(self, bank: np.ndarray) -> Tensor:
        """Normalized semantic features [T, D] of a clip's filter bank."""
        hidden = semantic.hidden_states(self.recognizer.model, bank)
        return (hidden - self.statistics["mean"]) / self.statistics["var"].sqrt()

    # --- corpus and caches ------------------------------------------------------------------------

    def speech(self) -> None:
        """Speak the corpus."""
        speech.write_corpus(self.work / "speech", SENTENCES, SPEECH_SEED)

    def bank(self) -> None:
        """Filter banks and phone labels of every clip, for the semantic encoder."""
        extractor = semantic.make_extractor(self.config.semantic, self.config.reference.sample_rate)
        self.cache("bank").fill(self.clips, lambda clip: semantic.input_arrays(extractor, clip))

    def audio(self) -> None:
        """Waves and mels at the model's rate, for vocoder and flow."""
        self.cache("audio").fill(self.clips[:MEL_CLIPS], lambda clip: vocoder.audio_arrays(self.config.audio, clip))

    def fbank(self) -> None:
        """Filter banks for the style encoder."""
        self.cache("fbank").fill(self.clips[:MEL_CLIPS], lambda clip: speaker.fbank_arrays(self.config.speaker, clip))

    def features(self) -> None:
        """Normalized semantic features, for the codec and the GPT's conditioning."""
        banks = self.cache("bank").load(["bank"], first=FEATURE_CLIPS)
        order = {id(clip): index for index, clip in enumerate(self.clips)}
        self.cache("features").fill(self.clips[:FEATURE_CLIPS], lambda clip: {
            "features": self.normalized(banks[order[id(clip)]]["bank"]).numpy().astype(np.float16)})

    def codes(self) -> None:
        """Codes of every clip."""
        banks = self.cache("bank").load(["bank"])
        order = {id(clip): index for index, clip in enumerate(self.clips)}

        def compute(clip: data.Clip) -> features.Arrays:
            found, _ = self.trained_codec.quantize(self.normalized(banks[order[id(clip)]]["bank"])[None])
            return {"codes": found[0].numpy().astype(np.int16)}

        self.cache("codes").fill(self.clips, compute)

    # --- trained stages ---------------------------------------------------------------------------

    def semantic(self) -> None:
        """Train the semantic encoder."""
        run, options = self.settings("semantic", semantic.SemanticOptions)
        if loop.finished(self.folder("semantic"), run):
            return
        banks = self.cache("bank").load(first=SEMANTIC_CLIPS)
        loop.train(semantic.SemanticStage(self.config.semantic, options, {i: banks[i] for i in self.seen(banks)}), run,
                   self.folder("semantic"))
        for name, some in (("trained", self.seen(banks)), ("unseen", self.unseen(banks))):
            accuracy = semantic.phone_accuracy(self.recognizer, [banks[i] for i in some[:CHECKED_CLIPS]])
            self.note("semantic", **{f"phone_accuracy_{name}_voices": accuracy})

    def codec(self) -> None:
        """Train the codec."""
        run, options = self.settings("codec", codec.CodecOptions)
        if loop.finished(self.folder("codec"), run):
            return
        labels = self.cache("bank").load(["phones"], first=FEATURE_CLIPS)
        clips = {i: labels[i] | arrays for i, arrays in self.cache("features").load().items()}
        loop.train(codec.CodecStage(self.config.codec, options, {i: clips[i] for i in self.seen(clips)}), run,
                   self.folder("codec"))
        for name, some in (("trained", self.seen(clips)), ("unseen", self.unseen(clips))):
            some = some[:CHECKED_CLIPS]
            codes = [self.trained_codec.quantize(torch.from_numpy(clips[i]["features"]).float()[None])[0][0].numpy()
                     for i in some]
            found = codec.information(codes, [clips[i]["phones"] for i in some], self.config.codec.codebook_size)
            self.note("codec", **{f"{key}_{name}_voices": value for key, value in found.items()})

    def vocoder(self) -> None:
        """Train the vocoder."""
        run, options = self.settings("vocoder", vocoder.VocoderOptions)
        if loop.finished(self.folder("vocoder"), run):
            return
        clips = self.cache("audio").load(first=VOCODER_CLIPS)
        loop.train(vocoder.VocoderStage(self.config, options, {i: clips[i] for i in self.seen(clips)}), run,
                   self.folder("vocoder"))

    def speaker(self) -> None:
        """Train the style encoder."""
        run, options = self.settings("speaker", speaker.SpeakerOptions)
        if loop.finished(self.folder("speaker"), run):
            return
        banks = self.cache("fbank").load()
        state = loop.train(speaker.SpeakerStage(self.config.speaker, options, {i: banks[i] for i in self.seen(banks)},
                                                self.speakers(banks)), run, self.folder("speaker"))
        encoder = speaker.load_encoder(self.config.speaker, state)
        for name, some in (("trained", self.seen(banks)), ("unseen", self.unseen(banks))):
            some = some[:CHECKED_CLIPS]
            found = speaker.similarities(encoder, [banks[i]["fbank"] for i in some], list(self.speakers(some).values()))
            self.note("speaker", **{f"{key}_{name}_voices": value for key, value in found.items()})

    def gpt(self) -> None:
        """Train the GPT."""
        run, options = self.settings("gpt", gpt.GPTOptions)
        if loop.finished(self.folder("gpt"), run):
            return
        stage = gpt.GPTStage(self.config.gpt, self.config.semantic.hidden_size, options,
                             [self.sample(i) for i in self.seen(range(len(self.all_codes)))], self.conditions())
        loop.train(stage, run, self.folder("gpt"))

    def s2mel(self) -> None:
        """Train regulator and flow on codes alone; it needs no GPT."""
        self._train_s2mel("s2mel", with_latents=False)

    def s2mel_latents(self) -> None:
        """Go on training them with the GPT's latents, from what `s2mel` reached."""
        folder = self.folder("s2mel_latents")
        self._train_s2mel("s2mel_latents", with_latents=True,
                          start=None if (folder / loop.CHECKPOINT).exists() else loop.averaged(self.folder("s2mel")))

    def _train_s2mel(self, name: str, with_latents: bool, start: dict[str, Tensor] | None = None) -> None:
        run, options = self.settings(name, s2mel.S2MelOptions)
        if loop.finished(self.folder(name), run):
            return
        clips = self.cache("audio").load(["mel"])
        for index, arrays in clips.items():
            arrays["codes"] = self.all_codes[index]["codes"]
        if with_latents:
            for index, arrays in self.cache("latents").load().items():
                clips[index] |= arrays
            clips = {index: arrays for index, arrays in clips.items() if "latents" in arrays}
        stage = s2mel.S2MelStage(self.config, options, {i: clips[i] for i in self.seen(clips)}, self.speakers(clips),
                                 self.styles(), self.codebook())
        if start is not None:
            stage.module.load_state_dict(start)
        loop.train(stage, run, self.folder(name))

    # --- what GPT and flow are fed ----------------------------------------------------------------

    @functools.cached_property
    def all_codes(self) -> dict[int, features.Arrays]:
        return self.cache("codes").load()

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        path = self.work / "bpe.model"
        if not path.exists():
            tokens.train_tokenizer(path)
        return Tokenizer(path)

    def sample(self, index: int) -> gpt.Sample:
        """Text tokens and codes of a clip. The corpus is written as it is spoken and needs no normalizing."""
        clip = self.clips[index]
        return gpt.Sample(np.array(self.tokenizer.encode(clip.text)),
                          self.all_codes[index]["codes"].astype(np.int64), clip.speaker)

    def conditions(self) -> dict[str, list[np.ndarray]]:
        """Conditioning features by speaker."""
        by_speaker: dict[str, list[np.ndarray]] = {}
        for index, arrays in self.cache("features").load().items():
            by_speaker.setdefault(self.clips[index].speaker, []).append(arrays["features"])
        return by_speaker

    def codebook(self) -> Tensor:
        """What every code is embedded as: [K, D]."""
        with torch.inference_mode():
            return self.trained_codec.vq2emb(torch.arange(self.config.codec.codebook_size)[None])[0].clone()

    def styles(self) -> dict[int, np.ndarray]:
        """Style vector of every clip that has a filter bank in the cache."""
        encoder = speaker.load_encoder(self.config.speaker, loop.averaged(self.folder("speaker")))
        with torch.inference_mode():
            return {index: encoder(torch.from_numpy(arrays["fbank"]).float()[None])[0].numpy()
                    for index, arrays in self.cache("fbank").load().items()}

    def latents(self) -> None:
        """The trained GPT's teacher-forced latents of the flow's clips."""
        model = gpt.load_gpt(self.config.gpt, self.config.semantic.hidden_size, loop.averaged(self.folder("gpt")))
        conditions, rng = self.conditions(), np.random.default_rng(SPEECH_SEED)
        order = {id(clip): index for index, clip in enumerate(self.clips)}

        def compute(clip: data.Clip) -> features.Arrays:
            choices = conditions[clip.speaker]
            found = gpt.teacher_forced_latents(model, self.sample(order[id(clip)]), choices[rng.integers(len(choices))])
            return {"latents": found.numpy().astype(np.float16)}

        self.cache("latents").fill(self.clips[:LATENT_CLIPS], compute)
