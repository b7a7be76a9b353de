from __future__ import annotations

import numpy as np
import pytest

from svit.data.augment.colour import draw_colour, shift_colour
from svit.data.augment.opencv import cv2
from svit.data.augment.settings import ColourConfig


def frames_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, 9, 13, 3)).astype(np.uint8)


@pytest.mark.parametrize("shifts", [(5, 30, -30), (-5, -30, 30), (90, 0, 0), (0, 255, 0)])
def test_hue_wraps_and_saturation_and_value_stop_at_their_ends(shifts: tuple[int, int, int]):
    frames = frames_of(0)
    expected = []
    for frame in frames:
        hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV).astype(int) + shifts
        hsv = np.stack([hsv[..., 0] % 180, *np.moveaxis(hsv[..., 1:].clip(0, 255), -1, 0)], axis=-1)
        expected.append(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB))
    shift_colour(frames, np.array(shifts, np.int16))
    assert np.array_equal(frames, expected)


def test_value_up_makes_brighter_and_hue_turns_red_to_green():
    grey = np.full((1, 4, 4, 3), 100, np.uint8)
    shift_colour(grey, np.array([0, 0, 30], np.int16))
    assert (grey == 130).all()
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 255
    shift_colour(red, np.array([60, 0, 0], np.int16))
    assert (red == (0, 255, 0)).all()


def test_no_shift_changes_no_pixel():
    frames = frames_of(1)
    shift_colour(frames, np.zeros(3, np.int16))
    assert np.array_equal(frames, frames_of(1))


def test_a_part_of_a_picture_can_be_shifted():
    frames = frames_of(2)
    shift_colour(frames[:, :4, :5], np.array([5, 30, 30], np.int16))
    assert np.array_equal(frames[:, 4:], frames_of(2)[:, 4:])
    assert not np.array_equal(frames[:, :4, :5], frames_of(2)[:, :4, :5])


def test_draws_stay_in_range_and_leave_each_out_half_the_time():
    rng = np.random.default_rng(0)
    drawn = np.array([draw_colour(ColourConfig(hue=50, saturation=60, value=70), rng) for _ in range(600)])
    assert (np.abs(drawn) <= (50, 60, 70)).all()
    assert (np.abs(drawn).max(axis=0) > (45, 54, 63)).all()
    assert ((drawn == 0).mean(axis=0) > 0.4).all()
    assert ((drawn == 0).mean(axis=0) < 0.6).all()
