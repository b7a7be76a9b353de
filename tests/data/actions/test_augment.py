"""Augmentation: one draw for all frames, and a function of the generator alone."""

from __future__ import annotations

import numpy as np
import pytest

from svit.data.actions import ActionAugmentConfig
from svit.data.actions.augment import augment_action_clip, draw_crop, erase, resize_crop
from svit.data.actions.randaugment import OPERATIONS, Operation, apply_operation, draw_operations
from svit.data.actions.settings import ErasingConfig, RandAugmentConfig

PLAIN = ActionAugmentConfig(
    size=32, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0, randaugment=None, erasing=None
)
FILL = (124, 116, 104)


def picture(seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)


def augment(frames, config, seed=0, may_mirror=True):
    return augment_action_clip(frames, config, may_mirror, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(20))
def test_equal_frames_stay_equal(seed):
    clip = augment([picture()] * 4, ActionAugmentConfig(size=32), seed)
    assert clip.frames.shape == (4, 32, 32, 3)
    assert clip.frames.dtype == np.uint8
    assert (clip.frames == clip.frames[0]).all()


def test_a_clip_depends_on_the_generator_alone():
    frames = [picture(seed) for seed in range(3)]
    one, same, other = (augment(frames, ActionAugmentConfig(size=32), seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.frames, same.frames)
    assert not np.array_equal(one.frames, other.frames)


def test_without_augmentation_the_largest_crop_is_resized():
    clip = augment([picture(height=48, width=48)], PLAIN)
    np.testing.assert_array_equal(
        clip.frames, resize_crop([picture(height=48, width=48)], (0, 0, 48, 48), 32)
    )


def test_nothing_is_mirrored_where_it_is_forbidden_and_all_else_stays():
    config = PLAIN.model_copy(update={"flip": 1.0})
    mirrored, not_mirrored = (augment([picture()], config, 3, allowed) for allowed in (True, False))
    assert (mirrored.mirrored, not_mirrored.mirrored) == (True, False)
    np.testing.assert_array_equal(mirrored.frames[:, :, ::-1], not_mirrored.frames)


def test_crops_have_the_area_and_shape_asked_for_and_lie_inside():
    config, rng = ActionAugmentConfig(scale=(0.2, 0.6), ratio=(0.5, 2.0)), np.random.default_rng(0)
    boxes = np.array([draw_crop(90, 160, config, rng) for _ in range(500)])
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 160
    assert boxes[:, 3].max() <= 90
    assert 0.19 < (wide * high / (90 * 160)).min() < (wide * high / (90 * 160)).max() < 0.61
    assert 0.48 < (wide / high).min() < 0.6
    assert 1.7 < (wide / high).max() < 2.1


@pytest.mark.parametrize(("height", "width"), [(1, 200), (200, 1), (1, 1), (3, 2)])
def test_a_crop_of_a_strange_picture_lies_inside_and_is_not_empty(height, width):
    for seed in range(20):
        left, top, right, bottom = draw_crop(
            height, width, ActionAugmentConfig(), np.random.default_rng(seed)
        )
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_erasing_puts_the_same_noise_in_all_frames():
    clip = np.stack([picture(seed) for seed in range(3)])
    erased = erase(clip, ErasingConfig(area=(0.1, 0.1)), np.random.default_rng(0))
    changed = (erased != clip).any(-1).any(0)
    assert 0.07 < changed.mean() < 0.13
    assert (erased[:, changed] == erased[:1, changed]).all()
    assert erased[0][changed].std() > 30


def test_operations_are_drawn_by_layers_probability_and_spread():
    rng = np.random.default_rng(0)
    drawn = [draw_operations(RandAugmentConfig(), rng) for _ in range(2000)]
    assert max(map(len, drawn)) == 4
    assert np.mean([len(each) for each in drawn]) == pytest.approx(2, abs=0.1)
    flat = [operation for each in drawn for operation in each]
    assert {operation.name for operation in flat} == set(OPERATIONS)
    magnitudes = [operation.magnitude for operation in flat]
    assert (np.mean(magnitudes), np.std(magnitudes)) == pytest.approx((7, 0.5), abs=0.05)


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"autocontrast", "equalize", "invert"}))
def test_an_operation_does_more_with_more_magnitude(name):
    clip = np.stack([picture(1), picture(2)])
    change = [
        np.abs(apply_operation(clip, Operation(name, m, 1), FILL).astype(int) - clip).mean() for m in (1, 9)
    ]
    assert 0 <= change[0] < change[1] or name == "posterize"
    assert apply_operation(clip, Operation(name, 5.0, 1), FILL).shape == clip.shape


@pytest.mark.parametrize(
    ("name", "magnitude", "sign", "check"),
    [
        ("invert", 7, 1, lambda old, new: (new == 255 - old).all()),
        ("brightness", 5, 1, lambda old, new: np.allclose(new, np.minimum(old * 1.45, 255), atol=1)),
        ("brightness", 5, -1, lambda old, new: np.allclose(new, old * 0.55, atol=1)),
        ("posterize", 7, 1, lambda old, new: (new == old & 0b11000000).all()),
        ("solarize", 5, 1, lambda old, new: (new == np.where(old < 128, old, 255 - old)).all()),
        ("solarize_add", 10, 1, lambda old, new: (new == np.where(old < 128, old + 110, old)).all()),
        ("translate_x", 10 * 16 / 64 / 0.45, 1, lambda old, new: (new[:, :, :48] == old[:, :, 16:]).all()),
        ("translate_y", 10 * 16 / 48 / 0.45, -1, lambda old, new: (new[:, 16:] == old[:, :32]).all()),
        ("translate_y", 10 * 16 / 48 / 0.45, -1, lambda old, new: (new[:, :16] == FILL).all()),
    ],
)
def test_operations_do_what_their_magnitude_says(name, magnitude, sign, check):
    clip = np.stack([picture(1), picture(2)])
    new = apply_operation(clip, Operation(name, magnitude, sign), FILL)
    assert check(clip.astype(int), new.astype(int))


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast"])
def test_a_clip_that_gets_brighter_still_does_after_it(name):
    clip = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (40, 80, 120, 160)])
    levels = apply_operation(clip, Operation(name, 9, 1), FILL).mean((1, 2, 3))
    assert (np.diff(levels) > 0).all()
