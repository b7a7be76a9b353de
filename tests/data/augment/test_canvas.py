"""Painting a canvas through a view in one step is the two-step picture, and boxes lie on their pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.data.augment.clips import coloured_box, empty_clip, rectangle_clip

from svit.data.augment import LabelledClip
from svit.data.augment.canvas import Part, paint_parts, view_labels
from svit.data.augment.geometry import draw_affine, mirror, scaling, translation
from svit.data.augment.mosaic import fill_mosaic, place_alone, place_in_quadrant
from svit.data.augment.opencv import cv2
from svit.data.augment.settings import AffineConfig

SIZE = (96, 160)


def smooth_clip(seed: int, size: tuple[int, int]) -> LabelledClip:
    """A picture without edges, so that one or two interpolations give nearly the same."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    picture = cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return replace(empty_clip(1, size), frames=[picture])


def two_step(parts: list[Part], view: np.ndarray, fill: int) -> np.ndarray:
    """The official way: resized clips pasted on a canvas of twice the size, which is warped as a whole."""
    canvas = np.full((2 * SIZE[0], 2 * SIZE[1], 3), fill, np.uint8)
    for part in parts:
        width, height = np.rint(np.diag(part.matrix)[:2] * (part.clip.width, part.clip.height)).astype(int)
        picture = cv2.resize(part.clip.frames[0], (width, height))
        left, top, right, bottom = part.window
        x, y = round(left - part.matrix[0, 2]), round(top - part.matrix[1, 2])
        canvas[top:bottom, left:right] = picture[y : y + bottom - top, x : x + right - left]
    centred = translation(-0.5, -0.5) @ view @ translation(0.5, 0.5)
    return cv2.warpAffine(canvas, centred[:2], (SIZE[1], SIZE[0]), borderValue=(fill,) * 3)


@pytest.mark.parametrize("seed", range(12))
def test_one_step_paints_what_two_steps_paint(seed: int):
    rng = np.random.default_rng(seed)
    sizes = [(108, 192), (90, 80), (60, 200), (96, 160)]
    clips = [smooth_clip(10 * seed + number, size) for number, size in enumerate(sizes)]
    view = draw_affine(AffineConfig(scale=(0.4, 1.5)), SIZE, rng)
    if seed % 2:
        view = mirror(SIZE[1]) @ view
    others = iter(clips[1:])
    parts = fill_mosaic(clips[0], lambda _rng: next(others), (150, 100), (view, SIZE), rng)
    frames = np.full((1, *SIZE, 3), 114, np.uint8)
    paint_parts(parts, view, frames, 114)
    expected = two_step(parts, view, 114)
    difference = np.abs(frames[0].astype(int) - expected).max(axis=-1)
    differs = (difference > 6).astype(np.uint8)
    assert np.median(difference) <= 1
    # Only pixels that a seam runs through may differ: there the two-step picture mixes the neighbours.
    assert differs.mean() < 0.03
    wide = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    assert wide.sum() == 0, "a difference wider than a seam"


@pytest.mark.parametrize("scale", [0.11, 0.24, 0.5, 0.9, 2.3])
def test_boxes_stay_on_their_pixels_at_any_scale(scale: float):
    clip = rectangle_clip(1, length=1, size=(400, 500), box=(120, 100, 320, 300))
    view = translation(3.3, 2.6) @ scaling(scale, scale)
    frames = np.full((1, 900, 1200, 3), 114, np.uint8)
    paint_parts([Part(clip, np.eye(3), (0, 0, 500, 400))], view, frames, 114)
    labels = view_labels([Part(clip, np.eye(3), (0, 0, 500, 400))], (400, 500), view, (900, 1200), None)
    assert coloured_box(frames[0], 1, 127) == pytest.approx(labels[0].boxes[0], abs=0.75)


def test_a_view_that_shrinks_averages_instead_of_skipping_pixels():
    stripes = np.zeros((160, 160, 3), np.uint8)
    stripes[:, ::8] = 255
    clip = replace(empty_clip(1, (160, 160)), frames=[stripes])
    frames = np.zeros((1, 20, 20, 3), np.uint8)
    paint_parts([Part(clip, np.eye(3), (0, 0, 160, 160))], scaling(1 / 8, 1 / 8), frames, 0)
    assert np.abs(frames.astype(int) - 255 // 8).max() <= 2


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_whole_picture_is_fitted_as_it_is_warped(mirrored: bool):
    clip = smooth_clip(3, (90, 130))
    part = place_alone(clip, SIZE)
    width, height = part.window[2:]
    flip = mirror(width) if mirrored else np.eye(3)
    fitted, warped = np.zeros((2, 1, *SIZE, 3), np.uint8)
    paint_parts([part], flip, fitted, 0)
    # A hair's breadth off, so that it is not a plain fit.
    paint_parts([part], translation(1e-4, 0) @ flip, warped, 0)
    assert np.abs(fitted.astype(int) - warped).max() <= 3
    assert (fitted[:, :, width:] == 0).all()
    expected = cv2.resize(clip.frames[0], (width, height))
    assert np.array_equal(fitted[0, :height, :width], expected[:, ::-1] if mirrored else expected)


def test_nothing_of_a_clip_shows_outside_its_window():
    clip = empty_clip(1, (100, 100))
    frames = np.zeros((1, 100, 100, 3), np.uint8)
    paint_parts([Part(clip, np.eye(3), (20, 30, 60, 70))], np.eye(3), frames, 0)
    assert (frames[0, 30:70, 20:60] == 255).all()
    assert frames.sum() == 255 * 3 * 40 * 40


def test_windows_outside_the_result_paint_nothing():
    frames = np.zeros((1, 50, 50, 3), np.uint8)
    paint_parts([Part(empty_clip(1), np.eye(3), (0, 0, 160, 120))], translation(50, 0), frames, 0)
    paint_parts([Part(empty_clip(1), np.eye(3), (0, 0, 160, 120))], translation(-160, 10), frames, 0)
    assert frames.sum() == 0


@pytest.mark.parametrize(
    ("quadrant", "window"),
    [(0, (60, 4, 220, 100)), (1, (220, 4, 320, 100)), (2, (60, 100, 220, 192)), (3, (220, 100, 320, 192))],
)
def test_quadrants_meet_in_the_centre_and_end_with_the_canvas(quadrant: int, window: tuple[int, ...]):
    part = place_in_quadrant(empty_clip(1, (48, 80)), quadrant, (220, 100), SIZE)
    assert part.window == window
    assert part.matrix[0, 0] == part.matrix[1, 1] == 2


def test_a_clip_alone_lies_at_the_top_left():
    part = place_alone(empty_clip(1, (48, 48)), SIZE)
    assert part.window == (0, 0, 96, 96)


def test_ids_of_different_clips_are_made_different_and_the_first_ones_stay():
    last = rectangle_clip(3)
    unknown = replace(last, ids=[np.array([-1])] * 3)
    clips = [rectangle_clip(0), rectangle_clip(0), last, unknown]
    parts = [Part(clip, np.eye(3), (0, 0, 160, 120)) for clip in clips]
    labels = view_labels(parts, (120, 160), np.eye(3), (120, 160), None)
    for frame in labels:
        assert frame.ids[0] == 10
        assert frame.ids[-1] == -1
        assert len(set(frame.ids.tolist())) == 4
        assert frame.ids.tolist() == labels[0].ids.tolist()
        assert frame.classes.tolist() == [0, 0, 3, 3]
    taken = view_labels(parts[:1], (120, 160), np.eye(3), (120, 160), None, above=labels)
    assert taken[0].ids[0] > max(labels[0].ids)


def test_what_lies_outside_the_canvas_is_dropped_even_if_the_view_would_show_it():
    clip = rectangle_clip(0, length=1)
    part = Part(clip, translation(-120, 0), (0, 0, 40, 120))
    view = translation(100, 0)
    assert len(view_labels([part], (120, 160), view, (120, 160), None)[0].boxes) == 0
    shown = Part(clip, translation(-90, 0), (0, 0, 70, 120))
    assert view_labels([shown], (120, 160), view, (120, 160), None)[0].boxes.tolist() == [[70, 40, 110, 80]]
    assert view_labels([shown], (120, 160), view, (120, 160), 0.0)[0].boxes.tolist() == [[100, 40, 110, 80]]
