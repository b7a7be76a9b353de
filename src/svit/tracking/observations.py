"""What a detector handed over for one frame, checked and laid out for the tracker."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import supervision as sv

from svit.errors import UsageError
from svit.tracking.boxes import Corners, Indices

_FARTHEST = 1e9  # pixels; beyond it products of single-precision coordinates stop being numbers


class Observations(NamedTuple):
    """The usable detections of one frame.

    Attributes:
        rows: (N,) their positions in the detector's output, increasing.
        corners: (4, N) left, top, right, bottom in pixels.
        scores: (N,) confidences.
        class_ids: (N,) classes; 0 where the detector knows no classes.
    """

    rows: Indices
    corners: Corners
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]


def read_detections(detections: sv.Detections) -> Observations:
    """Return the detections that describe a box: finite, of positive width and height, with a finite score.

    Boxes may lie partly or wholly outside the picture.

    Raises:
        UsageError: there are detections but no confidences.
    """
    count = len(detections)
    if detections.confidence is None and count:
        raise UsageError(
            "tracker: the detections have no confidence; set detections.confidence, one number per box"
        )
    # Values that single precision cannot hold become infinite and are sorted out just below.
    with np.errstate(over="ignore", invalid="ignore"):
        corners = np.array(detections.xyxy.T, dtype=np.float32, order="C").reshape(4, count)
        scores = np.array([] if detections.confidence is None else detections.confidence, dtype=np.float32)
    usable = (corners[0] < corners[2]) & (corners[1] < corners[3])
    usable &= (np.abs(corners) < _FARTHEST).all(axis=0) & np.isfinite(scores)
    if detections.class_id is None:
        class_ids = np.zeros(count, np.int64)
    else:
        class_ids = np.array(detections.class_id, dtype=np.int64)
    rows = np.flatnonzero(usable)
    if rows.size == count:
        return Observations(rows, corners, scores, class_ids)
    return Observations(rows, corners[:, rows], scores[rows], class_ids[rows])
