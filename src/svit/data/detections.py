"""Public detections of MOTChallenge: which files there are, and their boxes as the tracker takes them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from svit.data.mot_files import Rows, read_rows, read_sequence_info
from svit.errors import DataError, UsageError

SCORES = ("keep", "sigmoid", "one")
"""What can be done with a file's scores: see `read_detections`."""

SCORE = 6
NO_SCORE = -1


@dataclass(frozen=True)
class SequenceDetections:
    """The boxes that a detector found in one sequence.

    Attributes:
        name: of the sequence.
        path: the file they come from.
        frames: length of the sequence; where no seqinfo.ini tells it, the last frame that has a box.
        rows: (N, 7) frame (from 1), -1, left, top, right, bottom in pixels, score from 0 to 1.
    """

    name: str
    path: Path
    frames: int
    rows: npt.NDArray[np.float64]


def find_detections(path: Path) -> list[Path]:
    """The files with detections at `path`, sorted by name.

    Args:
        path: a file; the folder of a sequence (with det/det.txt in it); or a folder of sequences, as
            SEQ/det/det.txt or else as SEQ.txt.

    Raises:
        DataError: there is nothing like that, or one of several sequences has no det/det.txt.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: not found")
    if (path / "det/det.txt").is_file():
        return [path / "det/det.txt"]
    found = sorted(path.glob("*/det/det.txt"))
    if not found:
        return _plain_files(path)
    without = sorted(
        info.parent for info in path.glob("*/seqinfo.ini") if not (info.parent / "det/det.txt").is_file()
    )
    if without:
        raise DataError(f"{without[0]}: no det/det.txt, as the sequences beside it have")
    return found


def _plain_files(path: Path) -> list[Path]:
    """SEQ.txt in the folder `path`."""
    found = sorted(path.glob("*.txt"))
    if not found:
        deeper = next(iter(sorted(path.glob("*/*/det/det.txt"))), None)
        hint = f"; did you mean {deeper.parents[2]}?" if deeper else ""
        raise DataError(f"{path}: no SEQ/det/det.txt and no SEQ.txt in it{hint}")
    return found


def read_detections(path: Path, scores: str = "keep") -> SequenceDetections:
    """Reads rows frame,-1,x,y,w,h,score; more columns do not matter.

    Args:
        path: SEQ/det/det.txt, which gives the sequence its name, or SEQ.txt. A seqinfo.ini beside it, or
            above its det folder, tells the length.
        scores: "keep" takes them as they are, from 0 to 1; "sigmoid" maps scores of any range there, for
            detectors like DPM; "one" makes every box certain. A file without scores (no 7th column, or -1
            everywhere) is read as if with "one", with a warning.

    Raises:
        DataError: missing file, a malformed row, a frame after the sequence's end, or scores out of range.
        UsageError: `scores` is something else.
    """
    if scores not in SCORES:
        raise UsageError(f"unknown scores {scores!r}; choose from {', '.join(SCORES)}")
    given = _with_area(path, read_rows(path))
    resolved = path.resolve()
    in_det = (resolved.parent.name, resolved.name) == ("det", "det.txt")
    folder = resolved.parents[1] if in_det else resolved.parent
    corner, size = given[:, 2:4], given[:, 4:6]
    columns = (given[:, 0], np.full(len(given), -1), corner, corner + size, _scores(path, given, scores))
    name = folder.name if in_det else path.stem
    return SequenceDetections(name, path, _length(path, folder, given), np.column_stack(columns))


def _with_area(path: Path, rows: Rows) -> Rows:
    """The rows whose box has a width and a height; the tracker would drop the others without a name."""
    good = (rows[:, 4:6] > 0).all(axis=1)
    if not good.all():
        first = int(np.argmin(good))
        warnings.warn(
            f"{path}: left out {np.count_nonzero(~good)} boxes without a positive width and height,"
            f" the first in frame {rows[first, 0]:g}",
            stacklevel=3,
        )
    return rows[good]


def _length(path: Path, folder: Path, rows: Rows) -> int:
    last = int(rows[:, 0].max(initial=0))
    if not (folder / "seqinfo.ini").is_file():
        return last
    length = read_sequence_info(folder).length
    if last > length:
        raise DataError(f"{path}: frame {last}, but {folder / 'seqinfo.ini'} says that there are {length}")
    return length


def _scores(path: Path, rows: Rows, kind: str) -> npt.NDArray[np.float64]:
    """(N,) from 0 to 1."""
    if kind == "one" or not len(rows):
        return np.ones(len(rows))
    if rows.shape[1] <= SCORE or (rows[:, SCORE] == NO_SCORE).all():
        warnings.warn(f"{path}: has no scores; every box counts as certain (score 1)", stacklevel=3)
        return np.ones(len(rows))
    score = rows[:, SCORE]
    if kind == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(score / 2)))  # the same curve, and nothing that can overflow
    if score.min() < 0 or score.max() > 1:
        raise DataError(
            f"{path}: scores from {score.min():g} to {score.max():g}, but the tracker compares and multiplies"
            " scores from 0 to 1; --scores sigmoid maps them there, --scores one takes every box as certain"
        )
    return score
