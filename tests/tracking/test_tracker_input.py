"""Detections that no tracker can use: a live stream goes on, a mistake in the program is named."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import supervision as sv

from svit.errors import UsageError
from svit.tracking import ByteTracker

GOOD = [100, 100, 150, 200]


def detections(boxes: npt.ArrayLike, scores: npt.ArrayLike, **fields: Any) -> sv.Detections:
    xyxy = np.array(boxes, np.float64).reshape(-1, 4)
    made = sv.Detections(xyxy=np.zeros_like(xyxy), confidence=np.array(scores, np.float64), **fields)
    made.xyxy = xyxy  # set later, as a program may: some versions of supervision check it when it is made
    return made


UNUSABLE = {
    "nan": [np.nan, 100, 150, 200],
    "infinite": [100, 100, np.inf, 200],
    "minus_infinite": [-np.inf, 100, 150, 200],
    "infinite_in_single_precision": [0, 0, 1e60, 200],
    "far_beyond_any_picture": [0, 0, 1e30, 1e30],
    "inverted_x": [150, 100, 100, 200],
    "inverted_y": [100, 200, 150, 100],
    "no_width": [100, 100, 100, 200],
    "no_height": [100, 100, 150, 100],
}


@pytest.mark.parametrize("box", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_box_is_left_out_and_the_others_are_tracked(box: list[float]) -> None:
    tracker = ByteTracker()
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            tracked = tracker.update(detections([box, GOOD], [0.9, 0.9]))
        assert tracked.xyxy.tolist() == [GOOD]
        assert tracked.tracker_id is not None
        assert tracked.tracker_id.tolist() == [0]
    assert np.isfinite(tracker.snapshot().means).all()


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_left_out(score: float) -> None:
    with pytest.warns(UserWarning, match="left out 1 "):
        tracked = ByteTracker().update(detections([GOOD, [400, 100, 450, 200]], [score, 0.9]))
    assert tracked.xyxy.tolist() == [[400, 100, 450, 200]]


def test_each_tracker_warns_once() -> None:
    bad = detections([UNUSABLE["nan"]], [0.9])
    for tracker in (ByteTracker(), ByteTracker()):
        with pytest.warns(UserWarning, match="left out 1 ") as caught:
            tracker.update(bad)
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tracker.update(bad)


def test_usable_detections_cause_no_warning() -> None:
    tracker = ByteTracker()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for frame in range(5):
            tracked = tracker.update(
                detections([GOOD, [-30, -20, 10, 40]], [0.9, 0.8]), frame_index=3 * frame
            )
            assert len(tracked) == 2


def test_boxes_across_the_edge_of_the_picture_are_tracked() -> None:
    tracker = ByteTracker()
    box = [-30.0, -20.0, 10.0, 40.0]
    tracker.update(detections([box], [0.9]))
    tracked = tracker.update(detections([box], [0.9]))
    assert tracked.xyxy.tolist() == [box]


def test_extreme_but_valid_boxes_never_break_the_numbers() -> None:
    rng = np.random.default_rng(0)
    tracker = ByteTracker()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(50):
            size = 10.0 ** rng.uniform(-6, 8, (20, 2))
            corner = rng.uniform(-1e6, 1e6, (20, 2)).round() * (size > 1)
            tracker.update(detections(np.hstack((corner, corner + size)), rng.random(20)))
    snapshot = tracker.snapshot()
    assert np.isfinite(snapshot.means).all()
    assert np.isfinite(snapshot.covariances).all()


def test_no_confidence_is_an_error_of_one_line() -> None:
    with pytest.raises(UsageError, match=r"no confidence; set detections\.confidence") as error:
        ByteTracker().update(sv.Detections(xyxy=np.array([GOOD], float)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "nothing",
    [
        sv.Detections.empty(),
        sv.Detections(xyxy=np.empty((0, 4))),
        detections([], [], class_id=np.empty(0, int)),
    ],
    ids=["empty", "without_fields", "with_fields"],
)
def test_a_frame_without_detections_gives_no_tracks(nothing: sv.Detections) -> None:
    tracker = ByteTracker()
    for before in (nothing, detections([GOOD], [0.9])):
        tracker.update(before)
        tracked = tracker.update(nothing)
        assert len(tracked) == 0
        assert tracked.tracker_id is not None
        assert tracked.tracker_id.shape == (0,)


def test_nothing_is_predicted_in_a_frame_without_detections() -> None:
    tracker = ByteTracker()
    for step in range(4):
        tracker.update(detections([[100 + 10 * step, 100, 150 + 10 * step, 200]], [0.9]))
    before = tracker.snapshot()
    tracker.update(sv.Detections.empty())
    np.testing.assert_array_equal(tracker.snapshot().means, before.means)
    tracker.update(detections([[900, 900, 950, 990]], [0.2]))
    assert (tracker.snapshot().means[:, 0] > before.means[:, 0]).all()


@pytest.mark.parametrize("index", [-1, 3, 2])
def test_frames_must_come_in_order(index: int) -> None:
    tracker = ByteTracker()
    tracker.update(sv.Detections.empty(), frame_index=3)
    with pytest.raises(UsageError, match="does not come after 3"):
        tracker.update(sv.Detections.empty(), frame_index=index)
    assert tracker.snapshot().frame_index == 3


@pytest.mark.parametrize("index", [1.5, "2"])
def test_a_frame_index_is_a_whole_number(index: Any) -> None:
    with pytest.raises(UsageError, match="expected a whole number"):
        ByteTracker().update(sv.Detections.empty(), frame_index=index)
