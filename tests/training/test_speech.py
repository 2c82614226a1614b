"""The speech corpus: speakers, flite with its timings, writing that goes on after an interruption."""

import json
import shutil

import numpy as np
import pytest

from training import flite, measure, speakers, speech

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def test_speakers_are_repeatable_distinct_and_within_limits():
    made = speakers.make_speakers(0)
    assert made == speakers.make_speakers(0) and made != speakers.make_speakers(1)
    assert len({speaker.name for speaker in made}) == len(made) == 84
    assert sum(speaker.pure for speaker in made) == 4
    for speaker in made[4:]:
        assert speakers.FORMANT_LIMITS[0] <= speaker.formant <= speakers.FORMANT_LIMITS[1]
        assert speakers.PITCH_LIMITS[0] <= speaker.pitch <= speakers.PITCH_LIMITS[1]


def test_pure_voices_speak_more_often():
    dealt = [speaker.name for speaker in speech.assign_speakers(960, 0)]
    assert dealt.count("slt") == 4 * dealt.count("slt-03")


@needs_flite
@pytest.mark.parametrize("formant", (0.9, 1.0, 1.15))
def test_timings_span_the_speech_and_pitch_is_as_asked(formant):
    speaker = speakers.Speaker("test", "slt", 150.0, 12.0, formant=formant, rate=1.1, tilt=2.0)
    utterance = flite.speak("Please leave your umbrella by the door.", speaker)
    seconds = len(utterance.wave) / flite.SAMPLE_RATE
    ends = [end for _, end in utterance.phones]
    assert ends == sorted(ends) and ends[-1] == pytest.approx(seconds, abs=0.1)
    assert utterance.phones[0][0] == utterance.phones[-1][0] == flite.SILENCE
    assert measure.median_pitch(utterance.wave, flite.SAMPLE_RATE) == pytest.approx(150, rel=0.08)
    first = utterance.wave[: int(0.8 * ends[0] * flite.SAMPLE_RATE)]
    assert np.abs(first).max() < 0.1 * np.abs(utterance.wave).max()


@needs_flite
def test_text_without_words_is_refused():
    with pytest.raises(RuntimeError, match="flite spoke nothing"):
        flite.speak("...", speakers.make_speakers(0)[0])


def test_missing_flite_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="flite is not installed"):
        flite.speak("Hello.", speakers.make_speakers(0)[0])


@needs_flite
def test_an_interrupted_corpus_goes_on(tmp_path):
    manifest = speech.write_corpus(tmp_path / "whole", 6, seed=2)
    whole = manifest.read_text()
    parts = speech.write_corpus(tmp_path / "parts", 6, seed=2)
    lines = whole.splitlines(keepends=True)
    parts.write_text("".join(lines[:3]) + lines[3][:20])
    speech.write_corpus(tmp_path / "parts", 6, seed=2)
    assert parts.read_text() == whole
    for line in lines:
        audio = json.loads(line)["audio"]
        assert (tmp_path / "parts" / audio).read_bytes() == (tmp_path / "whole" / audio).read_bytes()
