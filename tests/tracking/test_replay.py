"""`track_detections`: a video's boxes through the tracker, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv

from svit.errors import UsageError
from svit.tracking import ByteTracker, interpolate_tracks, track_detections

BOX = (10.0, 20.0, 50.0, 120.0)
FAR = (300.0, 20.0, 340.0, 120.0)


def row(frame: int, box: tuple[float, ...] = BOX, score: float = 0.9) -> tuple[float, ...]:
    return frame, -1, *box, score


def walk(frames: range, speed: float = 3.0, score: float = 0.9) -> list[tuple[float, ...]]:
    """One person who walks to the right."""
    left, top, right, bottom = BOX
    return [row(n, (left + speed * n, top, right + speed * n, bottom), score) for n in frames]


def test_it_is_what_the_tracker_says_frame_by_frame():
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 200, (300, 2))
    frames = generator.integers(1, 30, 300)
    rows = np.column_stack((frames, np.full(300, -1), corners, corners + 60, generator.uniform(size=300)))
    expected, tracker = [], ByteTracker(high=0.5)
    for frame in range(1, 31):
        seen = rows[rows[:, 0] == frame]
        found = tracker.update(sv.Detections(xyxy=seen[:, 2:6], confidence=seen[:, 6]))
        expected += [
            (frame, number, *box, score)
            for number, box, score in zip(found.tracker_id, found.xyxy, found.confidence, strict=True)
        ]
    assert len({row[1] for row in expected}) > 10
    np.testing.assert_array_equal(track_detections(rows, ByteTracker(high=0.5), 30), expected)


def test_one_person_is_one_track_with_the_boxes_that_were_given():
    rows = walk(range(1, 20))
    tracked = track_detections(rows, ByteTracker())
    np.testing.assert_array_equal(np.delete(tracked, 1, axis=1), np.delete(np.array(rows), 1, axis=1))
    assert set(tracked[:, 1]) == {0}


def test_rows_may_come_in_any_order():
    rows = np.array(walk(range(1, 20)) + [row(n, FAR) for n in range(1, 20)])
    shuffled = np.random.default_rng(0).permutation(rows)
    ours, expected = (track_detections(each, ByteTracker()) for each in (shuffled, rows))
    assert {tuple(each) for each in ours[:, [0, *range(2, 7)]]} == {
        tuple(each) for each in expected[:, [0, *range(2, 7)]]
    }
    assert np.all(np.diff(ours[:, 0]) >= 0)


def test_tracks_age_in_frames_without_detections():
    still = [row(n) for n in range(1, 6)]
    for gap, ids in ((30, {0}), (31, {0, 1})):
        tracked = track_detections([*still, row(5 + gap)], ByteTracker(retain=30))
        assert set(tracked[:, 1]) == ids, gap


def test_a_track_that_begins_later_needs_boxes_in_consecutive_frames():
    tracked = track_detections([row(1, FAR), row(3), row(5)], ByteTracker())
    assert tracked[:, 1].tolist() == [0, 1, 2]


def test_the_result_can_be_interpolated():
    rows = [each for each in walk(range(1, 20)) if each[0] not in (9, 10)]
    filled = interpolate_tracks(track_detections(rows, ByteTracker()))
    assert filled[:, 0].tolist() == list(range(1, 20))
    np.testing.assert_allclose(filled[:, 2:6], np.array(walk(range(1, 20)))[:, 2:6])


@pytest.mark.parametrize("frames", [None, 0, 7])
def test_no_detections_give_no_tracks(frames):
    assert track_detections([], ByteTracker(), frames).shape == (0, 7)


def test_input_is_not_changed():
    rows = np.array(walk(range(9, 0, -1)))
    before = rows.copy()
    track_detections(rows, ByteTracker())
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("frame", [0, -1, 1.5, float("nan"), float("inf"), 6])
def test_frames_outside_the_video_are_an_error(frame):
    with pytest.raises(UsageError, match="frames that are not whole numbers from 1 to 5"):
        track_detections([row(1), row(frame)], ByteTracker(), 5)


def test_rows_of_another_shape_are_an_error():
    with pytest.raises(UsageError, match=r"shape \(2, 6\), expected \(N, 7\)"):
        track_detections(np.ones((2, 6)), ByteTracker())
