"""The anti-aliased activation against scipy's polyphase filters, and the vocoder's shape."""

import numpy as np
import scipy.signal
import torch

from pipeline.vocoder.bigvgan import AntiAliasedSnake, lowpass_filter


def test_filter_is_a_normalized_symmetric_lowpass():
    taps = lowpass_filter()
    assert abs(float(taps.sum()) - 1) < 1e-6
    torch.testing.assert_close(taps, taps.flip(0))
    response = np.abs(scipy.signal.freqz(taps.numpy(), worN=[0, np.pi])[1])
    assert response[0] > 0.999 and response[1] < 0.01


def test_activation_equals_scipy_up_snake_down(generator):
    layer = AntiAliasedSnake(3)
    with torch.no_grad():
        layer.act.alpha.copy_(torch.tensor([0.3, -0.2, 0.0]))
        layer.act.beta.copy_(torch.tensor([0.1, 0.5, -0.4]))
    x = torch.randn(1, 3, 64, generator=generator)
    taps = lowpass_filter().double().numpy()
    expected = []
    for channel in range(3):
        alpha, beta = (np.exp(p.detach()[channel].item()) for p in (layer.act.alpha, layer.act.beta))
        padded = np.pad(x[0, channel].double().numpy(), 5, mode="edge")
        up = 2 * scipy.signal.upfirdn(taps, padded, up=2)[15:-15]
        up = up + np.sin(up * alpha) ** 2 / (beta + 1e-9)
        expected.append(scipy.signal.upfirdn(taps, np.pad(up, (5, 6), mode="edge"), down=1)[11:-11][::2])
    ours = layer(x)[0].detach().numpy()
    np.testing.assert_allclose(ours, np.stack(expected), atol=2e-6)


def test_wave_has_hop_samples_per_frame_and_stays_in_range(mini_model, generator):
    wave = mini_model.vocoder(torch.randn(2, 80, 7, generator=generator))
    assert wave.shape == (2, 7 * mini_model.config.audio.hop_length)
    assert wave.abs().max() <= 1
