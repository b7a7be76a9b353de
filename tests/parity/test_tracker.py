"""Association, filter, assignment and interpolation against the official tracker's results."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import supervision as sv
from tests.parity.golden import load_arrays, load_manifest

from svit.tracking import ByteTracker, interpolate_tracks, kalman
from svit.tracking.assignment import assign

Arrays = dict[str, npt.NDArray[Any]]

SEQUENCES = ("few", "crowd", "multiclass", "empty", "late", "pan", "stress_a", "stress_b")
SETTINGS = ("svm", "bytetrack", "class_defaults")


def tracker_like(official: dict[str, Any]) -> ByteTracker:
    return ByteTracker(
        high=official["obj_score_thrs"]["high"],
        low=official["obj_score_thrs"]["low"],
        init=official["init_track_thr"],
        match_high=official["match_iou_thrs"]["high"],
        match_low=official["match_iou_thrs"]["low"],
        match_tentative=official["match_iou_thrs"]["tentative"],
        tentative_frames=official["num_tentatives"],
        retain=official["num_frames_retain"],
        fuse_scores=official["weight_iou_with_det_scores"],
    )


def run(tracker: ByteTracker, sequence: Arrays) -> tuple[npt.NDArray[np.float64], list[list[int]]]:
    """Rows as in the fixture (frame, id, box, score, label) and the counts after each frame."""
    rows, counts = [np.zeros((0, 8))], []
    for frame in range(int(sequence["n_frames"])):
        seen = sequence["dets"][sequence["dets"][:, 0] == frame]
        tracked = tracker.update(
            sv.Detections(xyxy=seen[:, 1:5], confidence=seen[:, 5], class_id=seen[:, 6].astype(int))
        )
        columns = (
            np.full(len(tracked), frame),
            tracked.tracker_id,
            tracked.xyxy,
            tracked.confidence,
            tracked.class_id,
        )
        rows.append(np.column_stack(columns))
        after = tracker.snapshot()
        counts.append([after.ids.size, int(after.confirmed.sum()), after.ids_given])
    return np.concatenate(rows), counts


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", SEQUENCES)
def test_every_row_of_every_frame_is_the_official_one_in_the_official_order(name: str, settings: str) -> None:
    manifest, sequence = load_manifest("tracker"), load_arrays(f"tracker/{name}.npz")
    tracker = tracker_like(manifest["configs"][settings])
    rows, counts = run(tracker, sequence)
    np.testing.assert_array_equal(rows, sequence[f"out_{settings}"])
    np.testing.assert_array_equal(counts, sequence[f"counts_{settings}"])

    after = tracker.snapshot()
    np.testing.assert_array_equal(after.ids[after.confirmed], sequence[f"kf_ids_{settings}"])
    for ours, key in ((after.means, "kf_mean"), (after.covariances, "kf_cov")):
        expected = sequence[f"{key}_{settings}"]
        np.testing.assert_allclose(ours[after.confirmed], expected, **manifest["tolerance"][key])


def test_default_settings_are_the_official_ones() -> None:
    official = tracker_like(load_manifest("tracker")["configs"]["svm"])
    assert repr(ByteTracker()) == repr(official)


@pytest.mark.parametrize("track", ["track0", "track1", "track2"])
def test_filter_follows_the_official_one_step_by_step(track: str) -> None:
    tolerance = load_manifest("tracker")["kalman"]["tolerance"]
    steps = {key: value for key, value in load_arrays("tracker/kalman.npz").items() if key.startswith(track)}
    state = np.zeros((5, 4, 1))
    for step, operation in enumerate(steps[f"{track}.op"]):
        measurement = steps[f"{track}.measurement"][step][:, None]
        match operation:
            case "initiate":
                state = kalman.initiate(measurement)
            case "predict":
                state = kalman.predict(state)
            case "update":
                state = kalman.update(state, measurement)
        np.testing.assert_allclose(kalman.mean(state)[0], steps[f"{track}.mean"][step], **tolerance)
        np.testing.assert_allclose(kalman.covariance(state)[0], steps[f"{track}.cov"][step], **tolerance)


def test_assignments_with_a_cost_limit_are_the_official_ones() -> None:
    cases = load_arrays("tracker/assignment.npz")
    for case in range(len(cases) // 4):
        gain = float(cases[f"{case}.limit"]) - cases[f"{case}.cost"].astype(np.float64)
        pairs = np.nonzero(gain > 0)
        chosen = assign(*pairs, gain[pairs], gain.shape)
        row_to_column = np.full(gain.shape[0], -1)
        row_to_column[chosen[0]] = chosen[1]
        np.testing.assert_array_equal(row_to_column, cases[f"{case}.row_to_col"], err_msg=f"case {case}")


@pytest.mark.parametrize("name", SEQUENCES)
def test_interpolated_sequences_are_the_official_ones(name: str) -> None:
    sequence = load_arrays(f"tracker/{name}.npz")
    filled = interpolate_tracks(sequence["out_svm"][:, :7])
    np.testing.assert_allclose(filled, sequence["interp_svm"], rtol=0, atol=1e-6)


def test_interpolation_of_hand_made_cases_is_the_official_one() -> None:
    cases = load_arrays("tracker/interpolate_cases.npz")
    np.testing.assert_allclose(interpolate_tracks(cases["inp"]), cases["out"], rtol=0, atol=1e-6)
