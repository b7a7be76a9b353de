"""A tracker saved to disk goes on in another process as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from safetensors.numpy import load_file, save_file

from svit.errors import UsageError
from svit.tracking import ByteTracker

SPLIT, FRAMES = 25, 60

RESUME = """
import json, sys
from pathlib import Path
from safetensors.numpy import load_file
from svit.tracking import ByteTracker
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from test_tracker_state import FRAMES, SPLIT, follow
tracker = ByteTracker(retain=10)
tracker.load_state_dict(load_file(sys.argv[2]))
print(json.dumps(follow(tracker, range(SPLIT, FRAMES))))
"""


def frame_of(index: int) -> sv.Detections:
    """Objects of two classes that cross, disappear and come back, some weak."""
    rng = np.random.default_rng(index)
    start = np.stack((np.arange(12) * 60, 100 + 40 * (np.arange(12) % 3)), axis=1)
    corner = start + index * np.where(np.arange(12) % 2, 6, -6)[:, None] * [1, 0] + rng.normal(0, 2, (12, 2))
    seen = rng.random(12) < 0.85
    return sv.Detections(
        xyxy=np.hstack((corner, corner + np.array([50, 120])))[seen],
        confidence=rng.uniform(0.3, 1, 12)[seen],
        class_id=np.arange(12)[seen] // 6,
    )


def follow(tracker: ByteTracker, frames: range) -> list[Any]:
    tracked = (tracker.update(frame_of(index)) for index in frames)
    return [[step.tracker_id.tolist(), step.xyxy.tolist()] for step in tracked]


@pytest.fixture
def tracker() -> ByteTracker:
    paused = ByteTracker(retain=10)
    follow(paused, range(SPLIT))
    return paused


def to_file(tracker: ByteTracker, path: Path) -> None:
    save_file({key: np.asarray(value) for key, value in tracker.state_dict().items()}, path)


def test_a_stream_goes_on_in_another_process_identically(tracker: ByteTracker, tmp_path: Path) -> None:
    to_file(tracker, tmp_path / "tracker.safetensors")
    command = [sys.executable, "-W", "ignore", "-c", RESUME, __file__, str(tmp_path / "tracker.safetensors")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    resumed = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    assert json.loads(resumed.stdout) == follow(tracker, range(SPLIT, FRAMES))


def test_a_tracker_that_saw_nothing_can_be_saved(tmp_path: Path) -> None:
    to_file(ByteTracker(), tmp_path / "tracker.safetensors")
    resumed = ByteTracker()
    resumed.load_state_dict(load_file(tmp_path / "tracker.safetensors"))
    assert follow(resumed, range(10)) == follow(ByteTracker(), range(10))


def test_a_saved_state_does_not_change_with_the_tracker(tracker: ByteTracker) -> None:
    state = tracker.state_dict()
    before = {key: np.copy(value) for key, value in state.items()}
    resumed = ByteTracker(retain=10)
    resumed.load_state_dict(state)
    follow(tracker, range(SPLIT, FRAMES))
    follow(resumed, range(SPLIT, FRAMES))
    for key, value in state.items():
        np.testing.assert_array_equal(value, before[key])


def _damaged(state: dict[str, Any], damage: str) -> dict[str, Any]:
    match damage:
        case "missing":
            del state["kalman"]
        case "unexpected":
            state["extra"] = 1
        case "shape":
            state["kalman"] = state["kalman"][:, :, 1:]
        case "type":
            state["ids"] = state["ids"].astype(np.float32)
        case "nan":
            state["kalman"][0, 0, 0] = np.nan
        case "number":
            state["frame_index"] = np.zeros(3)
    return state


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "missing keys ['kalman']"),
        ("unexpected", "unexpected keys ['extra']"),
        ("shape", "'kalman' is float64 (5, 4, "),
        ("type", "'ids' is float32"),
        ("nan", "expected finite"),
        ("number", "'frame_index' is float64 (3,), expected one number"),
    ],
)
def test_a_damaged_state_is_named_and_changes_nothing(
    tracker: ByteTracker, damage: str, message: str
) -> None:
    other, twin = ByteTracker(retain=10), ByteTracker(retain=10)
    follow(other, range(5))
    follow(twin, range(5))
    with pytest.raises(UsageError) as error:
        other.load_state_dict(_damaged(tracker.state_dict(), damage))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert follow(other, range(5, 15)) == follow(twin, range(5, 15))


def test_other_settings_are_not_accepted_silently(tracker: ByteTracker) -> None:
    with pytest.raises(UsageError, match="saved with retain=10, this tracker has retain=30"):
        ByteTracker().load_state_dict(tracker.state_dict())
