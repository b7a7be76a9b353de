"""Gaps of finished tracks: which are filled, and with what."""

import numpy as np
import numpy.typing as npt
import pytest

from svit.errors import UsageError
from svit.tracking import interpolate_tracks


def track(frames: list[int], identity: int = 0, speed: float = 10.0) -> npt.NDArray[np.float64]:
    """Boxes of an object that moves `speed` pixels per frame, score 0.5."""
    t = np.array(frames, float)
    columns = (t, np.full_like(t, identity), speed * t, 0 * t, speed * t + 50, 0 * t + 100, 0 * t + 0.5)
    return np.column_stack(columns)


def frames_of(rows: npt.NDArray[np.float64], identity: int = 0) -> list[int]:
    return rows[rows[:, 1] == identity, 0].astype(int).tolist()


def test_a_gap_is_filled_along_a_straight_line_with_score_one() -> None:
    filled = interpolate_tracks(track([1, 2, 3, 4, 5, 9]))
    expected = track([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expected[5:8, 6] = 1
    np.testing.assert_allclose(filled, expected)


@pytest.mark.parametrize(
    ("boxes", "kept", "filled"), [(2, False, False), (3, True, False), (5, True, False), (6, True, True)]
)
def test_short_tracks_are_dropped_or_left_alone(boxes: int, kept: bool, filled: bool) -> None:
    frames = [*range(boxes - 1), boxes]
    expected = list(range(boxes + 1)) if filled else frames if kept else []
    assert frames_of(interpolate_tracks(track(frames))) == expected


@pytest.mark.parametrize(("gap", "filled"), [(19, True), (20, False)])
def test_boxes_too_far_apart_are_not_connected(gap: int, filled: bool) -> None:
    frames = [0, 1, 2, 3, 4, 5, 5 + gap]
    expected = list(range(6 + gap)) if filled else frames
    assert frames_of(interpolate_tracks(track(frames))) == expected


def test_settings_change_what_is_filled() -> None:
    rows = track([0, 1, 2, 5])
    assert frames_of(interpolate_tracks(rows, min_frames=3)) == [0, 1, 2, 3, 4, 5]
    assert frames_of(interpolate_tracks(rows, min_frames=3, max_gap=3)) == [0, 1, 2, 5]


def test_tracks_do_not_mix_and_the_order_of_rows_does_not_matter() -> None:
    first, second = track([0, 1, 2, 3, 4, 7]), track([2, 3, 4, 5, 6, 9], identity=1, speed=-3)
    together = np.concatenate((first, second))
    filled = interpolate_tracks(np.random.default_rng(0).permutation(together))
    assert filled[:, :2].tolist() == sorted(filled[:, :2].tolist())
    for identity, alone in ((0, first), (1, second)):
        np.testing.assert_allclose(filled[filled[:, 1] == identity], interpolate_tracks(alone))


def test_nothing_in_nothing_out() -> None:
    assert interpolate_tracks([]).shape == (0, 7)
    assert interpolate_tracks(np.empty((0, 7))).shape == (0, 7)
    assert interpolate_tracks(track([3])).shape == (0, 7)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 6)), r"shape \(3, 6\), expected \(N, 7\)"),
        (np.full((3, 7), np.nan), "not finite"),
        (track([0, 1]) + 0.5, "not whole"),
    ],
)
def test_rows_of_another_kind_are_an_error_of_one_line(rows: npt.NDArray[np.float64], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        interpolate_tracks(rows)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("setting", ["min_frames", "max_gap"])
def test_a_negative_setting_is_an_error(setting: str) -> None:
    with pytest.raises(UsageError, match=setting):
        interpolate_tracks(track([0, 1, 2]), **{setting: -1})
