"""Which boxes of a sequence overlap in a frame.

In a frame most boxes are nowhere near each other, so pairs are kept as a list of those that overlap, over all
frames at once. Overlaps are computed with the operations of TrackEval in their order, so that they are equal
to the last bit: where boxes are equal, or exactly at a threshold, rounding decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

EPS = float(np.finfo("float").eps)
THRESHOLD = 0.5
"""Intersection over union from which a box counts as found (CLEAR, identity, distractors)."""

_FAR = 1e6
"""Pixels; boxes further out are looked at as if they were here, which finds them all the same."""
_BLOCK = 1 << 21
"""Pairs of one frame that are looked at together: bounds the memory for crowds."""


@dataclass(frozen=True)
class Boxes:
    """Boxes with ids, sorted by frame.

    Attributes:
        frames: (N,) from 1, ascending.
        ids: (N,) as in the file; unique within a frame.
        xywh: (N, 4) left, top, width, height in pixels.
    """

    frames: Ints
    ids: Ints
    xywh: Floats

    @cached_property
    def track_ids(self) -> Ints:
        """The ids that occur, ascending."""
        return self._tracks[0]

    @cached_property
    def tracks(self) -> Ints:
        """(N,) for each box the place of its id in `track_ids`."""
        return self._tracks[1]

    @cached_property
    def boxes_per_track(self) -> Ints:
        """For each of `track_ids`, its number of boxes."""
        return np.bincount(self.tracks, minlength=len(self.track_ids))

    @cached_property
    def _tracks(self) -> tuple[Ints, Ints]:
        ids, tracks = np.unique(self.ids, return_inverse=True)
        return ids, tracks.astype(np.int64)

    def __len__(self) -> int:
        return len(self.frames)

    def keep(self, kept: Mask) -> Boxes:
        """Only the boxes where `kept` (N,) is true."""
        return Boxes(self.frames[kept], self.ids[kept], self.xywh[kept])


@dataclass(frozen=True)
class Overlaps:
    """All pairs of a ground truth box and a result box that overlap in a frame.

    Attributes:
        truth, results: the boxes.
        row, column: (P,) places in `truth` and `results`, sorted by row, then column.
        iou: (P,) intersection over union, above 0.
    """

    truth: Boxes
    results: Boxes
    row: Ints
    column: Ints
    iou: Floats

    @cached_property
    def frames(self) -> Ints:
        """(P,) frame of each pair, ascending."""
        return self.truth.frames[self.row]

    def at_least(self, iou: float) -> Overlaps:
        """The same boxes, and the pairs that overlap this much."""
        enough = self.iou >= iou
        return Overlaps(self.truth, self.results, self.row[enough], self.column[enough], self.iou[enough])

    @cached_property
    def alone(self) -> Mask:
        """(P,) true where neither box of the pair is in another pair."""
        in_row = np.bincount(self.row, minlength=len(self.truth))[self.row]
        in_column = np.bincount(self.column, minlength=len(self.results))[self.column]
        alone: Mask = (in_row == 1) & (in_column == 1)
        return alone

    def keep(self, truth: Mask, results: Mask) -> Overlaps:
        """Only the boxes where the masks are true, and the pairs among them."""
        if truth.all() and results.all():
            return self
        pairs = truth[self.row] & results[self.column]
        row = (np.cumsum(truth) - 1)[self.row[pairs]]
        column = (np.cumsum(results) - 1)[self.column[pairs]]
        return Overlaps(self.truth.keep(truth), self.results.keep(results), row, column, self.iou[pairs])


def same_frame(frames: Ints, others: Ints) -> tuple[Ints, Ints]:
    """For each of `frames` the first of `others` that is the same, and how many are; both ascending."""
    first = np.searchsorted(others, frames, "left")
    return first, np.searchsorted(others, frames, "right") - first


def find_overlaps(truth: Boxes, results: Boxes) -> Overlaps:
    """Finds the overlapping pairs within frames."""
    a, b = _corners(truth.xywh), _corners(results.xywh)
    order, first, count = _neighbours(truth.frames, a, results.frames, b)
    b = b[:, order]
    parts = [_overlaps_of(a, b, first, count, block) for block in _blocks(count)]
    row, place, iou = (np.concatenate(part) for part in zip(*parts, strict=True))
    column = order[place]
    by_column = np.lexsort((column, row))
    return Overlaps(truth, results, row[by_column], column[by_column], iou[by_column])


def _neighbours(frames_a: Ints, a: Floats, frames_b: Ints, b: Floats) -> tuple[Ints, Ints, Ints]:
    """Which boxes of b may touch each box of a: those of its frame, from left to right, near it.

    Args:
        frames_a: (N,) ascending.
        a: (4, N) corners.
        frames_b: (M,) ascending.
        b: (4, M) corners.

    Returns:
        An order (M,) of b's boxes; in this order, for each box of a (N,), the first and how many.
    """
    start, count = same_frame(frames_a, frames_b)
    # One number for frame and place: where a frame starts in b, times more than any two places differ.
    left_b = np.searchsorted(frames_b, frames_b, "left") * (8 * _FAR) + np.clip(b[0], -_FAR, _FAR)
    order = np.argsort(left_b, kind="stable")
    widest = min(float(np.max(b[2] - b[0], initial=0)), 2 * _FAR)
    near = start * (8 * _FAR) + np.clip(a[0], -_FAR, _FAR) - widest - 1
    far = start * (8 * _FAR) + np.clip(a[2], -_FAR, _FAR) + 1
    first = np.maximum(start, np.searchsorted(left_b[order], near, "left"))
    last = np.minimum(start + count, np.searchsorted(left_b[order], far, "right"))
    return order, first, np.maximum(last - first, 0)


def _blocks(count: Ints) -> Iterator[slice]:
    """Slices of the ground truth with about `_BLOCK` pairs each; at least one slice."""
    total = np.cumsum(count)
    start = 0
    while True:
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + _BLOCK, "right")))
        yield slice(start, stop)
        if stop >= len(count):
            return
        start = stop


def _corners(xywh: Floats) -> Floats:
    """(4, N) left, top, right, bottom."""
    left, top, width, height = xywh.T
    return np.array([left, top, left + width, top + height])


def _overlaps_of(a: Floats, b: Floats, first: Ints, count: Ints, block: slice) -> tuple[Ints, Ints, Floats]:
    """Row, column and intersection over union of the pairs of some rows that overlap.

    Args:
        a: (4, N) corners of the rows.
        b: (4, M) corners of the columns.
        first: (N,) for each row its first column.
        count: (N,) for each row how many columns there are.
        block: the rows.
    """
    rows = np.arange(len(count))[block]
    first, count = first[block], count[block]
    row = np.repeat(rows, count)
    column = np.arange(len(row)) + np.repeat(first - (np.cumsum(count) - count), count)
    for low, high in ((0, 2), (1, 3)):  # few pass the first side, so the rest is done for few
        side = np.minimum(a[high, row], b[high, column]) - np.maximum(a[low, row], b[low, column])
        row, column = row[side > 0], column[side > 0]
    a, b = a[:, row], b[:, column]
    inner = (np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])) * (
        np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    )
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    union = area_a + area_b - inner
    real = (area_a > EPS) & (area_b > EPS) & (union > EPS) & (inner > 0)
    return row[real], column[real], inner[real] / union[real]
