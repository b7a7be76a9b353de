"""From rows to what is scored: checks, and which boxes count, by the rules of each MOTChallenge benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from svit.data.mot_files import MIN_COLUMNS, Rows, line_of_row
from svit.errors import DataError, UsageError
from svit.evaluate.matching import frame_matrices
from svit.evaluate.overlaps import EPS, THRESHOLD, Boxes, Ints, Mask, Overlaps, find_overlaps

BENCHMARKS = ("MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack", "SportsMOT")

_FRAME, _ID, _CONFIDENCE, _CLASS = 0, 1, 6, 7
_PEDESTRIAN = 1
_CLASSES = tuple(range(1, 14))
_DISTRACTORS = (2, 7, 8, 12)  # person on vehicle, static person, distractor, reflection
_MOT20_DISTRACTORS = (*_DISTRACTORS, 6)  # and non-motorised vehicle
_MOT15_COLUMNS = 10
_LARGEST = 2**53  # whole numbers above are not exact in a file's floating point


@dataclass(frozen=True)
class Table:
    """Rows and where they are from.

    Attributes:
        rows: (N, C) frame, id, x, y, w, h, then confidence, class, visibility if there are some.
        name: how messages call them: a path, or "results of SEQ".
        path: the file, if it is one.
    """

    rows: Rows
    name: str
    path: Path | None = None

    def place(self, row: int) -> str:
        """Names a row in a message."""
        if self.path is None:
            return f"{self.name}, row {row} (from 0)"
        return f"{self.name}, line {line_of_row(self.path, row)}"


def read_boxes(table: Table, length: int | None) -> tuple[Boxes, Ints]:
    """Checks rows and returns them sorted by frame, with the order: the row that each box is from.

    Args:
        table: of ground truth or results.
        length: of the sequence in frames, or None where it is not known.

    Raises:
        DataError: too few columns, NaN, a frame or id that is no whole number, a frame outside the sequence,
            an id twice in a frame.
    """
    rows = table.rows
    if not rows.size:
        return Boxes(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4))), np.zeros(0, np.int64)
    if rows.ndim != 2 or rows.shape[1] < MIN_COLUMNS:
        raise DataError(f"{table.name}: shape {rows.shape}; (N, 6 or more) is needed: frame,id,x,y,w,h")
    _check_numbers(table, length)
    order = np.argsort(rows[:, _FRAME], kind="stable")
    boxes = Boxes(
        rows[order, _FRAME].astype(np.int64),
        rows[order, _ID].astype(np.int64),
        rows[order, 2:6].astype(np.float64),
    )
    _check_unique(table, boxes, order)
    return boxes, order


def _check_numbers(table: Table, length: int | None) -> None:
    frames, ids = table.rows[:, _FRAME], table.rows[:, _ID]
    last = _LARGEST if length is None else length
    _refuse(
        table,
        np.logical_not(np.isfinite(table.rows[:, : _CLASS + 1])).any(axis=1),
        "a number is NaN or infinite",
    )
    _refuse(
        table, (frames < 1) | (frames != np.floor(frames)), "frame {0:g}; frames are whole numbers from 1"
    )
    _refuse(table, frames > last, f"frame {{0:g}}, but the sequence has {last} frames")
    _refuse(
        table,
        (ids < 0) | (ids > _LARGEST) | (ids != np.floor(ids)),
        "id {1:.15g}; ids are whole numbers from 0 (a file of detections has none)",
    )


def _refuse(table: Table, bad: Mask | np.bool_, problem: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"{table.place(row)}: {problem.format(*table.rows[row])}")


def _check_unique(table: Table, boxes: Boxes, order: Ints) -> None:
    key = (boxes.frames - boxes.frames[0]) * len(boxes.track_ids) + boxes.tracks
    by_key = np.argsort(key, kind="stable")
    twice = np.flatnonzero(np.diff(key[by_key]) == 0)
    if twice.size:
        box = int(by_key[twice + 1].min())
        raise DataError(
            f"{table.place(int(order[box]))}: id {boxes.ids[box]} is twice in frame {boxes.frames[box]}; "
            "an id stands for one box in a frame"
        )


def scored_overlaps(
    name: str, truth: Table, results: Table, length: int | None, benchmark: str | None
) -> Overlaps:
    """The boxes that count, and which of them overlap.

    Args:
        name: of the sequence; "MOT20-..." has MOT20's distractors.
        truth: rows of the ground truth.
        results: rows of the tracker.
        length: of the sequence in frames, or None where it is not known.
        benchmark: one of `BENCHMARKS`; None tells by the rows and the name.

    Raises:
        DataError: see `read_boxes`; a class that the benchmark does not know.
        UsageError: an unknown benchmark.
    """
    distractors = _distractors(name, truth, benchmark)
    truth_boxes, order = read_boxes(truth, length)
    result_boxes, _ = read_boxes(results, length)
    _check_result_classes(results)
    overlaps = find_overlaps(truth_boxes, result_boxes)
    counted, removed = np.ones(len(truth_boxes), bool), np.zeros(len(result_boxes), bool)
    if truth.rows.size and truth.rows.shape[1] > _CONFIDENCE:
        counted = np.trunc(truth.rows[order, _CONFIDENCE]) != 0  # TrackEval reads 0.9 as 0
    if distractors is not None and truth.rows.size:
        classes = np.trunc(truth.rows[order, _CLASS])
        removed = _on_distractors(overlaps, np.isin(classes, distractors))
        counted &= classes == _PEDESTRIAN
    return overlaps.keep(counted, ~removed)


def _distractors(name: str, truth: Table, benchmark: str | None) -> tuple[int, ...] | None:
    """Classes on which a result is neither right nor wrong; None where the ground truth has no classes."""
    known = {each.lower(): each for each in BENCHMARKS}
    if benchmark is not None and benchmark.lower() not in known:
        raise UsageError(f"benchmark {benchmark!r} is unknown; there are {', '.join(BENCHMARKS)}")
    rules = known[benchmark.lower()] if benchmark else None
    if rules == "MOT15" or (rules is None and _without_classes(truth.rows)):
        return None
    if truth.rows.size:
        if truth.rows.shape[1] <= _CLASS:
            raise DataError(f"{truth.name}: no classes (column 8); {rules} needs them")
        _refuse(
            truth,
            ~np.isin(np.trunc(truth.rows[:, _CLASS]), _CLASSES),
            "class {7:g}; classes are 1 to 13 (only MOT15 has none: benchmark MOT15)",
        )
    return (
        _MOT20_DISTRACTORS
        if rules == "MOT20" or (rules is None and name.startswith("MOT20-"))
        else _DISTRACTORS
    )


def _without_classes(rows: Rows) -> bool:
    """True for MOT15, whose eighth column is -1 or a place in the world, and for rows without that column."""
    if not rows.size or rows.ndim != 2:
        return False
    if rows.shape[1] <= _CLASS:
        return True
    classes = rows[:, _CLASS]
    return bool(
        (classes == -1).all() or (rows.shape[1] == _MOT15_COLUMNS and not np.isin(classes, _CLASSES).all())
    )


def _check_result_classes(results: Table) -> None:
    if results.rows.size and results.rows.shape[1] > _CLASS:
        other = np.trunc(results.rows[:, _CLASS]) > _PEDESTRIAN
        _refuse(results, other, "class {7:g}; only people are scored: class 1 or -1")


def _on_distractors(overlaps: Overlaps, distractor: Mask) -> Mask:
    """(M,) true for results that are matched to a distractor when all ground truth boxes are matched.

    Args:
        overlaps: of all boxes.
        distractor: (N,) which ground truth boxes are distractors.
    """
    found = overlaps.at_least(THRESHOLD - EPS)
    of_distractor = distractor[found.row]
    matched = found.alone.copy()
    for matrix in frame_matrices(found, np.unique(found.frames[of_distractor & ~found.alone])):
        matched[matrix.pairs] = False
        matched[matrix.solve(found, found.iou[matrix.pairs])] = True
    removed = np.zeros(len(overlaps.results), bool)
    removed[found.column[matched & of_distractor]] = True
    return removed
