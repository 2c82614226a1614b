"""The speech corpus: speakers, the teachers with their timings, writing that goes on after an interruption."""

import hashlib
import json

import numpy as np
import pytest

from pipeline.text.phones import read_phones
from training import kokoro, measure, speakers, speech, teacher, unquantize
from training.recipe import FAST_SPEECH, SPEECH, UNSEEN_SPEAKERS


@pytest.fixture(scope="module")
def fast() -> teacher.Hibari:
    pytest.importorskip("onnx", reason="the teachers are not installed (training/requirements.txt)")
    return teacher.Hibari()


class FastTeachers(teacher.Teachers):
    """The fast teacher for everyone: what does not need Kokoro's download."""

    def __init__(self, fast: teacher.Hibari, folder):
        super().__init__(folder)
        self.__dict__["hibari"] = fast


def test_speakers_are_repeatable_distinct_and_within_limits():
    made = speakers.make_speakers(0)
    assert made == speakers.make_speakers(0) and made != speakers.make_speakers(1)
    assert len({speaker.name for speaker in made}) == len(made) == 400
    assert sum(speaker.pure for speaker in made) == 22
    for speaker in made:
        assert sum(weight for _, weight in speaker.timbre) == pytest.approx(1.0, abs=0.002)
        assert len({voice[1] for voice, _ in speaker.timbre}) == 1, "of one sex"
    for speaker in made[22:] + speakers.make_fast_speakers(0):
        assert speakers.FAST_FORMANT_LIMITS[0] <= speaker.formant <= speakers.FAST_FORMANT_LIMITS[1]
        assert speakers.RATE_LIMITS[0] <= speaker.rate <= speakers.RATE_LIMITS[1]


def test_voices_kept_for_measuring_are_in_no_speaker():
    kept = {*speakers.KEPT_OUT, *speakers.UNUSED}
    for plan in (SPEECH, FAST_SPEECH):
        for speaker in plan.speakers(plan.seed):
            assert not kept & {speaker.name, speaker.prosody, *(voice for voice, _ in speaker.timbre)}
    assert {speaker.name for speaker in SPEECH.speakers(SPEECH.seed)} >= UNSEEN_SPEAKERS


def test_pure_voices_speak_more_often():
    dealt = [speaker.name for speaker in speech.assign_speakers(speakers.make_speakers(0), 4660, 0)]
    assert dealt.count("af_heart") == 4 * dealt.count("blend003")


def test_plans_number_their_clips_apart():
    first, second = ({line[0] for line in plan.lines()} for plan in (SPEECH, FAST_SPEECH))
    assert len(first) == SPEECH.count and len(second) == FAST_SPEECH.count and not first & second


@pytest.mark.parametrize(("formant", "pitch"), ((0.9, 1.0), (1.0, 0.7), (1.15, 0.9)))
def test_timings_span_the_speech_and_pitch_is_as_asked(fast, tmp_path, formant, pitch):
    teachers = FastTeachers(fast, tmp_path)
    phones = read_phones("Please leave your umbrella by the door.")
    plain = teachers.speak(
        phones, speakers.Speaker("plain", speakers.HIBARI, (("af_heart", 1.0),), "af_heart")
    )
    changed = teachers.speak(
        phones,
        speakers.Speaker("test", speakers.HIBARI, (("af_heart", 1.0),), "af_heart", formant, pitch, 1.1),
    )
    assert "".join(token for token, _ in changed.phones) == phones
    ends = [end for _, end in changed.phones]
    assert ends == sorted(ends)
    assert ends[-1] == pytest.approx(len(changed.wave) / teacher.SAMPLE_RATE, abs=0.01)
    wanted = measure.median_pitch(plain.wave, teacher.SAMPLE_RATE) * formant * pitch
    assert measure.median_pitch(changed.wave, teacher.SAMPLE_RATE) == pytest.approx(wanted, rel=0.06)
    assert len(changed.wave) < len(plain.wave)
    silence = changed.wave[: int(0.5 * ends[0] * teacher.SAMPLE_RATE)]
    assert np.abs(silence).max() < 0.1 * np.abs(changed.wave).max()


def test_phones_that_no_teacher_knows_are_named(fast, tmp_path):
    with pytest.raises(ValueError, match=r"phones \['§'\] are not in the teacher's vocabulary"):
        FastTeachers(fast, tmp_path).speak("hə§", speakers.make_fast_speakers(0)[0])


def test_a_download_that_is_another_file_is_refused(tmp_path):
    (tmp_path / kokoro.VOICES_ARCHIVE).write_bytes(b"something else")
    found = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(RuntimeError, match=f"sha256 {found}; allowed: {kokoro.VOICES_SHA256}"):
        kokoro.fetch_voices(tmp_path)


def test_an_interrupted_corpus_goes_on(fast, tmp_path):
    plan = speech.Plan(100, 6, speakers.make_fast_speakers, seed=2)
    teachers = FastTeachers(fast, tmp_path)
    manifest = speech.write_corpus(tmp_path / "whole", plan, teachers)
    whole = manifest.read_text("utf-8")
    parts = speech.write_corpus(tmp_path / "parts", plan, teachers)
    lines = whole.splitlines(keepends=True)
    parts.write_text("".join(lines[:3]) + lines[3][:20], "utf-8")
    speech.write_corpus(tmp_path / "parts", plan, teachers)
    assert parts.read_text("utf-8") == whole
    records = [json.loads(line) for line in lines]
    assert [record["index"] for record in records] == [*range(100, 106)]
    for record in records:
        audio = record["audio"]
        assert (tmp_path / "parts" / audio).read_bytes() == (tmp_path / "whole" / audio).read_bytes()


def test_float_convolutions_say_what_the_quantized_ones_say():
    """A graph of one quantized convolution with bias, as onnxruntime's quantizer writes it, before and after."""
    onnx = pytest.importorskip("onnx", reason="the teachers are not installed (training/requirements.txt)")
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    values = {
        "weight": rng.integers(0, 255, (4, 3, 5)).astype(np.uint8),
        "weight_zero": np.uint8(120),
        "weight_scale": np.float32(0.01),
        "bias": rng.standard_normal(4).astype(np.float32),
        "shape": np.array([1, 4, 1]),
    }
    node = helper.make_node
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "x_scale", "x_zero"]),
        node("ConvInteger", ["q", "weight", "x_zero", "weight_zero"], ["sum"], name="conv", pads=[2, 2]),
        node("Mul", ["x_scale", "weight_scale"], ["scale"]),
        node("Div", ["bias", "scale"], ["bias_1"]),
        node("Floor", ["bias_1"], ["bias_2"]),
        node("Cast", ["bias_2"], ["bias_3"], to=TensorProto.INT32),
        node("Reshape", ["bias_3", "shape"], ["bias_4"]),
        node("Add", ["sum", "bias_4"], ["biased"]),
        node("Cast", ["biased"], ["floats"], to=TensorProto.FLOAT),
        node("Mul", ["floats", "scale"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 20])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 20])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x = {"x": rng.standard_normal((1, 3, 20)).astype(np.float32)}

    def run() -> np.ndarray:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(["y"], x)[0]

    before = run()
    assert unquantize.float_convolutions(model) == 1
    assert "ConvInteger" not in {part.op_type for part in model.graph.node}
    onnx.checker.check_model(model)
    np.testing.assert_allclose(run(), before, atol=0.05 * np.abs(before).max())
