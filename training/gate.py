"""Errors between stages: `python -m training.gate phones|vocoder|flow|gpt [--work FOLDER] [--sentences N]`.

Held-out sentences are spoken by flite's four voices; then each gate puts one more trained stage between that speech
and the measures, a recognizer and the pitch: the vocoder (true mels), the flow (true codes), the GPT (text). `phones`
needs the GPT alone: it reads the phones off its codes and compares them with flite's.
"""

import argparse
import functools
import itertools
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.audio import kaldi_fbank, log_mel, resample
from pipeline.config import load_config
from pipeline.gpt.decode import Decoded, decode
from pipeline.gpt.model import UnifiedVoice
from pipeline.s2mel.flow import draw_noise, solve
from pipeline.synthesize import sampling_options
from training import corpus, features, flite, gpt, loop, measure, s2mel, speaker, speakers, vocoder
from training.recipe import MODEL, UNSEEN_SPEAKERS
from training.semantic import make_extractor
from training.tiny_en import default_work
from training.workspace import Workspace

REFERENCE_TEXT = "This is how my voice sounds when I read a few lines aloud, calmly and without any hurry."
logger = logging.getLogger(__name__)


class Chain:
    """The trained stages, each loaded when it is first used, in inference order."""

    def __init__(self, work: Workspace, flow_run: str):
        self.work, self.config, self.flow_run = work, work.config, flow_run
        self.extractor = make_extractor(self.config.semantic, self.config.reference.sample_rate)

    @functools.cached_property
    def vocoder(self) -> torch.nn.Module:
        return vocoder.load_vocoder(self.config.vocoder, loop.averaged(self.work.run("vocoder")))

    @functools.cached_property
    def flow(self) -> s2mel.S2Mel:
        return s2mel.load_s2mel(self.config, loop.averaged(self.work.run(self.flow_run)))

    @functools.cached_property
    def style(self) -> torch.nn.Module:
        return speaker.load_encoder(self.config.speaker, loop.averaged(self.work.run("speaker")))

    @functools.cached_property
    def gpt(self) -> UnifiedVoice:
        return gpt.load_gpt(
            self.config.gpt, self.config.semantic.hidden_size, loop.averaged(self.work.run("gpt"))
        )

    @functools.cached_property
    def phone_of_code(self) -> np.ndarray:
        """The phone most often spoken where a code is found: index into `flite.PHONES` per code."""
        labels = self.work.cache("bank").load(["phones"], first=features.CLIPS_PER_SHARD)
        table = np.zeros((self.config.codec.codebook_size, len(flite.PHONES)))
        for index, arrays in labels.items():
            np.add.at(table, (self.work.codes[index]["codes"], arrays["phones"]), 1)
        return table.argmax(1)

    def mel(self, wave: np.ndarray) -> Tensor:
        """Log-mel [1, C, F] of a wave [T] at flite's rate."""
        return log_mel(
            resample(torch.from_numpy(wave)[None], flite.SAMPLE_RATE, self.config.audio.sample_rate),
            self.config.audio,
        )

    def features(self, wave: np.ndarray) -> Tensor:
        """Normalized semantic features [1, T, D]."""
        return self.work.normalized(self.extractor.input_features(wave)[0][0].numpy())[None]

    def copied(self, wave: np.ndarray) -> np.ndarray:
        """A wave [T] through its mel and the vocoder, at the model's rate."""
        with torch.inference_mode():
            return self.vocoder(self.mel(wave))[0].numpy()

    def spoken(self, codes: Tensor, latents: Tensor | None, reference: np.ndarray, seed: int) -> np.ndarray:
        """Codes [1, n] in the reference's voice, through flow and vocoder."""
        config, flow = self.config, self.flow
        with torch.inference_mode():
            mel = self.mel(reference)
            style = self.style(
                kaldi_fbank(torch.from_numpy(reference)[None], flite.SAMPLE_RATE, config.speaker.mel_bins)
            )
            _, embedding = self.work.codec.quantize(self.features(reference))
            wanted = self.work.codec.vq2emb(codes)
            if latents is not None:
                wanted = wanted + flow.gpt_layer(latents)
            frames = int(config.s2mel.regulator.frames_per_code * codes.shape[1])
            condition = torch.cat(
                [flow.length_regulator(embedding, mel.shape[-1]), flow.length_regulator(wanted, frames)],
                dim=1,
            )
            options = config.synthesis
            noise = draw_noise(
                config.audio.n_mels,
                condition.shape[1],
                torch.Generator().manual_seed(seed),
                options.noise_scale,
            )
            made = solve(
                flow.cfm.estimator,
                noise,
                mel,
                condition,
                style,
                options.diffusion_steps,
                options.cfg_rate,
                options.time_sway,
            )
            return self.vocoder(made)[0].numpy()

    def read(self, text: str, reference: np.ndarray, seed: int) -> Decoded:
        """The GPT's codes and latents for a text in the reference's manner."""
        with torch.inference_mode():
            features = self.features(reference)
            ids = torch.tensor([self.work.tokenizer.encode(text)])
            prompt = self.gpt.prompt_inputs(
                self.gpt.speaker_latents(features), self.gpt.emotion_vector(features), ids
            )
            return decode(
                self.gpt, prompt, sampling_options(self.config.synthesis), torch.Generator().manual_seed(seed)
            )


def pure_voices() -> list[speakers.Speaker]:
    return [one for one in speakers.make_speakers(0) if one.pure]


def phone_errors(chain: Chain, texts: list[str]) -> dict[str, float]:
    """Phone error rate of the GPT's codes against what flite would say, pauses left out, and how often it stopped."""
    errors = count = 0
    stops = []
    for voice in pure_voices():
        reference = flite.speak(REFERENCE_TEXT, voice).wave
        for index, text in enumerate(texts):
            decoded = chain.read(text, reference, index)
            stops.append(decoded.stopped)
            runs = itertools.groupby(chain.phone_of_code[decoded.codes.numpy()])
            said = [flite.PHONES[phone] for phone, _ in runs if flite.PHONES[phone] != flite.SILENCE]
            wanted = [phone for phone, _ in flite.speak(text, voice).phones if phone != flite.SILENCE]
            errors, count = errors + measure.word_errors(wanted, said), count + len(wanted)
            logger.info("%s: %s | %s", voice.name, text, " ".join(said))
    return {"phone_error_rate": errors / count, "stopped": float(np.mean(stops))}


def run_gate(name: str, chain: Chain, texts: list[str]) -> dict[str, float]:
    """Word error rates per voice and over all, flite's own and with the gate's stages in between; the mean distance of
    the median pitch from that of flite's speech, as a share of it."""
    rates, own_all, made_all, stops, pitches = {}, [], [], [], []
    for voice in pure_voices():
        reference = flite.speak(REFERENCE_TEXT, voice).wave
        own, made, off = [], [], []
        for index, text in enumerate(texts):
            wave = flite.speak(text, voice).wave
            own.append(measure.transcribe(wave, flite.SAMPLE_RATE))
            if name == "vocoder":
                result = chain.copied(wave)
            elif name == "flow":
                with torch.inference_mode():
                    codes, _ = chain.work.codec.quantize(chain.features(wave))
                result = chain.spoken(codes, None, reference, index)
            else:
                decoded = chain.read(text, reference, index)
                stops.append(decoded.stopped)
                latents = None if chain.flow_run == "s2mel" else decoded.latents[None]
                result = (
                    chain.spoken(decoded.codes[None], latents, reference, index)
                    if len(decoded.codes)
                    else np.zeros(flite.SAMPLE_RATE, np.float32)
                )
            made.append(measure.transcribe(result, chain.config.audio.sample_rate))
            pitch = measure.median_pitch(result, chain.config.audio.sample_rate)
            off.append(abs(pitch / measure.median_pitch(wave, flite.SAMPLE_RATE) - 1) if pitch > 0 else 1.0)
            logger.info("%s: %s | %s", voice.name, text, made[-1])
        rates[voice.name] = measure.word_error_rate(texts, made)
        rates[f"{voice.name}_flite"] = measure.word_error_rate(texts, own)
        rates[f"{voice.name}_pitch_off"] = float(np.mean(off))
        pitches += off
        own_all += own
        made_all += made
    everything = texts * len(pure_voices())
    rates["all"] = measure.word_error_rate(everything, made_all)
    rates["all_flite"] = measure.word_error_rate(everything, own_all)
    rates["all_pitch_off"] = float(np.mean(pitches))
    return rates | ({"stopped": float(np.mean(stops))} if stops else {})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gate", choices=("phones", "vocoder", "flow", "gpt"))
    parser.add_argument("--work", type=Path, default=default_work())
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--flow", default="s2mel", help="run of the flow: s2mel or s2mel_latents")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    work = Workspace(arguments.work, load_config(MODEL), UNSEEN_SPEAKERS)
    chain = Chain(work, arguments.flow)
    texts = list(corpus.held_out()[: arguments.sentences])
    rates = (
        phone_errors(chain, texts) if arguments.gate == "phones" else run_gate(arguments.gate, chain, texts)
    )
    work.note({"phones": "gpt", "flow": arguments.flow}.get(arguments.gate, arguments.gate), **rates)


if __name__ == "__main__":
    main()
