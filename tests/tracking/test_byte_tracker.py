"""What the tracker promises about ids, confirmation, classes, loss and memory."""

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import supervision as sv

from svit.errors import UsageError
from svit.tracking import ByteTracker

LEFT, RIGHT = (100, 100, 150, 200), (400, 100, 450, 200)


def seen(*boxes: Sequence[float], score: float = 0.9, classes: Sequence[int] | None = None) -> sv.Detections:
    return sv.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        confidence=np.full(len(boxes), score, np.float32),
        class_id=None if classes is None else np.array(classes),
    )


def ids(tracked: sv.Detections) -> list[int]:
    assert tracked.tracker_id is not None
    return tracked.tracker_id.tolist()


def shifted(box: Sequence[float], x: float) -> tuple[float, ...]:
    return (box[0] + x, box[1], box[2] + x, box[3])


def test_moving_objects_keep_their_ids_whatever_the_order_of_the_detections() -> None:
    tracker = ByteTracker()
    assert ids(tracker.update(seen(LEFT, RIGHT))) == [0, 1]
    for step in range(1, 60):
        tracked = tracker.update(seen(shifted(RIGHT, -4 * step), shifted(LEFT, 4 * step)))
        assert ids(tracked) == [1, 0]


def test_ids_count_from_zero_in_every_tracker() -> None:
    first, second = ByteTracker(), ByteTracker()
    assert ids(first.update(seen(LEFT, RIGHT))) == [0, 1]
    assert ids(second.update(seen(RIGHT))) == [0]
    assert ids(first.update(seen(LEFT, RIGHT, (700, 100, 750, 200)))) == [0, 1, 2]


def test_objects_of_the_first_frame_survive_a_miss() -> None:
    tracker = ByteTracker()
    tracker.update(seen(LEFT, RIGHT))
    tracker.update(seen(LEFT))
    assert ids(tracker.update(seen(LEFT, RIGHT))) == [0, 1]


def test_a_later_object_ends_at_its_first_miss_until_it_has_three_boxes() -> None:
    tracker = ByteTracker()
    tracker.update(seen(LEFT))
    for boxes in ((LEFT, RIGHT), (LEFT, RIGHT), (LEFT,)):
        tracker.update(seen(*boxes))
    assert tracker.snapshot().ids.tolist() == [0]
    for boxes in ((LEFT, RIGHT), (LEFT, RIGHT), (LEFT, RIGHT), (LEFT,)):
        tracker.update(seen(*boxes))
    assert tracker.snapshot().ids.tolist() == [0, 2]
    assert ids(tracker.update(seen(LEFT, RIGHT))) == [0, 2]


def test_one_box_is_enough_where_the_settings_say_so() -> None:
    tracker = ByteTracker(tentative_frames=1)
    tracker.update(seen(LEFT))
    for boxes in ((LEFT, RIGHT), (LEFT,)):
        tracker.update(seen(*boxes))
    assert ids(tracker.update(seen(LEFT, RIGHT))) == [0, 1]


def test_a_tentative_track_can_stay_unreported_until_it_is_confirmed() -> None:
    tracker = ByteTracker(tentative_frames=2, report_tentative=False)
    assert ids(tracker.update(seen(LEFT))) == [0]
    assert ids(tracker.update(seen(LEFT, RIGHT))) == [0]
    found = tracker.update(seen(LEFT, RIGHT))
    assert ids(found) == [0, 1]
    assert found.xyxy.tolist() == seen(LEFT, RIGHT).xyxy.tolist()


@pytest.mark.parametrize(("misses", "expected"), [(4, 0), (5, 1)])
def test_a_track_is_given_up_after_retain_frames(misses: int, expected: int) -> None:
    tracker = ByteTracker(retain=6)
    tracker.update(seen(LEFT))
    for _ in range(misses):
        tracker.update(seen(RIGHT, score=0.2))
    tracker.update(seen())
    assert ids(tracker.update(seen(LEFT))) == [expected]


def test_frames_left_out_count_for_giving_up() -> None:
    tracker = ByteTracker(retain=6)
    tracker.update(seen(LEFT), frame_index=0)
    assert ids(tracker.update(seen(LEFT), frame_index=5)) == [0]
    tracker.update(seen(), frame_index=11)
    assert ids(tracker.update(seen(LEFT))) == [1]
    assert tracker.snapshot().frame_index == 12


def test_weak_detections_continue_a_track_but_start_none() -> None:
    tracker = ByteTracker()
    tracker.update(seen(LEFT))
    assert ids(tracker.update(seen(LEFT, RIGHT, score=0.4))) == [0]
    assert ids(tracker.update(seen(LEFT, RIGHT, score=0.05))) == []


def test_a_weak_detection_does_not_bring_back_a_lost_track() -> None:
    tracker = ByteTracker()
    tracker.update(seen(LEFT))
    tracker.update(seen(RIGHT, score=0.2))
    assert ids(tracker.update(seen(LEFT, score=0.4))) == []
    assert ids(tracker.update(seen(LEFT))) == [0]


def test_the_smallest_similarity_is_enough_for_a_match() -> None:
    # The weak box covers exactly half of the track's.
    tracker = ByteTracker(match_low=0.5)
    tracker.update(seen((0, 0, 64, 64)))
    assert ids(tracker.update(seen((0, 0, 64, 32), score=0.5))) == [0]
    strict = ByteTracker(match_low=0.51)
    strict.update(seen((0, 0, 64, 64)))
    assert ids(strict.update(seen((0, 0, 64, 32), score=0.5))) == []


def test_scores_weigh_the_similarity_only_when_asked_to() -> None:
    overlap = (100, 100, 150, 175)  # three quarters of LEFT: 0.75 alone, 0.6 with its score
    for fuse_scores, expected in ((True, [1]), (False, [0])):
        tracker = ByteTracker(match_high=0.7, fuse_scores=fuse_scores)
        tracker.update(seen(LEFT))
        assert ids(tracker.update(seen(overlap, score=0.8))) == expected


def test_tracks_of_different_classes_never_meet() -> None:
    tracker = ByteTracker()
    tracker.update(seen(LEFT, LEFT, classes=[0, 1]))
    for _ in range(3):
        tracked = tracker.update(seen(LEFT, LEFT, classes=[1, 0]))
        assert ids(tracked) == [1, 0]
        assert tracked.class_id is not None
        assert tracked.class_id.tolist() == [1, 0]
    assert ids(tracker.update(seen(LEFT, classes=[2]))) == [2]


def test_no_class_means_class_zero() -> None:
    tracker = ByteTracker()
    tracker.update(seen(LEFT))
    tracked = tracker.update(seen(LEFT, classes=[0]))
    assert ids(tracked) == [0]
    assert tracker.update(seen(LEFT)).class_id is None


def test_the_result_keeps_every_field_of_the_rows_it_came_from() -> None:
    detections = seen(RIGHT, LEFT, classes=[0, 0])
    assert detections.confidence is not None
    detections.confidence[0] = 0.05
    detections.mask = np.zeros((2, 4, 4), bool)
    detections.mask[1, 2] = True
    detections.data = {"name": np.array(["right", "left"]), "note": ["r", "l"]}
    detections.metadata = {"camera": "north"}
    tracked = ByteTracker().update(detections)
    assert tracked.xyxy.tolist() == [list(LEFT)]
    assert tracked.mask is not None
    assert tracked.mask[0, 2].all()
    assert tracked.data["name"].tolist() == ["left"]
    assert tracked.data["note"] == ["l"]
    assert tracked.metadata == {"camera": "north"}


def test_detections_given_to_the_tracker_stay_as_they_were() -> None:
    detections = seen(RIGHT, LEFT)
    before = pickle.dumps(detections)
    tracked = ByteTracker().update(detections)
    tracked.xyxy[:] = 0
    assert pickle.dumps(detections) == before


def test_a_snapshot_stays_as_it_is() -> None:
    tracker = ByteTracker()
    tracker.update(seen(LEFT))
    snapshot = tracker.snapshot()
    before = pickle.dumps(snapshot)
    tracker.update(seen(shifted(LEFT, 5), RIGHT))
    assert pickle.dumps(snapshot) == before
    snapshot.means[:] = np.nan
    assert ids(tracker.update(seen(shifted(LEFT, 10)))) == [0]


def test_an_endless_stream_does_not_grow() -> None:
    """20,000 frames of objects that come and go at five places."""
    tracker = ByteTracker(retain=8)
    period = [[shifted(LEFT, 200 * k) for k in range(5) if (frame + 6 * k) % 30 < 12] for frame in range(30)]
    frames = [seen(*boxes) for boxes in period]
    sizes = []
    for frame in range(20_000):
        tracker.update(frames[frame % 30])
        if frame % 30 == 19:
            sizes.append(len(pickle.dumps(tracker)))
    assert tracker.snapshot().ids_given > 3_000  # there was something to forget
    # Numbers get longer, arrays must not.
    assert max(sizes) - sizes[2] < 32


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("high", 1.5),
        ("low", -0.1),
        ("low", 0.8),
        ("init", float("nan")),
        ("match_high", 0),
        ("match_low", 1.01),
        ("match_tentative", "0.3"),
        ("tentative_frames", 0),
        ("retain", 0),
        ("retain", 2.5),
    ],
)
def test_a_setting_out_of_range_is_named(setting: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{setting} is .*expected") as error:
        ByteTracker(**{setting: value})
    assert "\n" not in str(error.value)
