from __future__ import annotations

import numpy as np
import pytest

from svit.data.augment import FrameLabels
from svit.data.augment.geometry import (
    about,
    corners,
    draw_affine,
    fit_scale,
    labels_within,
    meets,
    mirror,
    scaling,
    transform_boxes,
    translation,
)
from svit.data.augment.settings import AffineConfig


def boxes_of(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def labels_of(*rows: tuple[float, ...]) -> FrameLabels:
    boxes = boxes_of(*rows)
    return FrameLabels(boxes, np.arange(len(boxes)), np.zeros(len(boxes), np.int64), boxes)


def test_boxes_follow_simple_maps():
    box = boxes_of((10, 20, 30, 60))
    assert transform_boxes(box, translation(5, -5)).tolist() == [[15, 15, 35, 55]]
    assert transform_boxes(box, scaling(2, 0.5)).tolist() == [[20, 10, 60, 30]]
    assert transform_boxes(box, mirror(100)).tolist() == [[70, 20, 90, 60]]
    assert transform_boxes(box, about(scaling(2, 2), 20, 40)).tolist() == [[0, 0, 40, 80]]


def test_a_turned_box_is_the_upright_one_around_it():
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float)
    assert transform_boxes(boxes_of((10, 20, 30, 60)), quarter).tolist() == [[-60, 10, -20, 30]]
    eighth = AffineConfig(scale=(1, 1), max_rotation=45, max_shear=0, max_translation=0)
    matrix = draw_affine(eighth, (100, 100), np.random.default_rng(0))
    box = transform_boxes(boxes_of((-10, -10, 10, 10)), matrix)[0]
    expected = 10 * (abs(matrix[0, 0]) + abs(matrix[0, 1]))
    assert box == pytest.approx([-expected, -expected, expected, expected], rel=1e-5)


def test_no_boxes_stay_no_boxes():
    assert transform_boxes(boxes_of(), scaling(2, 2)).shape == (0, 4)
    assert len(labels_within(labels_of(), (50, 50), 0.0, 1).boxes) == 0


def test_affine_draws_keep_to_their_ranges():
    config = AffineConfig(scale=(0.5, 0.8), max_rotation=5, max_shear=0, max_translation=0.1)
    rng = np.random.default_rng(0)
    for _ in range(200):
        matrix = draw_affine(config, (100, 200), rng)
        scale = np.sqrt(np.linalg.det(matrix[:2, :2]))
        assert 0.5 <= scale <= 0.8
        assert abs(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))) <= 5
        assert abs(matrix[0, 2]) <= 20
        assert abs(matrix[1, 2]) <= 10


def test_affine_without_ranges_is_the_identity():
    config = AffineConfig(scale=(1, 1), max_rotation=0, max_shear=0, max_translation=0)
    assert draw_affine(config, (100, 200), np.random.default_rng(0)) == pytest.approx(np.eye(3))


def test_fit_keeps_the_ratio_and_whole_pixels():
    across, down, size = fit_scale((1080, 1920), (800, 1440))
    assert size == (800, 1422)
    assert (across, down) == pytest.approx((1422 / 1920, 800 / 1080))
    assert fit_scale((360, 480), (800, 1440))[2] == (800, 1066)
    assert fit_scale((100, 1000), (800, 1440))[2] == (144, 1440)


def test_boxes_outside_or_too_small_are_dropped_and_others_reach_beyond():
    labels = labels_of(
        (-20, 10, -5, 30),  # outside left
        (-5, 10, 5, 30),  # across the border
        (100, 10, 120, 30),  # begins where the picture ends
        (10, 45, 20, 80),  # reaches below
        (30, 10, 31, 30),  # as wide as the limit
        (30, 10, 31.5, 30),
    )
    kept = labels_within(labels, (50, 100), cut=None, min_box=1)
    assert kept.ids.tolist() == [1, 3, 5]
    assert kept.boxes[0].tolist() == [-5, 10, 5, 30]
    assert len(kept.ignore) == 3


def test_boxes_are_cut_at_the_border_on_request():
    kept = labels_within(labels_of((-5, 10, 5, 30), (10, 45, 20, 80), (-5, -5, 0.5, 9)), (50, 100), 0.0, 1)
    assert kept.ids.tolist() == [0, 1]
    assert kept.boxes.tolist() == [[0, 10, 5, 30], [10, 45, 20, 50]]
    assert kept.ignore.tolist() == kept.boxes.tolist()
    assert kept.boxes.dtype == np.float32


def test_meets_agrees_with_painted_pixels():
    rng = np.random.default_rng(3)
    config = AffineConfig(scale=(0.2, 2), max_rotation=40, max_shear=10, max_translation=1)
    grid = np.stack(np.meshgrid(np.arange(0, 40, 0.25), np.arange(0, 30, 0.25)), axis=-1).reshape(-1, 2)
    seen = []
    for _ in range(300):
        matrix = draw_affine(config, (30, 40), rng)
        back = (grid - matrix[:2, 2]) @ np.linalg.inv(matrix[:2, :2]).T
        truth = ((back > (10, 20)) & (back < (50, 35))).all(axis=1).any()
        assert meets(corners(10, 20, 50, 35), matrix, (30, 40)) or not truth
        seen.append((bool(truth), meets(corners(10, 20, 50, 35), matrix, (30, 40))))
    # The grid misses a sliver now and then, no more.
    assert sum(truth != answer for truth, answer in seen) <= 6
    assert 50 < sum(truth for truth, _ in seen) < 250


def test_a_box_of_which_too_little_is_left_is_ignored() -> None:
    kept = labels_within(labels_of((-30, 10, 10, 30), (-5, 40, 15, 48)), (50, 100), 0.5)
    np.testing.assert_allclose(kept.boxes, [[0, 40, 15, 48]])
    np.testing.assert_allclose(kept.ignore[-1], [0, 10, 10, 30])
    assert len(kept.ignore) == 2 + 1  # those that were there, cut too
    assert len(kept.ids) == len(kept.classes) == 1
