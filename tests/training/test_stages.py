"""Each trained part: the loss falls within a few steps, and what it trained is what inference loads."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch

from pipeline.gpt.decode import decode, latent_pass
from pipeline.gpt.sampling import SamplingOptions
from training import codec, data, discriminators, gpt, loop, plots, s2mel, semantic, speaker, vocoder
from training.teacher import PAD

RUN = loop.RunConfig(
    seed=1,
    steps=40,
    learning_rate=5e-3,
    final_learning_rate=1e-3,
    warmup_steps=5,
    beta1=0.9,
    beta2=0.98,
    weight_decay=0.0,
    clip_norm=1.0,
    ema=0.9,
    bf16=False,
    log_every=10,
    save_seconds=1e9,
)
SPEAKERS = ("a", "b")


def losses_of(stage, folder, run=RUN) -> tuple[float, float, dict]:
    """Mean loss over the first and the last ten steps, and the averaged weights."""
    state = loop.train(stage, run, folder)
    lines = (folder / loop.METRICS).read_text().splitlines()
    values = [float(line.split("loss=")[1].split()[0]) for line in lines]
    return values[0], values[-1], state


@pytest.fixture
def clips(small_config, rng):
    """Eight clips of 60 codes whose every array follows from their codes and speaker."""
    codec_width = small_config.codec.hidden_size
    width = small_config.semantic.stride * small_config.semantic.mel_bins
    looks, features = rng.standard_normal((16, width)), rng.standard_normal((16, codec_width))
    mels = rng.standard_normal((16, small_config.audio.n_mels)) - 5
    made = {}
    for index in range(8):
        codes = np.repeat(rng.integers(16, size=15), 4)
        frames = int(len(codes) * small_config.s2mel.regulator.frames_per_code) + 2
        offset = 2.0 * (index % 2)
        made[index] = {
            "codes": codes.astype(np.int16),
            "phones": codes.astype(np.uint8),
            "bank": (looks[codes] + 0.1 * rng.standard_normal((60, width))).astype(np.float16),
            "features": (features[codes] + 0.1 * rng.standard_normal((60, codec_width))).astype(np.float16),
            "mel": mels[codes[np.minimum(np.arange(frames) * 60 // frames, 59)]].T.astype(np.float16)
            + np.float16(offset),
            "latents": rng.standard_normal((60, small_config.gpt.model_dim)).astype(np.float16),
            "fbank": (
                rng.standard_normal((120, 80)) * np.linspace(0.5, 2, 80) ** (1 if index % 2 else -1)
            ).astype(np.float16),
        }
    return made


@pytest.fixture
def speaker_of(clips):
    return {index: SPEAKERS[index % 2] for index in clips}


def test_semantic_encoder_learns_and_is_loaded(small_config, clips, tmp_path):
    options = semantic.SemanticOptions(
        batch=4,
        crop_frames=(20, 40),
        dropout=0.0,
        time_masks=1,
        time_mask_frames=4,
        mel_masks=1,
        mel_mask_bins=8,
        noise=0.05,
    )
    first, last, state = losses_of(semantic.SemanticStage(small_config.semantic, options, clips), tmp_path)
    assert last < 0.8 * first
    model = semantic.load_recognizer(small_config.semantic, state)
    assert semantic.phone_accuracy(model, list(clips.values())) > 2 / 16
    statistics = semantic.feature_statistics(model.model, [clip["bank"] for clip in clips.values()])
    hidden = torch.cat([semantic.hidden_states(model.model, clip["bank"]) for clip in clips.values()])
    normalized = (hidden - statistics["mean"]) / statistics["var"].sqrt()
    assert normalized.mean(0).abs().max() < 1e-3 and (normalized.std(0) - 1).abs().max() < 1e-3


def test_phone_labels_follow_the_timings():
    spoken = ((PAD, 0.1), ("ˈ", 0.14), ("A", 0.2), (" ", 0.28), ("z", 0.36), (".", 0.5), (PAD, 0.6))
    labels = semantic.frame_labels(spoken, 15, stride=4)
    names = [semantic.LABELS[i] if i != semantic.UNLABELLED else "either" for i in labels]
    assert names == [PAD] * 2 + ["A"] * 3 + ["either"] * 2 + ["z"] * 2 + [PAD] * 6


def test_codec_learns_codes_that_tell_the_phone(small_config, clips, tmp_path):
    options = codec.CodecOptions(
        batch=8,
        crop_frames=40,
        phone_weight=1.0,
        feature_weight=1.0,
        commitment_weight=1.0,
        codebook_weight=4.0,
        revive_every=5,
        revive_until=30,
        seed=0,
    )
    stage = codec.CodecStage(small_config.codec, options, clips)
    run = dataclasses.replace(RUN, steps=80)
    first, last, state = losses_of(stage, tmp_path, run)
    assert last < 0.8 * first
    trained = codec.load_codec(small_config.codec, state)
    codes = [
        trained.quantize(torch.from_numpy(clip["features"]).float()[None])[0][0].numpy()
        for clip in clips.values()
    ]
    told = codec.information(
        codes, [clip["phones"] for clip in clips.values()], small_config.codec.codebook_size
    )
    assert told["mutual"] > 0.5 * told["entropy"] and told["used"] > 0.3


def test_information_of_perfect_and_of_useless_codes():
    phones = [np.arange(8).repeat(5)]
    assert codec.information(phones, phones, 8)["mutual"] == pytest.approx(np.log(8))
    assert codec.information([np.zeros(40, int)], phones, 8)["mutual"] == pytest.approx(0.0)


def test_style_encoder_tells_speakers_apart(small_config, clips, speaker_of, tmp_path):
    options = speaker.SpeakerOptions(
        batch=8, crop_frames=(60, 100), scale=10.0, margin=0.1, noise=0.1, traits_weight=1.0, seed=0
    )
    known = {name: (float(place), 7.0) for place, name in enumerate(sorted(set(speaker_of.values())))}
    first, last, state = losses_of(
        speaker.SpeakerStage(small_config.speaker, options, clips, speaker_of, known), tmp_path
    )
    assert last < 0.8 * first
    encoder = speaker.load_encoder(small_config.speaker, state)
    found = speaker.similarities(
        encoder, [clip["fbank"] for clip in clips.values()], list(speaker_of.values())
    )
    assert found["same"] > found["other"] and found["nearest"] == 1.0


def test_vocoder_learns(small_config, tmp_path):
    t = np.arange(22_050) / 22_050
    wave = 0.3 * np.sin(2 * np.pi * 220 * t) * (1 + np.sin(2 * np.pi * 3 * t))
    arrays = {
        "wave": (wave * vocoder.PCM_SCALE).astype(np.int16),
        "mel": vocoder.log_mel(torch.from_numpy(wave).float()[None], small_config.audio)[0].numpy(),
    }
    options = discriminators.AdversarialOptions(
        batch=2,
        crop_frames=16,
        mel_weight=1.0,
        scales_weight=1.0,
        stft_weight=0.3,
        harmonics_weight=1.0,
        adversarial_weight=0.1,
        feature_weight=0.1,
        adversarial_from=10,
        period_widths=(8, 16),
        resolution_widths=(4, 8),
        seed=0,
    )
    run = dataclasses.replace(RUN, steps=25, learning_rate=1e-3, log_every=5)
    stage = discriminators.AdversarialStage(small_config, options, {0: arrays})
    state = discriminators.vocoder_state(loop.train(stage, run, tmp_path))
    curves = plots.read_metrics(tmp_path / loop.METRICS)
    assert curves["mel"][-1][1] < 0.9 * curves["mel"][0][1]
    assert {"scales", "stft", "harmonics", "adversarial", "feature"} < set(curves)
    assert curves["judged"][0][0] == 15 and curves["judged"][-1][1] < 0.9 * curves["judged"][0][1], (
        "the judges come late and learn to tell"
    )
    made = vocoder.load_vocoder(small_config.vocoder, state)(torch.from_numpy(arrays["mel"]).float()[None])
    assert made.shape == (1, arrays["mel"].shape[1] * small_config.audio.hop_length) and made.abs().max() <= 1


def test_a_hum_at_the_frame_rate_is_far_in_its_harmonics():
    """86 Hz, the mel frame rate, instead of 125 Hz: what a short training falls into without this loss."""
    t = np.arange(8192) / 22_050
    voice, near, hum = (
        torch.from_numpy(sum(0.1 / k * np.sin(2 * np.pi * k * pitch * t) for k in range(1, 30)))[None].float()
        for pitch in (125, 127, 86.13)
    )
    far = vocoder.harmonics_loss(hum, voice, 22_050)
    assert vocoder.harmonics_loss(voice, voice, 22_050) == 0
    assert far > 2 and far > 2 * vocoder.harmonics_loss(near, voice, 22_050)
    assert vocoder.harmonics_loss(hum, torch.zeros_like(hum), 22_050).isfinite()


def test_each_side_of_an_adversarial_step_sees_the_other_as_constant(small_config):
    wave, made = torch.randn(2, 4000) * 0.1, (torch.randn(2, 4000) * 0.1).requires_grad_()
    judges = discriminators.Discriminators((8, 16), (4, 8))
    wanted = judges(wave)
    discriminators.discriminator_loss(wanted, judges(made.detach())).backward(retain_graph=True)
    assert made.grad is None and all(p.grad is not None for p in judges.parameters())
    judges.zero_grad()
    fixed = {name: p.detach() for name, p in judges.named_parameters()}
    judged = torch.func.functional_call(judges, fixed, (made,))
    (discriminators.adversarial_loss(judged) + discriminators.feature_loss(wanted, judged)).backward()
    assert made.grad.abs().sum() > 0 and all(p.grad is None or not p.grad.any() for p in judges.parameters())


@pytest.fixture
def samples(clips, speaker_of, rng):
    """Texts that spell the codes: one letter per run of four."""
    return [
        gpt.Sample(
            clip["codes"][::4].astype(np.int64) + 3,
            clip["codes"][: 4 * (index + 5)].astype(np.int64),
            speaker_of[index],
        )
        for index, clip in clips.items()
    ]


@pytest.fixture
def features(clips, speaker_of):
    return {
        name: [clip["features"] for index, clip in clips.items() if speaker_of[index] == name]
        for name in SPEAKERS
    }


GPT_OPTIONS = gpt.GPTOptions(
    batch_tokens=250,
    condition_frames=(20, 40),
    text_weight=0.1,
    code_noise=0.05,
    alignment_weight=0.2,
    short_tokens=40,
    short_until=5,
    seed=0,
)


def test_gpt_learns(small_config, samples, features, tmp_path):
    stage = gpt.GPTStage(small_config.gpt, 32, GPT_OPTIONS, samples, features)
    first, last, state = losses_of(stage, tmp_path)
    assert last < 0.8 * first
    curve = plots.read_metrics(tmp_path / loop.METRICS)["alignment"]
    assert curve[-1][1] < 0.9 * curve[0][1]
    gpt.load_gpt(small_config.gpt, 32, state)


def test_attention_in_order_and_to_every_token_is_best():
    def loss(attended: list[int], tokens: int = 4) -> float:
        """Of one head whose row i, of a code, attends to one token of the text."""
        batch = gpt.Sequences(torch.empty(0), 2, [tokens], [len(attended)])
        queries, keys = torch.zeros(2, 1, 1, batch.code_rows()[0][-1] + 1, 8)
        for token in range(tokens):
            keys[0, 0, batch.text_rows()[0][1 + token], token] = 30.0
        for row, token in zip(batch.code_rows()[0], attended, strict=False):
            queries[0, 0, row, token] = 1.0
        return float(gpt.alignment_loss(queries, keys, batch))

    inorder = loss([0, 0, 1, 1, 2, 3, 3])
    assert inorder < 0.01
    for wrong in ([0, 0, 1, 1, 3, 3, 3], [0, 1, 2, 3, 0, 1, 2], [3, 3, 2, 2, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0]):
        assert loss(wrong) > inorder + 0.5
    assert loss([0, 0]) == 0, "too short for its text: not counted"


def test_training_sequences_are_what_inference_runs(small_config, samples, features):
    """The teacher-forced hidden states of a batch equal those of the decoder's own latent pass, sample by sample."""
    stage = gpt.GPTStage(small_config.gpt, 32, GPT_OPTIONS, samples, features)
    model = stage.module.eval()
    chosen = [samples[0], samples[5]]
    condition = torch.from_numpy(np.stack([features[s.speaker][0][:30] for s in chosen])).float()
    with torch.inference_mode():
        latents, emotions = model.speaker_latents(condition), model.emotion_vector(condition)
        batch = gpt.build_sequences(model, chosen, [s.codes for s in chosen], latents, emotions)
        hidden = model.latents(batch.inputs)
        forced = gpt.teacher_forced(model, chosen, latents, emotions)
        for row, sample in enumerate(chosen):
            prompt = model.prompt_inputs(
                latents[row : row + 1], emotions[row : row + 1], torch.from_numpy(sample.ids)[None]
            )
            expected = latent_pass(model, prompt, torch.from_numpy(sample.codes))
            rows, text = batch.code_rows()[row], batch.text_rows()[row]
            torch.testing.assert_close(hidden[row, rows[:-1]], expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(forced[row], expected, rtol=1e-4, atol=1e-5)
            whole = torch.cat(
                [
                    prompt[0],
                    model.mel_inputs(
                        torch.tensor([small_config.gpt.start_mel_token, *sample.codes]),
                        torch.arange(len(sample.codes) + 1),
                    ),
                ]
            )
            torch.testing.assert_close(batch.inputs[row, : len(whole)], whole)
            assert (text[-1] + 2, rows[0]) == (prompt.shape[1], prompt.shape[1]), (
                "start token, ids; stop token; codes"
            )


def test_trained_gpt_decodes_and_stops(small_config, features, tmp_path, rng):
    """One text, learned by heart, comes back code by code."""
    sample = gpt.Sample(np.array([5, 9, 7]), np.array([1, 1, 4, 4, 4, 2]), "a")
    options = dataclasses.replace(GPT_OPTIONS, code_noise=0.0)
    stage = gpt.GPTStage(small_config.gpt, 32, options, [sample], features)
    state = loop.train(stage, dataclasses.replace(RUN, steps=60), tmp_path)
    model = gpt.load_gpt(small_config.gpt, 32, state)
    condition = torch.from_numpy(features["a"][0][:30]).float()[None]
    with torch.inference_mode():
        prompt = model.prompt_inputs(
            model.speaker_latents(condition), model.emotion_vector(condition), torch.tensor([[5, 9, 7]])
        )
    greedy = SamplingOptions(False, 1.0, 0, 1.0, 1, 1.0, 0.0, 20, "trained")
    decoded = decode(model, prompt, greedy, torch.Generator().manual_seed(0))
    assert decoded.stopped and decoded.codes.tolist() == sample.codes.tolist()


def test_clips_that_do_not_fit_the_gpt_are_counted(small_config, features):
    long = gpt.Sample(np.zeros(500, np.int64), np.zeros(4, np.int64), "a")
    with pytest.raises(ValueError, match="none of 1 clips fits the model"):
        gpt.GPTStage(small_config.gpt, 32, GPT_OPTIONS, [long], features)


@pytest.mark.parametrize("with_latents", (False, True))
def test_flow_learns(small_config, clips, speaker_of, rng, tmp_path, with_latents):
    options = s2mel.S2MelOptions(
        batch=4,
        crop_codes=(20, 40),
        reference_codes=(10, 20),
        drop_condition=0.1,
        drop_latents=0.2,
        time_sway=-1.0,
        seed=0,
    )
    if not with_latents:
        clips = {index: {k: v for k, v in clip.items() if k != "latents"} for index, clip in clips.items()}
    styles = {
        index: np.eye(16)[0 if name == "a" else 1].astype(np.float32) for index, name in speaker_of.items()
    }
    data = (clips, speaker_of, styles, torch.eye(16, 32))
    stage = s2mel.S2MelStage(small_config, options, *data)
    first, last, state = losses_of(
        stage, tmp_path, dataclasses.replace(RUN, steps=150, learning_rate=1e-3, log_every=25)
    )
    assert last < 0.9 * first
    s2mel.load_s2mel(small_config, state)


def test_targets_last_as_long_as_what_is_cut_from_them(small_config, clips, speaker_of):
    """Short clips are trained on as well, in the batches of short crops."""
    longest, shortest = 60, 20
    for index in range(4):
        frames = int(shortest * small_config.s2mel.regulator.frames_per_code)
        clips[index] |= {name: clips[index][name][:shortest] for name in ("codes", "latents")}
        clips[index] |= {"mel": clips[index]["mel"][:, :frames]}
    options = s2mel.S2MelOptions(4, (shortest, longest + 50), (5, 10), 0.1, 0.2, -1.0, seed=0)
    styles = {index: np.ones(16, np.float32) for index in clips}
    stage = s2mel.S2MelStage(small_config, options, clips, speaker_of, styles, torch.eye(16, 32))
    paths = [stage.draw(np.random.default_rng(i), torch.ones(4, 1, 1)) for i in range(30)]
    frames = {path.noisy.shape[-1] - path.prompt_frames for path in paths}
    assert len(frames) > 3 and max(frames) == int(longest * stage.frames_per_code)
    with pytest.raises(ValueError, match=f"no clip lasts {longest + 1} codes"):
        far = dataclasses.replace(options, crop_codes=(longest + 1, longest + 2))
        s2mel.S2MelStage(small_config, far, clips, speaker_of, styles, torch.eye(16, 32))


def test_guidance_is_taught_into_the_flow(small_config, clips, speaker_of, tmp_path):
    """The pupil's velocity comes to be the teacher's guided one, without a condition it stays the teacher's, and
    what is not trained stays."""
    options = s2mel.S2MelOptions(4, (20, 40), (10, 20), 0.25, 0.2, -1.0, 0)
    guided_s2mel = dataclasses.replace(small_config.s2mel, learned_guidance=1.0)
    small_config = dataclasses.replace(small_config, s2mel=guided_s2mel)
    styles = {index: np.eye(16)[index % 2].astype(np.float32) for index in clips}
    torch.manual_seed(0)
    teacher = {
        key: value + 0.1 * torch.randn_like(value)
        for key, value in s2mel.initialize(s2mel.S2Mel(small_config), 0).state_dict().items()
    }
    stage = s2mel.DistillationStage(
        small_config, options, clips, speaker_of, styles, torch.eye(16, 32), teacher
    )

    def far() -> float:
        torch.manual_seed(1000)
        rngs = (np.random.default_rng(1000 + i) for i in range(8))
        with torch.no_grad():
            return float(np.mean([stage.losses(rng, 0)["loss"].item() for rng in rngs]))

    untaught = far()
    assert untaught > 1e-3, "guidance must change something for this test to say anything"
    state = loop.train(
        stage, dataclasses.replace(RUN, steps=50, learning_rate=5e-4, final_learning_rate=1e-5), tmp_path
    )
    assert far() < 0.5 * untaught
    path = stage.draw(np.random.default_rng(5), torch.zeros(4, 1, 1))
    told = (path.noisy, path.t, path.prompt, path.condition, path.style)
    with torch.no_grad():
        pupil, wanted = stage.module.cfm.estimator(*told), stage.teacher(*told)
        guided = stage.teacher(*told[:2], *(torch.randn_like(x) for x in told[2:]))
    assert (pupil - wanted).square().mean() < 0.3 * (guided - wanted).square().mean()
    for key, value in state.items():
        assert key.startswith("cfm.") or torch.equal(value, teacher[key]), key


def test_a_clip_has_a_label_for_every_frame(small_config, tmp_path):
    """Of half a second of one phone and half a second of silence."""
    rate = small_config.reference.sample_rate
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(rate), rate)
    clip = data.Clip(tmp_path / "a.wav", "ah", "a", (("ɑ", 0.5), (PAD, 1.0)))
    arrays = semantic.input_arrays(semantic.make_extractor(small_config.semantic, rate), clip)
    frames = int(1 / (semantic.BANK_SECONDS * small_config.semantic.stride))
    assert len(arrays["bank"]) == len(arrays["phones"]) and abs(len(arrays["phones"]) - frames) <= 1
    voiced = arrays["phones"] == semantic.LABELS.index("ɑ")
    assert voiced.mean() == pytest.approx(0.5, abs=0.05) and voiced[0] and not voiced[-1]
