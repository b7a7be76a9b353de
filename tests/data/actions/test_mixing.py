"""Mixing of batches: frames and targets in the same shares, all frames alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from svit.data.actions import MixConfig
from svit.data.actions.mixing import draw_mix, mix_batch, soft_targets

LABELS = torch.tensor([0, 1, 2, 3])
FRAMES = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 3, 3, 20, 30)
"""Clip b is all b; its partner is clip 3 - b."""


def mixed(config, seed=0):
    return mix_batch(FRAMES, LABELS, 5, config, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(12))
def test_targets_have_the_shares_of_the_frames(seed):
    frames, targets = mixed(MixConfig(smoothing=0), seed)
    assert frames.shape == FRAMES.shape
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    for clip in range(4):
        share = targets[clip, clip]
        assert targets[clip, 3 - clip] == pytest.approx(1 - float(share))
        wanted = share * clip + (1 - share) * (3 - clip)
        torch.testing.assert_close(frames[clip].mean(), wanted, atol=1e-4, rtol=1e-4)


def test_all_frames_of_a_clip_are_mixed_alike():
    for seed in range(6):
        frames, _ = mixed(MixConfig(), seed)
        assert (frames == frames[:, :1]).all()


def test_mixup_and_cutmix_take_turns_by_their_share():
    rng = np.random.default_rng(0)
    drawn = [draw_mix(MixConfig(switch=0.3), 20, 30, rng) for _ in range(1000)]
    assert np.mean([mix.box is not None for mix in drawn]) == pytest.approx(0.3, abs=0.05)
    assert all(draw_mix(MixConfig(cutmix=0), 20, 30, rng).box is None for _ in range(50))
    assert all(draw_mix(MixConfig(mixup=0), 20, 30, rng).box is not None for _ in range(50))


def test_cutmix_shows_whole_pixels_of_one_or_the_other():
    frames, targets = mixed(MixConfig(mixup=0, smoothing=0))
    assert set(frames[0].unique().tolist()) <= {0.0, 3.0}
    assert (frames[0] == 0).float().mean() == pytest.approx(float(targets[0, 0]))


def test_switched_off_it_only_smooths():
    frames, targets = mixed(MixConfig(mixup=0, cutmix=0, smoothing=0.1))
    torch.testing.assert_close(frames, FRAMES)
    torch.testing.assert_close(targets[1], torch.tensor([0.02, 0.92, 0.02, 0.02, 0.02]))
    assert (mixed(MixConfig(probability=0))[0] == FRAMES).all()


def test_a_mix_depends_on_the_generator_alone():
    one, same, other = (mixed(MixConfig(), seed)[1] for seed in (1, 1, 2))
    torch.testing.assert_close(one, same)
    assert not torch.equal(one, other)


def test_a_clip_without_a_label_has_no_target():
    targets = soft_targets(torch.tensor([-1, 2]), 3, 0.1)
    assert (targets[0] == 0).all()
    assert targets[1].sum() == pytest.approx(1)
