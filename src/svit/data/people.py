"""Which rows of a MOTChallenge ground truth are people to be found, and which are not to be judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from svit.data.mot_files import Rows

Mask = npt.NDArray[np.bool_]

CONFIDENCE, CLASS = 6, 7
PERSON = (-1, 1)  # MOT15 has no classes
LIKE_PEOPLE = (2, 7, 8, 12)  # person on vehicle, static person, distractor, reflection


def people_rows(rows: Rows) -> Mask:
    """(N,) rows of people that count: of class 1, or without classes, and with a confidence other than 0."""
    counts: Mask = np.isin(_column(rows, CLASS, 1), PERSON) & (_column(rows, CONFIDENCE, 1) != 0)
    return counts


def ignored_rows(rows: Rows) -> Mask:
    """(N,) rows that are neither people to be found nor background.

    People with confidence 0, and rows of the classes person on vehicle, static person, distractor and
    reflection. Source: the MOTChallenge pre-processing (arXiv 1603.00831).
    """
    classes, unsure = _column(rows, CLASS, 1), _column(rows, CONFIDENCE, 1) == 0
    ignored: Mask = (unsure & np.isin(classes, PERSON)) | np.isin(classes, LIKE_PEOPLE)
    return ignored


def corners(xywh: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Boxes (N, 4) from left, top, width, height to left, top, right, bottom."""
    return np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)


def _column(rows: Rows, column: int, missing: float) -> npt.NDArray[np.float64]:
    """Whole numbers of a column; `missing` where rows are too short to have it."""
    if rows.shape[1] <= column:
        return np.full(len(rows), missing)
    whole: npt.NDArray[np.float64] = np.trunc(rows[:, column])
    return whole
