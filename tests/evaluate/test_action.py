"""Scores of action recognition against numbers worked out by hand, and against slow plain definitions."""

from __future__ import annotations

import numpy as np
import pytest

from svit.errors import DataError
from svit.evaluate.action import class_scores, confusion_matrix, roc_auc, roc_curve, score_actions

RIGHT = np.array([0, 0, 0, 1, 2])


def certain(answers, classes):
    """Predictions that are sure of their class."""
    return np.eye(classes)[np.asarray(answers)]


def test_accuracies_are_those_worked_out_by_hand():
    found = score_actions(certain([0, 0, 1, 1, 0], 3), RIGHT)
    assert found["top-1"] == pytest.approx(60)
    assert found["mean class"] == pytest.approx((100 * 2 / 3 + 100 + 0) / 3)
    assert np.isnan(found["top-5"])
    assert np.isnan(found["AUC"])


def test_top_5_counts_the_first_five_of_more_classes():
    scores = np.tile(np.arange(8.0)[::-1], (3, 1))  # class 0 first, class 7 last
    assert score_actions(scores, np.array([0, 4, 5]))["top-5"] == pytest.approx(200 / 3)


def test_equal_scores_do_not_make_a_blind_model_right():
    blind = np.full((6, 6), 1 / 6)
    assert score_actions(blind, np.arange(6))["top-1"] == pytest.approx(100 / 6)
    assert score_actions(blind, np.arange(6))["top-5"] == pytest.approx(500 / 6)


def test_classes_without_videos_have_no_part_in_the_mean():
    assert score_actions(certain([0, 1], 4), np.array([0, 1]))["mean class"] == pytest.approx(100)


def test_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, 60) / 5  # with many ties
    positive = rng.random(60) < 0.4
    pairs = scores[positive][:, None] - scores[~positive]
    expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert roc_auc(scores, positive) == pytest.approx(expected)
    alarms, hits = roc_curve(scores, positive)
    assert np.trapezoid(hits, alarms) == pytest.approx(expected)
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    two = np.stack([1 - scores, scores], 1)
    assert score_actions(two, positive.astype(int))["AUC"] == pytest.approx(100 * expected)


def test_auc_needs_both_kinds():
    assert np.isnan(roc_auc(np.array([0.1, 0.9]), np.array([True, True])))


def test_confusion_and_the_scores_of_classes():
    matrix = confusion_matrix(certain([0, 0, 1, 1, 0], 4), RIGHT)
    np.testing.assert_array_equal(matrix, [[2, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    scores = class_scores(matrix)
    np.testing.assert_allclose(scores["accuracy"], [200 / 3, 100, 0, np.nan])
    np.testing.assert_allclose(scores["precision"], [200 / 3, 50, np.nan, np.nan])
    np.testing.assert_allclose(scores["videos"], [3, 1, 1, 0])


@pytest.mark.parametrize(
    ("scores", "labels", "says"),
    [
        (np.ones((2, 3)), [0], "must be"),
        (np.ones((0, 3)), [], "must be"),
        (np.ones((2, 3)), [0, 3], "label 3 is none of 0-2"),
        (np.ones((2, 3)), [0, -1], "label -1 is none of 0-2"),
        (np.array([[1, 0], [np.nan, 1]]), [0, 1], "video 1 are not finite"),
    ],
)
def test_what_cannot_be_scored_is_one_line(scores, labels, says):
    with pytest.raises(DataError, match=says) as caught:
        score_actions(scores, np.array(labels, int))
    assert "\n" not in str(caught.value)
