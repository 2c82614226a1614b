"""Pitch, loss curves."""

import numpy as np
import pytest

from training import measure, plots
from training.loop import METRICS


def test_median_pitch_of_a_gliding_harmonic_tone():
    rate, seconds = 16_000, 1.0
    phase = 2 * np.pi * np.cumsum(np.linspace(150, 170, int(rate * seconds))) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 8)).astype(np.float32) * 0.2
    assert measure.median_pitch(wave, rate) == pytest.approx(160, rel=0.03)
    assert np.isnan(measure.median_pitch(np.zeros(rate, np.float32), rate))


def test_metrics_are_read_back_and_the_later_line_counts(tmp_path):
    (tmp_path / METRICS).write_text(
        "step=2 loss=3.0 seconds=1\nnoted=0.5\nstep=4 loss=2.0\nstep=4 loss=1.5 rate=1e-3\n"
    )
    assert plots.read_metrics(tmp_path / METRICS) == {"loss": [(2, 3.0), (4, 1.5)]}
    plots.plot_logs([tmp_path / METRICS], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
