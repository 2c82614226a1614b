"""The teachers: Kokoro-82M (ONNX, int8) with blended styles, and the small and fast hibari, both driven by phones.

Their packages are in `training/requirements.txt`; Kokoro itself, unchanged, is in `checks/teacher.py`; where it comes
from, in `kokoro.py`. Both say how long each phone lasts.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.signal

from training.kokoro import SAMPLE_RATE, STYLE, fetch_voices, kokoro_model, kokoro_vocabulary
from training.speakers import HIBARI, Speaker
from training.unquantize import float_convolutions

TIMBRE = 128  # of the 256 numbers of a style, the first so many are timbre, the rest prosody
DURATIONS = "/encoder/Clip_output_0"  # of Kokoro's graph: units of each token
PITCH_CURVE = "/decoder/decoder/Unsqueeze_output_0"
UNIT = 600  # samples of one unit of Kokoro's durations
MAX_TOKENS = 509
HIBARI_DURATIONS = "/Clip_output_0"
LEVEL = 0.07  # root mean square of the speech, full scale 1
PEAK = 0.95
EDGE_SILENCE = 0.12  # s kept before the first and after the last phone
RATIO_STEPS = 200  # formant factors are rounded to 1/200, so that resampling is by small integers
PAD = ""  # the silent token at both ends


@dataclasses.dataclass(frozen=True)
class Utterance:
    """`wave`: [samples] float32 at `SAMPLE_RATE`; `phones`: (token, end in seconds), the first starts at 0. The tokens are
    `PAD`, then the characters that were spoken, stress marks, spaces and punctuation among them, then `PAD`."""

    wave: np.ndarray
    phones: list[tuple[str, float]]


class Kokoro:
    """Kokoro-82M on one thread."""

    def __init__(self, folder: Path, threads: int = 1):
        """`folder` is where its styles and the changed graph are kept."""
        import onnxruntime

        self.voices = fetch_voices(folder)
        self.vocabulary = kokoro_vocabulary()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(self._changed_graph(folder)), options, providers=["CPUExecutionProvider"]
        )

    @staticmethod
    def _changed_graph(folder: Path) -> Path:
        """The graph with float32 convolutions, durations as an output and a factor of the pitch as an input."""
        import onnx

        path = folder / "kokoro.onnx"
        if path.exists():
            return path
        source = kokoro_model()
        model = onnx.load(source)
        float_convolutions(model)
        graph = model.graph
        for index, node in enumerate(graph.node):
            if PITCH_CURVE in node.output:
                node.output[list(node.output).index(PITCH_CURVE)] = "raw_pitch"
                graph.node.insert(
                    index + 1, onnx.helper.make_node("Mul", ["raw_pitch", "pitch"], [PITCH_CURVE])
                )
                break
        else:
            raise RuntimeError(f"{source} has no tensor {PITCH_CURVE}")
        graph.input.append(onnx.helper.make_tensor_value_info("pitch", onnx.TensorProto.FLOAT, [1]))
        graph.output.append(onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, None))
        onnx.save(model, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)
        return path

    @functools.cache  # noqa: B019 - as many as there are voices
    def table(self, voice: str) -> np.ndarray:
        """A voice's styles [510, 256], one for each number of tokens."""
        return np.fromfile(self.voices / f"{voice}.bin", np.float32).reshape(-1, STYLE)

    def style(self, speaker: Speaker, tokens: int) -> np.ndarray:
        """The blended style [1, 256] for so many tokens."""
        row = tokens - 1
        timbre = sum(weight * self.table(voice)[row, :TIMBRE] for voice, weight in speaker.timbre)
        return np.concatenate([timbre, self.table(speaker.prosody)[row, TIMBRE:]])[None].astype(np.float32)

    def speak(self, phones: str, speaker: Speaker, stretched: float) -> tuple[np.ndarray, np.ndarray]:
        """The wave and each token's samples, the pads' included."""
        ids = [self.vocabulary[phone] for phone in phones]
        if not 0 < len(ids) <= MAX_TOKENS:
            raise ValueError(f"{len(ids)} phones, allowed: 1 to {MAX_TOKENS}")
        wave, units = self.session.run(
            ["audio", DURATIONS],
            {
                "tokens": np.array([[0, *ids, 0]], np.int64),
                "style": self.style(speaker, len(ids)),
                "speed": np.array([speaker.rate / stretched], np.float32),
                "pitch": np.array([speaker.pitch], np.float32),
            },
        )
        return wave.reshape(-1), units.reshape(-1) * UNIT


class Hibari:
    """hibari-tts: one voice, 25 times as fast."""

    def __init__(self, threads: int = 1):
        import hibari
        import onnx
        import onnxruntime
        from hibari import dsp

        assets = Path(hibari.__file__).parent / "assets"
        self.dsp = dsp
        self.vocabulary = json.loads((assets / "vocab.json").read_text("utf-8"))
        model = onnx.load(assets / "hibari.onnx")
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(HIBARI_DURATIONS))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def speak(self, phones: str, speaker: Speaker, stretched: float) -> tuple[np.ndarray, np.ndarray]:
        """As `Kokoro.speak`."""
        ids = [0, *(self.vocabulary[phone] for phone in phones), 0]
        *parts, units = self.session.run(
            ["lh", "theta", "ln", "lr", "phi", "f0", HIBARI_DURATIONS],
            {"ids": np.array([ids], np.int64), "speed": np.array([speaker.rate / stretched], np.float32)},
        )
        *spectra, pitch = (part[0] for part in parts)
        wave = self.dsp.synth(*spectra, pitch * speaker.pitch, np.random.default_rng(len(ids)))
        units = units.reshape(-1)
        return wave, units * (len(wave) / units.sum())


class Teachers:
    """Both teachers, each loaded when it is first asked."""

    def __init__(self, folder: Path, threads: int = 1):
        self.folder, self.threads = folder, threads

    @functools.cached_property
    def kokoro(self) -> Kokoro:
        return Kokoro(self.folder, self.threads)

    @functools.cached_property
    def hibari(self) -> Hibari:
        return Hibari(self.threads)

    def speak(self, phones: str, speaker: Speaker) -> Utterance:
        """`phones` in the speaker's voice, silence at both ends shortened, level fixed; ValueError for phones that the
        teacher does not know or that are too many."""
        stretched = round(speaker.formant * RATIO_STEPS) / RATIO_STEPS
        teacher = self.hibari if speaker.teacher == HIBARI else self.kokoro
        unknown = set(phones) - set(teacher.vocabulary)
        if unknown:
            raise ValueError(f"phones {sorted(unknown)} are not in the teacher's vocabulary")
        wave, samples = teacher.speak(phones, speaker, stretched)
        if stretched != 1.0:
            # Played faster by `stretched`, every frequency rises by it; the teacher was asked for slower speech.
            wave = scipy.signal.resample_poly(wave, RATIO_STEPS, round(stretched * RATIO_STEPS))
        ends = np.cumsum(samples) / stretched / SAMPLE_RATE
        return finished(wave, [PAD, *phones, PAD], ends)


def finished(wave: np.ndarray, tokens: Sequence[str], ends: np.ndarray) -> Utterance:
    """Shorten the silence at both ends and set the level; `ends` are those of the tokens in seconds."""
    first = max(ends[0] - EDGE_SILENCE, 0.0)
    last = min(ends[-2] + EDGE_SILENCE, ends[-1])
    wave = wave[round(first * SAMPLE_RATE) : round(last * SAMPLE_RATE)]
    ends = np.clip(ends, first, last) - first
    level = float(np.sqrt(np.mean(wave**2)))
    gain = min(LEVEL / max(level, 1e-6), PEAK / max(float(np.abs(wave).max()), 1e-6))
    return Utterance(
        (wave * gain).astype(np.float32),
        [(token, round(float(end), 4)) for token, end in zip(tokens, ends, strict=True)],
    )
