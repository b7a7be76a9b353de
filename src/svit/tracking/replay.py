"""The tracker alone, on the detections of a finished video."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import supervision as sv

from svit.errors import UsageError
from svit.tracking.byte_tracker import ByteTracker

FRAME, BOX, SCORE = 0, slice(2, 6), 6


def track_detections(
    rows: npt.ArrayLike, tracker: ByteTracker, frames: int | None = None
) -> npt.NDArray[np.float64]:
    """Give the boxes of a video to a tracker, frame by frame, and return those that belong to a track.

    Args:
        rows: (N, 7) frame, anything, left, top, right, bottom, score (0 to 1); frames count from 1, in any
            order. Frames without a row are frames without detections: tracks age in them.
        tracker: a new one, which has seen no frame yet; it goes on from frame to frame.
        frames: length of the video; None ends with the last row. Later rows are an error.

    Returns:
        (M, 7) frame, track id, left, top, right, bottom, score: by frame, and within one in the tracker's
        order. The input of `interpolate_tracks`.

    Raises:
        UsageError: `rows` has another shape, or frames that are not whole numbers from 1 to `frames`.
    """
    table = _read(rows, frames)
    last = int(table[-1, FRAME]) if frames is None and len(table) else frames or 0
    ends = np.searchsorted(table[:, FRAME], np.arange(1, last + 1), side="right")
    tracked = [np.zeros((0, 7))]
    begin = 0
    for frame, end in enumerate(ends.tolist(), start=1):
        seen = table[begin:end]
        found = tracker.update(sv.Detections(xyxy=seen[:, BOX], confidence=seen[:, SCORE]))
        tracked.append(_rows(frame, found))
        begin = end
    return np.concatenate(tracked)


def _rows(frame: int, found: sv.Detections) -> npt.NDArray[np.float64]:
    ids, scores = found.tracker_id, found.confidence
    if ids is None or scores is None:
        return np.zeros((0, 7))
    return cast(
        npt.NDArray[np.float64], np.column_stack((np.full(len(found), frame), ids, found.xyxy, scores))
    )


def _read(rows: npt.ArrayLike, frames: int | None) -> npt.NDArray[np.float64]:
    """Return `rows` (N, 7) checked and sorted by frame."""
    table = np.asarray(rows, dtype=np.float64)
    if table.size == 0:
        return np.zeros((0, 7))
    if table.ndim != 2 or table.shape[1] != 7:
        raise UsageError(
            f"track_detections: rows have shape {table.shape}, expected (N, 7):"
            " frame, any number, left, top, right, bottom, score"
        )
    number = table[:, FRAME]
    whole = np.isfinite(number) & (number >= 1) & (number == np.floor(number))
    if not (whole & (number <= (np.inf if frames is None else frames))).all():
        end = "" if frames is None else f" to {frames}"
        raise UsageError(f"track_detections: rows hold frames that are not whole numbers from 1{end}")
    return table[np.argsort(number, kind="stable")]
