"""Speech and background told apart: the SNR estimate against mixtures whose SNR is known."""

import pytest
import torch

from enhance.levels import decibels, frame_power
from enhance.speech import MIN_SNR_DB, noise_and_snr, speech_blocks
from tests.enhance.material import RATE, SPEECH, babble, mix, power, speech, talk, white

NOISES = {"white": white, "babble": babble}


def estimate(samples):
    return noise_and_snr(frame_power(samples, RATE))[1]


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("snr", range(0, 31, 5))
@pytest.mark.parametrize("name", [path.stem for path in SPEECH])
def test_snr_is_within_3_db(name, snr, noise):
    clean = speech(name)
    for seed in range(3):
        assert estimate(mix(clean, NOISES[noise](clean.shape[1], seed), snr)) == pytest.approx(snr, abs=3)


@pytest.mark.parametrize("snr", (0, 15, 30))
def test_snr_of_a_long_clip_at_another_rate_and_level(snr):
    clean = talk(15)
    quiet = 0.01 * mix(clean, white(clean.shape[1]), snr)
    assert estimate(quiet) == pytest.approx(snr, abs=3)
    assert noise_and_snr(frame_power(quiet.repeat_interleave(3, dim=1), 3 * RATE))[1] == pytest.approx(
        snr, abs=3
    )


def test_noise_floor_is_the_power_of_the_noise():
    noise = 0.003 * white(5 * RATE)
    floor, _ = noise_and_snr(frame_power(speech("slt_1")[:, : 4 * RATE] + noise[:, : 4 * RATE], RATE))
    assert decibels(floor) == pytest.approx(decibels(power(noise).item()), abs=1.5)


def test_noise_alone_has_no_snr():
    assert estimate(white(5 * RATE)) < -5
    assert estimate(torch.zeros(1, RATE)) == MIN_SNR_DB


def test_digital_silence_is_no_background():
    noisy = mix(speech("slt_1"), white(speech("slt_1").shape[1]), 10)
    padded = torch.cat([torch.zeros(1, 2 * RATE), noisy, torch.zeros(1, 2 * RATE)], dim=1)
    assert estimate(padded) == pytest.approx(estimate(noisy), abs=0.5)


def test_an_offset_changes_nothing():
    noisy = mix(speech("rms_1"), white(speech("rms_1").shape[1]), 20)
    assert estimate(noisy + 0.2) == pytest.approx(estimate(noisy), abs=0.1)


def test_speech_blocks_are_those_with_speech():
    clean = speech("slt_1")
    noise = 0.003 * white(clean.shape[1] + 4 * RATE)
    clip = noise.clone()
    clip[:, 2 * RATE : 2 * RATE + clean.shape[1]] += clean
    share = speech_blocks(frame_power(clip, RATE)).float()
    blocks = round(2 / 0.008)
    assert share[: blocks - 5].mean() < 0.02
    assert share[-blocks + 5 :].mean() < 0.02
    assert share[blocks:-blocks].mean() > 0.6


def test_loud_steady_noise_is_not_speech():
    clip = torch.cat([white(3 * RATE), 1e-3 * white(3 * RATE)], dim=1)
    assert speech_blocks(frame_power(clip, RATE)).float().mean() < 0.02
