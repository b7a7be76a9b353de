"""The best one-to-one choice among the overlapping boxes of each frame, as TrackEval makes it.

TrackEval solves the whole matrix of scores of every frame. Most of it is zero, and most pairs are certain:
those are chosen for all frames at once, and only frames where something remains open are solved, each with
its whole matrix, so that among equally good choices the same one is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from svit.evaluate.overlaps import Floats, Ints, Mask, Overlaps

_ROUNDING = 1e-12
"""Far above the rounding error of a frame's sum of scores; a smaller difference decides nothing here."""

_ROUNDED = 1e-9
"""The same for scores of some thousands."""


@dataclass(frozen=True)
class FrameMatrix:
    """Where one frame's pairs are, and its matrix's shape.

    Attributes:
        frame: its number.
        pairs: the slice of the frame's pairs.
        first_row, rows: its ground truth boxes.
        first_column, columns: its result boxes.
    """

    frame: int
    pairs: slice
    first_row: int
    rows: int
    first_column: int
    columns: int

    def solve(self, overlaps: Overlaps, scores: Floats) -> Ints:
        """The pairs with the largest sum of `scores`, which are given for the frame's pairs only.

        A pair with score 0 may be among them, as in TrackEval: it is for the caller to drop.
        """
        row = overlaps.row[self.pairs] - self.first_row
        column = overlaps.column[self.pairs] - self.first_column
        costs = np.zeros((self.rows, self.columns))
        costs[row, column] = -scores
        pairs = np.full(costs.shape, -1)
        pairs[row, column] = np.arange(self.pairs.start, self.pairs.stop)
        chosen: Ints = pairs[linear_sum_assignment(costs)]
        return chosen[chosen >= 0]


def frame_matrices(overlaps: Overlaps, frames: Ints) -> Iterator[FrameMatrix]:
    """The matrices of the given frames."""
    ends = [
        np.searchsorted(where, frames, side)
        for where in (overlaps.frames, overlaps.truth.frames, overlaps.results.frames)
        for side in ("left", "right")
    ]
    for frame, first, end, row, row_end, column, column_end in zip(frames.tolist(), *ends, strict=True):
        yield FrameMatrix(
            int(frame),
            slice(int(first), int(end)),
            int(row),
            int(row_end - row),
            int(column),
            int(column_end - column),
        )


def best_pairs(overlaps: Overlaps, scores: Floats) -> Ints:
    """Chooses pairs so that no box is in two and the sum of scores in each frame is the largest.

    Args:
        overlaps: the pairs that may be chosen; all others score 0.
        scores: (P,) in (0, 1].

    Returns:
        Numbers of the chosen pairs, ascending.
    """
    chosen, unclear = _certain(overlaps, scores)
    frames = np.unique(overlaps.frames[unclear])
    clear = np.flatnonzero(chosen)
    solved = [matrix.solve(overlaps, scores[matrix.pairs]) for matrix in frame_matrices(overlaps, frames)]
    return np.sort(np.concatenate([clear[~np.isin(overlaps.frames[clear], frames)], *solved]))


def _certain(overlaps: Overlaps, scores: Floats) -> tuple[Mask, Mask]:
    """Which pairs every best choice contains, and which remain open."""
    chosen, unclear = np.zeros(len(scores), bool), np.ones(len(scores), bool)
    left = np.arange(len(scores))
    while left.size:
        row, column, score = overlaps.row[left], overlaps.column[left], scores[left]
        # A pair that scores more than all other pairs of its two boxes together is in every best choice: one
        # without it could give up at most one other pair of each box, take this one, and be better.
        others = np.bincount(row, score)[row] + np.bincount(column, score)[column] - 2 * score
        wins = score > others + _ROUNDING
        if not wins.any():
            break
        chosen[left[wins]] = True
        taken = np.zeros(len(overlaps.truth), bool), np.zeros(len(overlaps.results), bool)
        taken[0][row[wins]], taken[1][column[wins]] = True, True
        settled = taken[0][row] | taken[1][column]
        unclear[left[settled]] = False
        left = left[~settled]
    return chosen, unclear


def certain_pairs(scores: Mapping[int, float], row: Sequence[int], column: Sequence[int]) -> list[int] | None:
    """The best choice among a handful of pairs of one frame; None where some pair is not certain.

    Args:
        scores: of each pair that may be chosen, above 0, at most a few thousand.
        row: of every pair, by its number.
        column: of every pair, by its number.
    """
    chosen: list[int] = []
    left = list(scores)
    while left:
        in_row: dict[int, float] = {}
        in_column: dict[int, float] = {}
        for pair in left:
            in_row[row[pair]] = in_row.get(row[pair], 0.0) + scores[pair]
            in_column[column[pair]] = in_column.get(column[pair], 0.0) + scores[pair]
        # As in `_certain`: more than all other pairs of the two boxes together.
        wins = [
            pair for pair in left if 3 * scores[pair] > in_row[row[pair]] + in_column[column[pair]] + _ROUNDED
        ]
        if not wins:
            return None
        chosen += wins
        rows, columns = {row[pair] for pair in wins}, {column[pair] for pair in wins}
        left = [pair for pair in left if row[pair] not in rows and column[pair] not in columns]
    return chosen
