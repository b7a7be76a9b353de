"""Scores of action recognition: accuracy, ROC AUC, confusion, and the scores of each class. Plain numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from svit.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NAMES = ("top-1", "top-5", "mean class", "AUC")


def score_actions(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> dict[str, float]:
    """Accuracy of predictions.

    Args:
        probabilities: (N, K) of each video and class; only their order within a video matters, for AUC their
            order over the videos.
        labels: (N,) the right class, 0 to K - 1.

    Returns:
        In per cent, NaN where it says nothing: "top-1", the right class is the first; "top-5", it is among
        the first five (NaN with five classes or fewer); "mean class", the mean over the classes that are
        there of the share of their videos that are right; "AUC", area under the ROC curve (NaN unless there
        are two classes, and videos of both).

    Raises:
        DataError: the shapes do not fit, a label is out of range, a probability is not finite, or nothing.
    """
    scores, right = _checked(probabilities, labels)
    ranks = _ranks(scores, right)
    recall = class_scores(confusion_matrix(scores, right))["accuracy"]
    return {
        "top-1": 100 * float((ranks < 1).mean()),
        "top-5": 100 * float((ranks < 5).mean()) if scores.shape[1] > 5 else float("nan"),
        "mean class": float(np.nanmean(recall)),
        "AUC": 100 * roc_auc(scores[:, 1] - scores[:, 0], right == 1)
        if scores.shape[1] == 2
        else float("nan"),
    }


def confusion_matrix(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> npt.NDArray[np.int64]:
    """(K, K) videos by their class (row) and the class that they are taken for (column)."""
    scores, right = _checked(probabilities, labels)
    matrix = np.zeros((scores.shape[1],) * 2, np.int64)
    np.add.at(matrix, (right, scores.argmax(1)), 1)
    return matrix


def class_scores(confusion: npt.NDArray[np.integer]) -> Mapping[str, Floats]:
    """The scores of each class (K,), from (K, K) counts by class and answer.

    Returns:
        "videos": of the class; in per cent "accuracy": those of them that are right, NaN without any;
        "precision": of the answers with this class those that are right, NaN without any.
    """
    hits = confusion.diagonal().astype(np.float64)
    videos, answers = confusion.sum(1), confusion.sum(0)
    nothing = np.full(len(hits), np.nan)
    return {
        "videos": videos.astype(np.float64),
        "accuracy": 100 * np.divide(hits, videos, out=nothing.copy(), where=videos > 0),
        "precision": 100 * np.divide(hits, answers, out=nothing.copy(), where=answers > 0),
    }


def roc_auc(scores: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> float:
    """The share of pairs of a positive and a negative in which the positive has the higher score, 0 to 1.

    Equal scores count half, so it is the area under the ROC curve (Hanley and McNeil 1982); NaN without both
    kinds.
    """
    wanted, others = int(positive.sum()), int((~positive).sum())
    if not wanted or not others:
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # mean rank of equal scores, from 1
    above = float(middle[places[positive]].sum()) - wanted * (wanted + 1) / 2
    return above / (wanted * others)


def roc_curve(scores: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Shares of negatives and of positives at or above each threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores pass a threshold together
    hits, alarms = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    return np.append(0.0, alarms / max(alarms[-1], 1)), np.append(0.0, hits / max(hits[-1], 1))


def _ranks(scores: Floats, right: Ints) -> Ints:
    """(N,) how many classes come before the right one; of equal ones that of the lower number."""
    own = scores[np.arange(len(right)), right][:, None]
    before = np.arange(scores.shape[1]) < right[:, None]
    ranks: Ints = ((scores > own) | ((scores == own) & before)).sum(1)
    return ranks


def _checked(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> tuple[Floats, Ints]:
    scores, right = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if scores.ndim != 2 or right.shape != scores.shape[:1] or not scores.size:
        raise DataError(f"probabilities {scores.shape} and labels {right.shape} must be (N, K) and (N,)")
    if right.min() < 0 or right.max() >= scores.shape[1]:
        raise DataError(
            f"label {right.max() if right.min() >= 0 else right.min()} is none of 0-{scores.shape[1] - 1}"
        )
    if not np.isfinite(scores).all():
        raise DataError(
            f"the probabilities of video {int(np.argmin(np.isfinite(scores).all(1)))} are not finite"
        )
    return scores, right
