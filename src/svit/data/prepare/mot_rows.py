"""Rows of gt.txt and det.txt with the lines they came from."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from svit.data.bad_rows import BadRows
from svit.errors import DataError

PEDESTRIAN = 1
CLASSES = 13
"""Classes of MOT16, MOT17 and MOT20 are numbered 1 to 13."""

GT_COLUMNS = 9
MOT15_COLUMNS = 10
DET_COLUMNS = 7


class GroundTruthRow(NamedTuple):
    """One row of gt.txt.

    Attributes:
        text: the line as it stands in the file.
        frame: from 1.
        identity: the id in the file.
        box: x, y, w, h in pixels.
        considered: False where the confidence column is 0, whose boxes a scorer ignores.
        confidence, class_id, visibility: of MOT15, which has none, 1 as in the official converter.
    """

    text: str
    frame: int
    identity: int
    box: list[float]
    considered: bool
    confidence: float
    class_id: int
    visibility: float


def read_ground_truth(path: Path, frames: int, bad_rows: BadRows) -> list[GroundTruthRow]:
    """Reads a gt.txt: nine columns (MOT16 and later, DanceTrack, SportsMOT), or MOT15's ten.

    MOT15's last three columns are -1 or a position in the world, never class and visibility.

    Args:
        path: of the file.
        frames: how many the sequence has.
        bad_rows: what to do with a malformed row.

    Returns:
        the rows of all classes, in the file's order.

    Raises:
        DataError: the file is missing, or a row is malformed: a number that is none, wrong columns, a frame
            outside the sequence, an unknown class, a person twice in one frame.
    """
    seen: set[tuple[int, int]] = set()
    rows = []
    for number, text, values in _numbered(path, bad_rows, lambda row: _gt_problem(row, frames)):
        row = _ground_truth_row(text, values)
        person = (row.frame, row.identity)
        if row.class_id == PEDESTRIAN and person in seen:
            bad_rows.report(f"{path}, line {number}: id {row.identity} is in frame {row.frame} already")
            continue
        if row.class_id == PEDESTRIAN:
            seen.add(person)
        rows.append(row)
    return rows


def read_detections(path: Path, frames: int, bad_rows: BadRows) -> dict[int, npt.NDArray[np.float64]]:
    """Reads a det.txt: frame, -1, x, y, w, h, score.

    Returns:
        (N, 5) x1, y1, x2, y2 in pixels and score, by frame, in the file's order; a frame without is left out.

    Raises:
        DataError: the file is missing, or a row is malformed or of a frame outside the sequence.
    """
    boxes: dict[int, list[list[float]]] = defaultdict(list)
    for _, _, values in _numbered(path, bad_rows, lambda row: _det_problem(row, frames)):
        x, y, width, height, score = values[2:DET_COLUMNS]
        boxes[int(values[0])].append([x, y, x + width, y + height, score])
    return {frame: np.array(rows) for frame, rows in boxes.items()}


def _numbered(
    path: Path, bad_rows: BadRows, problem_of: Callable[[list[float]], str | None]
) -> Iterator[tuple[int, str, list[float]]]:
    """Line number (from 1), line and numbers of every row without a problem."""
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            values = [float(word) for word in line.rstrip(", ").split(",")]
            problem = problem_of(values)
        except ValueError as error:
            problem = str(error)
        if problem:
            bad_rows.report(f"{path}, line {number}: {problem}")
        else:
            yield number, line, values


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: not found") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None


def _gt_problem(row: list[float], frames: int) -> str | None:
    if len(row) not in (GT_COLUMNS, MOT15_COLUMNS):
        return f"{len(row)} columns; ground truth has {GT_COLUMNS}, that of MOT15 {MOT15_COLUMNS}"
    problem = _problem(row, frames)
    if problem or _is_mot15(row):
        return problem
    if row[7] != int(row[7]) or not 1 <= row[7] <= CLASSES:
        return f"class {row[7]:g}; classes are 1 to {CLASSES}"
    return None


def _det_problem(row: list[float], frames: int) -> str | None:
    if len(row) < DET_COLUMNS:
        return f"{len(row)} columns, at least {DET_COLUMNS} are needed (frame,id,x,y,w,h,score)"
    return _problem(row, frames)


def _problem(row: list[float], frames: int) -> str | None:
    if not math.isfinite(sum(row)):  # one look at all of them: a data set has a million rows
        return "a number is NaN or infinite"
    if row[0] % 1 or row[1] % 1:
        return "frame and id must be whole numbers"
    if not 1 <= row[0] <= frames:
        return f"frame {row[0]:g}; the sequence has the frames 1 to {frames} (seqLength)"
    if row[4] < 0 or row[5] < 0:
        return f"a box of negative size ({row[4]:g} x {row[5]:g})"
    return None


def _is_mot15(row: list[float]) -> bool:
    return len(row) == MOT15_COLUMNS or row[7] == -1


def _ground_truth_row(text: str, row: list[float]) -> GroundTruthRow:
    confidence, class_id, visibility = (1.0, 1.0, 1.0) if _is_mot15(row) else row[6:9]
    return GroundTruthRow(
        text, int(row[0]), int(row[1]), row[2:6], row[6] != 0, confidence, int(class_id), visibility
    )
