from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.data.augment.clips import rectangle_clip

from svit.data.augment.settings import StillConfig
from svit.data.augment.stills import draw_motion, still_to_clip


def test_the_picture_is_not_copied():
    still = rectangle_clip(length=1)
    clip = still_to_clip(still, 8, StillConfig(), np.random.default_rng(0))
    assert len(clip) == 8
    assert all(frame is clip.frames[0] for frame in clip.frames)
    assert clip.motion.shape == (8, 3, 3)


def test_people_of_unknown_id_get_one_each_for_the_whole_clip():
    boxes = np.array([[0, 0, 5, 9], [10, 0, 15, 9], [20, 0, 25, 9]], np.float32)
    labels = {"ids": [np.array([-1, 7, -1])], "classes": [np.zeros(3, int)], "ignore": [boxes]}
    still = replace(rectangle_clip(length=1), boxes=[boxes], **labels)
    clip = still_to_clip(still, 3, StillConfig(), np.random.default_rng(0))
    assert [ids.tolist() for ids in clip.ids] == [[8, 7, 9]] * 3


def test_motion_is_slow_smooth_and_never_the_same():
    config = StillConfig(drift=0.02, zoom=0.03, unrest=0.3)
    rng = np.random.default_rng(0)
    first_shifts = []
    for _ in range(50):
        motion = draw_motion(100, 200, 8, config, rng)
        zoom = motion[:, 0, 0]
        centre = (motion @ (100, 50, 1))[:, :2] - (100, 50)
        shifts = np.diff(centre, axis=0)
        assert (np.abs(shifts) <= (0.02 * 200 + 1e-9, 0.02 * 100 + 1e-9)).all()
        assert (np.abs(np.diff(np.log(zoom))) <= np.log(1.03) + 1e-9).all()
        assert (np.abs(np.diff(shifts, axis=0)) <= (0.3 * 8, 0.3 * 4)).all(), "a jerk"
        assert motion[4] == pytest.approx(np.eye(3))
        assert (motion[:, 0, 1] == 0).all(), "boxes stay upright"
        first_shifts.append(shifts[0])
    assert np.std(first_shifts, axis=0).min() > 0.5


def test_without_unrest_the_camera_keeps_its_course():
    motion = draw_motion(100, 200, 6, StillConfig(zoom=0, unrest=0), np.random.default_rng(1))
    steps = np.diff(motion[:, :2, 2], axis=0)
    assert steps == pytest.approx(np.tile(steps[0], (5, 1)))
    assert np.abs(steps).max() > 0


def test_a_still_of_several_frames_is_refused():
    with pytest.raises(ValueError, match="from a still of 3"):
        still_to_clip(rectangle_clip(length=3), 2, StillConfig(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="0 frames"):
        still_to_clip(rectangle_clip(length=1), 0, StillConfig(), np.random.default_rng(0))
