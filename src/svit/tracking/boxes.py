"""Boxes as the tracker needs them: one row per coordinate, (4, N), so that each step is a whole-array one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from svit.tracking.kalman import ASPECT, CENTRE_X, CENTRE_Y, HEIGHT, Floats

Corners = npt.NDArray[np.float32]
"""Boxes (4, N): left, top, right, bottom in pixels. Single precision is ample here and halves the traffic."""
Indices = npt.NDArray[np.intp]

_MIN_UNION = 1e-6  # square pixels; keeps the ratio finite for boxes that have almost no area


def to_measurement(corners: Corners) -> Floats:
    """Return centre x, centre y, aspect ratio (width / height) and height (4, N) of boxes with an area."""
    low, high = corners[:2].astype(np.float64), corners[2:].astype(np.float64)
    width, height = high - low
    measurement = np.empty(corners.shape)
    measurement[:ASPECT] = (low + high) / 2
    measurement[ASPECT] = width / height
    measurement[HEIGHT] = height
    return measurement


def to_corners(position: Floats) -> Corners:
    """Return the boxes (4, N) of filter positions (4, N); the inverse of `to_measurement`."""
    half_height = position[HEIGHT] / 2
    half_width = position[ASPECT] * half_height
    x, y = position[CENTRE_X], position[CENTRE_Y]
    corners = np.empty(position.shape, np.float32)
    corners[0], corners[1] = x - half_width, y - half_height
    corners[2], corners[3] = x + half_width, y + half_height
    return corners


def overlapping_pairs(first: Corners, second: Corners) -> tuple[Indices, Indices, npt.NDArray[np.float32]]:
    """Return every pair of overlapping boxes and its intersection over union.

    In a frame most boxes are nowhere near each other: the areas are worked out for the pairs that touch only.

    Args:
        first: (4, N) boxes.
        second: (4, M) boxes.

    Returns:
        `row` (P,) into `first`, `column` (P,) into `second`, sorted by row then column, and the
        intersection over union (P,) in (0, 1].
    """
    left, top, right, bottom = first[:, :, None]
    touch = left < second[2]
    touch &= right > second[0]
    touch &= top < second[3]
    touch &= bottom > second[1]
    row, column = np.divmod(np.flatnonzero(touch), second.shape[1])
    a, b = first[:, row], second[:, column]
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    overlap = np.maximum(sides[0], 0) * np.maximum(sides[1], 0)
    union = _area(a) + _area(b) - overlap
    return row, column, overlap / np.maximum(union, _MIN_UNION)


def _area(corners: Corners) -> npt.NDArray[np.float32]:
    area: npt.NDArray[np.float32] = (corners[2] - corners[0]) * (corners[3] - corners[1])
    return area
