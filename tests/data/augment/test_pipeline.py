"""Boxes, ids and pixels stay together through the whole augmentation, and a clip stays a clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.data.augment.clips import coloured_box, empty_clip, loader, rectangle_clip

from svit.data.augment import AugmentConfig, LabelledClip
from svit.data.augment.pipeline import augment_clip
from svit.data.augment.settings import AffineConfig, ColourConfig, MixupConfig, StillConfig
from svit.data.augment.stills import still_to_clip

GREY = ColourConfig(hue=0, saturation=0, value=0)
AFFINE = AffineConfig(scale=(0.5, 1.5), max_rotation=10, max_shear=2, max_translation=0.1)
STILL = AffineConfig(scale=(1, 1), max_rotation=0, max_shear=0, max_translation=0)
SMALL = {"height": 192, "width": 320, "colour": GREY}
# So near the middle that the canvas cuts no rectangle off.
NEAR = {**SMALL, "mosaic_centre": (0.85, 1.15)}
ONLY_MOSAIC = {**NEAR, "mixup": MixupConfig(probability=0), "flip": 0}

CONFIGS = {
    "mosaic": AugmentConfig(**ONLY_MOSAIC, affine=STILL),
    "mosaic, affine": AugmentConfig(**ONLY_MOSAIC, affine=AFFINE),
    "mixup": AugmentConfig(**NEAR, affine=STILL, flip=0),
    "flip": AugmentConfig(**SMALL, mosaic=0, flip=1),
    "fit": AugmentConfig(**SMALL, mosaic=0, flip=0),
    "alone, affine": AugmentConfig(**SMALL, mosaic=0, alone=AFFINE),
    "all": AugmentConfig(**NEAR, affine=AFFINE),
    "official": AugmentConfig(**SMALL),
    "clipped": AugmentConfig(**NEAR, affine=AFFINE, clip_boxes=True),
}


def augment(config: AugmentConfig, seed: int, step: int = 4) -> LabelledClip:
    """A clip of three frames with a rectangle, joined with others of other colours."""
    return augment_clip(config, loader(step=step), rectangle_clip(step=step), np.random.default_rng(seed))


def visible_pairs(clip: LabelledClip) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Boxes that lie well inside a frame and apart from all others, with where their pixels are."""
    size = np.array([clip.width, clip.height])
    for number, frame in enumerate(clip.frames):
        boxes = clip.boxes[number]
        for index, (box, kind) in enumerate(zip(boxes, clip.classes[number], strict=True)):
            others = np.delete(boxes, index, axis=0)
            apart = ((box[2:] + 9 < others[:, :2]) | (others[:, 2:] + 9 < box[:2])).any(axis=1).all()
            if not apart or min(box[:2]) < 3 or (box[2:] > size - 3).any() or min(box[2:] - box[:2]) < 6:
                continue
            if (pixels := coloured_box(frame, int(kind))) is not None:
                yield box, pixels


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "official"])
def test_boxes_lie_on_their_pixels_in_every_frame(name: str):
    errors = []
    for seed in range(20):
        clip = augment(CONFIGS[name], seed)
        assert clip.frames.shape == (3, 192, 320, 3)
        errors += [np.abs(box - pixels).max() for box, pixels in visible_pairs(clip)]
    assert len(errors) >= 15, "hardly a box to compare"
    assert max(errors) < 2
    assert np.median(errors) < 1


def test_boxes_lie_on_their_pixels_with_the_official_settings():
    clips = [augment(CONFIGS["official"], seed) for seed in range(40)]
    errors = [np.abs(box - pixels).max() for clip in clips for box, pixels in visible_pairs(clip)]
    assert len(errors) >= 60
    # Boxes are not cut where the mosaic's canvas cuts their rectangle (official).
    assert np.mean(np.array(errors) < 2) > 0.8


@pytest.mark.parametrize("name", ["mosaic, affine", "mixup", "alone, affine", "all", "official"])
def test_a_clip_that_stands_still_stays_still(name: str):
    config = CONFIGS[name].model_copy(update={"colour": ColourConfig()})
    for seed in range(10):
        clip = augment(config, seed, step=0)
        for number in range(1, len(clip)):
            assert np.array_equal(clip.frames[number], clip.frames[0])
            for first, later in zip(clip.labels(0), clip.labels(number), strict=True):
                assert np.array_equal(first, later)


def test_ids_stay_with_their_rectangles_and_never_collide():
    for seed in range(20):
        clip = augment(CONFIGS["all"], seed)
        owners: dict[int, int] = {}
        for ids, classes in zip(clip.ids, clip.classes, strict=True):
            assert len(set(ids.tolist())) == len(ids)
            for identity, kind in zip(ids.tolist(), classes.tolist(), strict=True):
                assert owners.setdefault(identity, kind) == kind
        assert owners.get(10, 0) == 0, "the clip's own ids stay"
        assert len(set(owners.values())) == len(owners)


def test_the_same_seed_gives_the_same_sample_and_another_seed_another():
    config = AugmentConfig(height=192, width=320)
    first, again, other = (augment(config, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(first.frames, other.frames)
    for number in range(3):
        pairs = zip(first.labels(number), again.labels(number), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("length", [1, 2, 4, 8])
def test_clips_of_any_length(length: int):
    clip = augment_clip(
        CONFIGS["all"], loader(length), rectangle_clip(length=length), np.random.default_rng(1)
    )
    assert len(clip) == len(clip.frames) == length


def test_the_clip_and_the_loaded_ones_are_left_as_they_are():
    given = [rectangle_clip(kind) for kind in range(5)]
    copies = [(clip.frames.copy(), [box.copy() for box in clip.boxes], list(clip.ids)) for clip in given]
    for seed in range(5):
        augment_clip(
            AugmentConfig(height=192, width=320),
            lambda rng: given[rng.integers(5)],
            given[0],
            np.random.default_rng(seed),
        )
    for clip, (frames, boxes, ids) in zip(given, copies, strict=True):
        assert np.array_equal(clip.frames, frames)
        assert all(map(np.array_equal, clip.boxes, boxes))
        assert all(map(np.array_equal, clip.ids, ids))


def test_clips_without_anybody_pass_through_everything():
    for name in CONFIGS:
        clip = augment_clip(CONFIGS[name], lambda _rng: empty_clip(), empty_clip(), np.random.default_rng(0))
        assert [len(boxes) for boxes in clip.boxes] == [0, 0, 0]


def test_mixup_leaves_out_a_clip_without_a_box():
    config = AugmentConfig(**SMALL, affine=STILL, mosaic_centre=(1, 1), flip=0)
    alone = augment_clip(
        config, lambda _rng: empty_clip(), rectangle_clip(size=(192, 320)), np.random.default_rng(0)
    )
    assert coloured_box(alone.frames[0], 0, 250) is not None, "not blended with grey"


def test_ignore_regions_go_where_their_boxes_go():
    upright = AugmentConfig(**SMALL, affine=AffineConfig(scale=(0.5, 1.5), max_rotation=0, max_shear=0))
    seen = 0
    for seed in range(10):
        clip = augment(upright, seed)
        for boxes, ignore in zip(clip.boxes, clip.ignore, strict=True):
            if len(boxes) == len(ignore):
                seen += len(boxes)
                sides = boxes[:, 2:] - boxes[:, :2]
                # In the source each lies one pixel up and left of its box of 40 x 40.
                assert np.abs(np.abs(ignore - boxes) - np.tile(sides / 40, 2)).max() < 1e-2
    assert seen > 20


def test_boxes_may_reach_beyond_the_picture_unless_clipping_is_asked_for():
    reach = {False: 0, True: 0}
    for clip_boxes in reach:
        config = AugmentConfig(**SMALL, affine=AFFINE, clip_boxes=clip_boxes)
        for seed in range(40):
            clip = augment(config, seed)
            boxes = np.concatenate(clip.boxes)
            beyond = (boxes < 0) | (boxes > (320, 192, 320, 192))
            reach[clip_boxes] += int(beyond.any(axis=1).sum())
            assert ((boxes[:, :2] < (320, 192)) & (boxes[:, 2:] > 0)).all(), "a box wholly outside"
    assert reach[True] == 0
    assert reach[False] > 20


def test_tiny_boxes_are_dropped():
    rows = np.array([[10, 10, 14, 40], [50, 50, 60, 90]], np.float32)
    clip = empty_clip(2, (400, 800))
    labels = {"boxes": [rows] * 2, "ids": [np.array([1, 2])] * 2, "classes": [np.zeros(2, int)] * 2}
    config = AugmentConfig(height=96, width=192, mosaic=0, flip=0, min_box=1)
    kept = augment_clip(config, loader(), replace(clip, **labels), np.random.default_rng(0))
    assert [ids.tolist() for ids in kept.ids] == [[2], [2]]


def test_a_clip_alone_is_fitted_and_padded_with_what_normalisation_makes_zero():
    config = AugmentConfig(height=192, width=320, mosaic=0, flip=0.5)
    for seed in range(8):
        clip = augment(config, seed)
        assert (clip.frames[:, :, 256:] == (124, 116, 104)).all()
        assert not (clip.frames[:, :, :256] == (124, 116, 104)).all(axis=-1).any()


def test_without_mixing_no_clip_is_joined_with_others():
    def refuse(_rng: np.random.Generator) -> LabelledClip:
        raise AssertionError("a clip that stays alone loads no other")

    config = AugmentConfig(**SMALL).without_mixing()
    for seed in range(10):
        assert len(augment_clip(config, refuse, rectangle_clip(), np.random.default_rng(seed))) == 3


def test_clips_that_would_not_be_seen_are_not_loaded():
    calls = []

    def load(_rng: np.random.Generator) -> LabelledClip:
        calls.append(1)
        return rectangle_clip()

    def shown_at(scale: float) -> AugmentConfig:
        affine = STILL.model_copy(update={"scale": (scale, scale)})
        values = {**SMALL, "affine": affine, "mosaic_centre": (1, 1.5), "mixup": MixupConfig(probability=0)}
        return AugmentConfig(**values)

    augment_clip(shown_at(2), load, rectangle_clip(), np.random.default_rng(0))
    assert calls == []
    augment_clip(shown_at(0.4), load, rectangle_clip(), np.random.default_rng(0))
    assert len(calls) == 3


def test_clips_of_another_length_are_refused():
    with pytest.raises(ValueError, match="2 frames cannot be joined with one of 3"):
        augment_clip(CONFIGS["all"], loader(length=2), rectangle_clip(), np.random.default_rng(0))


def test_a_still_comes_out_moving_with_its_boxes_on_its_pixels():
    config, motion = AugmentConfig(**SMALL, mosaic=0, flip=0.5), StillConfig(drift=0.05, zoom=0.05)
    errors, moved = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        still = still_to_clip(rectangle_clip(length=1), 4, motion, rng)
        clip = augment_clip(config, loader(4), still, rng)
        assert clip.motion is None
        errors += [np.abs(box - pixels).max() for box, pixels in visible_pairs(clip)]
        moved.append(np.abs(clip.boxes[0] - clip.boxes[-1]).max())
        assert all(ids.tolist() == clip.ids[0].tolist() for ids in clip.ids)
    assert len(errors) > 70
    assert max(errors) < 1.5
    assert np.median(moved) > 5


def test_a_still_moves_inside_a_mosaic_too():
    config = CONFIGS["mosaic, affine"].model_copy(update={"flip": 0.5})
    errors = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kinds = iter((1, 2, 3))

        def load(rng: np.random.Generator, kinds: Iterator[int] = kinds) -> LabelledClip:
            return still_to_clip(rectangle_clip(next(kinds), length=1), 3, StillConfig(), rng)

        clip = augment_clip(config, load, still_to_clip(rectangle_clip(length=1), 3, StillConfig(), rng), rng)
        assert not np.array_equal(clip.frames[0], clip.frames[2])
        errors += [np.abs(box - pixels).max() for box, pixels in visible_pairs(clip)]
    assert len(errors) > 20
    assert max(errors) < 2
