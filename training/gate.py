"""Gates of the small model: `python -m training.gate vocoder|flow|gpt FOLDER [--work FOLDER] [--sentences N]`.

Held-out sentences are spoken by the teacher in the voices that are kept out of training; then each gate puts one more
trained stage between that speech and the judges: the vocoder (true mels), the flow (true codes), the GPT (text). The
waves lie in FOLDER, with the teacher's own, and `cases.jsonl` says of each what it should say and whose voice it
should have, for the judges of `script/judge`.
"""

import argparse
import functools
import json
import logging
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from pipeline.audio import kaldi_fbank, log_mel
from pipeline.config import ModelConfig
from pipeline.gpt.decode import Decoded, decode
from pipeline.gpt.model import UnifiedVoice
from pipeline.s2mel.flow import draw_noise, solve
from pipeline.strict import build, read_yaml
from pipeline.synthesize import sampling_options
from pipeline.text.phones import read_phones
from training import corpus, discriminators, gpt, loop, s2mel, speaker, speakers, vocoder
from training.data import read_wave_at
from training.recipe import UNSEEN_SPEAKERS
from training.semantic import make_extractor
from training.teacher import SAMPLE_RATE, Teachers
from training.tiny_en import default_work
from training.workspace import MODEL_CONFIG, Workspace

REFERENCE_TEXT = "This is how my voice sounds when I read a few lines aloud."
GATES = ("vocoder", "flow", "gpt")
logger = logging.getLogger(__name__)


class Chain:
    """The trained stages, each loaded when it is first used, in inference order. Waves are files, as the rate differs
    from stage to stage."""

    def __init__(self, work: Workspace, flow_run: str):
        self.work, self.config, self.flow_run = work, work.config, flow_run
        self.extractor = make_extractor(self.config.semantic, self.config.reference.sample_rate)

    @functools.cached_property
    def vocoder(self) -> torch.nn.Module:
        state = discriminators.vocoder_state(loop.averaged(self.work.run("vocoder")))
        return vocoder.load_vocoder(self.config.vocoder, state)

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

    def mel(self, path: Path) -> Tensor:
        """Log-mel [1, C, F]."""
        audio = self.config.audio
        return log_mel(torch.from_numpy(read_wave_at(path, audio.sample_rate))[None], audio)

    def features(self, path: Path) -> Tensor:
        """Normalized semantic features [1, T, D]."""
        bank = self.extractor.input_features(read_wave_at(path, self.extractor.rate))[0]
        return self.work.normalized(bank[0].numpy())[None]

    @torch.inference_mode()
    def copied(self, path: Path) -> np.ndarray:
        """A wave [T] through its mel and the vocoder."""
        return self.vocoder(self.mel(path))[0].numpy()

    @torch.inference_mode()
    def codes(self, path: Path) -> Tensor:
        """The codes [1, n] of a wave."""
        return self.work.codec.quantize(self.features(path))[0]

    @torch.inference_mode()
    def spoken(self, codes: Tensor, latents: Tensor | None, reference: Path, seed: int) -> np.ndarray:
        """Codes [1, n] in the reference's voice, through flow and vocoder."""
        config, flow = self.config, self.flow
        mel = self.mel(reference)
        wave = torch.from_numpy(read_wave_at(reference, config.speaker.sample_rate))[None]
        style = self.style(kaldi_fbank(wave, config.speaker.sample_rate, config.speaker.mel_bins))
        _, embedding = self.work.codec.quantize(self.features(reference))
        wanted = self.work.codec.vq2emb(codes)
        if latents is not None:
            wanted = wanted + flow.gpt_layer(latents)
        frames = int(config.s2mel.regulator.frames_per_code * codes.shape[1])
        condition = torch.cat(
            [flow.length_regulator(embedding, mel.shape[-1]), flow.length_regulator(wanted, frames)], dim=1
        )
        options, generator = config.synthesis, torch.Generator().manual_seed(seed)
        noise = draw_noise(config.audio.n_mels, condition.shape[1], generator, options.noise_scale)
        steps, rate, sway = options.diffusion_steps, options.cfg_rate, options.time_sway
        made = solve(flow.cfm.estimator, noise, mel, condition, style, steps, rate, sway)
        return self.vocoder(made)[0].numpy()

    @torch.inference_mode()
    def read(self, text: str, reference: Path, seed: int) -> Decoded:
        """The GPT's codes and latents for a text in the reference's manner."""
        features, ids = self.features(reference), torch.tensor([self.work.tokenizer.encode(text)])
        speaker_latents, emotion = self.gpt.speaker_latents(features), self.gpt.emotion_vector(features)
        prompt = self.gpt.prompt_inputs(speaker_latents, emotion, ids)
        generator = torch.Generator().manual_seed(seed)
        return decode(self.gpt, prompt, sampling_options(self.config.synthesis), generator)

    def made(self, gate: str, text: str, true: Path, reference: Path, seed: int) -> np.ndarray:
        """The wave of one case; half a second of silence where the GPT said nothing."""
        if gate == "vocoder":
            return self.copied(true)
        if gate == "flow":
            return self.spoken(self.codes(true), None, reference, seed)
        decoded = self.read(text, reference, seed)
        if not len(decoded.codes):
            return np.zeros(self.config.audio.sample_rate // 2, np.float32)
        latents = None if self.flow_run == "s2mel" else decoded.latents[None]
        return self.spoken(decoded.codes[None], latents, reference, seed)


def run_gate(gate: str, chain: Chain, teachers: Teachers, texts: list[str], folder: Path) -> Path:
    """Write the waves of every sentence in every unseen voice; returns the path of `cases.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for voice in speakers.KEPT_OUT:
        reference = folder / f"{voice}.wav"
        said = {reference: REFERENCE_TEXT} | {folder / f"{voice}-{i:03d}.wav": t for i, t in enumerate(texts)}
        for path, text in said.items():
            if not path.exists():
                utterance = teachers.speak(read_phones(text), speakers.pure_speaker(voice))
                soundfile.write(path, utterance.wave, SAMPLE_RATE)
        for seed, (true, text) in enumerate(list(said.items())[1:]):
            path = true.with_name(f"{true.stem}-{gate}.wav")
            soundfile.write(
                path, chain.made(gate, text, true, reference, seed), chain.config.audio.sample_rate
            )
            cases += [
                {"wav": str(wave), "text": text, "ref": str(reference), "by": by}
                for by, wave in (("teacher", true), (gate, path))
            ]
    listing = folder / "cases.jsonl"
    listing.write_text("".join(json.dumps(case) + "\n" for case in cases), "utf-8")
    return listing


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gate", choices=GATES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=default_work())
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument(
        "--flow", default="s2mel", help="run of the flow: s2mel, s2mel_latents or s2mel_distilled"
    )
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(arguments.threads)
    config = build(ModelConfig, read_yaml(MODEL_CONFIG), MODEL_CONFIG.name)
    chain = Chain(Workspace(arguments.work, config, UNSEEN_SPEAKERS), arguments.flow)
    teachers = Teachers(arguments.work / "teacher", arguments.threads)
    texts = list(corpus.held_out()[: arguments.sentences])
    logger.info("%s", run_gate(arguments.gate, chain, teachers, texts, arguments.folder))


if __name__ == "__main__":
    main()
