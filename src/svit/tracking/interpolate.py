"""Filling the gaps of tracks once a video is finished."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from svit.errors import UsageError

FRAME, ID, SCORE = 0, 1, 6
_SHORTEST = 3  # boxes; a track with fewer is dropped: more likely a false alarm than an object


def interpolate_tracks(
    rows: npt.ArrayLike, min_frames: int = 5, max_gap: int = 20
) -> npt.NDArray[np.float64]:
    """Return the boxes of a finished video with the gaps of its tracks filled in along straight lines.

    Tracks with two boxes or fewer are dropped. Source: ByteTrack's interpolation, S-ViT official settings.

    Args:
        rows: (N, 7) frame, id, left, top, right, bottom, score; in any order, frames counted from 0 or 1.
        min_frames: only tracks with more boxes than this get their gaps filled.
        max_gap: frames; two boxes of a track this far apart, or farther, are not connected.

    Returns:
        (M, 7) float64 sorted by frame, then id; the rows filled in have score 1.

    Raises:
        UsageError: `rows` has another shape, values that are not finite, or frames that are
            not whole numbers; or a setting is negative.
    """
    for name, value in (("min_frames", min_frames), ("max_gap", max_gap)):
        if not value >= 0:
            raise UsageError(
                f"interpolate_tracks: {name} is {value}, expected a number of frames, at least 0"
            )
    track_rows = _read(rows)
    _, track, length = np.unique(track_rows[:, ID], return_inverse=True, return_counts=True)
    length = length[track]
    kept = length >= _SHORTEST
    track_rows, length = track_rows[kept], length[kept]

    left, right = track_rows[:-1], track_rows[1:]
    step = right[:, FRAME] - left[:, FRAME]
    # Rows are sorted by id, so where the id changes the two neighbours are of different tracks.
    fill = (left[:, ID] == right[:, ID]) & (step > 1) & (step < max_gap) & (length[1:] > min_frames)
    filled = _between(left[fill], right[fill])
    result = np.concatenate((track_rows, filled))
    return result[np.lexsort((result[:, ID], result[:, FRAME]))]


def _between(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the rows strictly between each pair of rows `left` and `right` (G, 7), a row per frame."""
    missing = (right[:, FRAME] - left[:, FRAME]).astype(np.int64) - 1
    gap = np.repeat(np.arange(missing.size), missing)
    position = np.arange(gap.size) - (np.cumsum(missing) - missing)[gap] + 1
    share = (position / (missing + 1)[gap])[:, None]
    filled = left[gap] + share * (right - left)[gap]
    filled[:, FRAME] = left[gap, FRAME] + position
    filled[:, SCORE] = 1
    return filled


def _read(rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return `rows` (N, 7) checked and sorted by id, then frame."""
    table = np.asarray(rows, dtype=np.float64)
    if table.size == 0:
        table = table.reshape(0, 7)
    if table.ndim != 2 or table.shape[1] != 7:
        raise UsageError(
            f"interpolate_tracks: rows have shape {table.shape}, expected (N, 7):"
            " frame, id, left, top, right, bottom, score"
        )
    if not np.isfinite(table).all() or (table[:, FRAME] % 1 != 0).any():
        raise UsageError(
            "interpolate_tracks: rows hold values that are not finite or frames that are not whole"
        )
    return table[np.lexsort((table[:, FRAME], table[:, ID]))]
