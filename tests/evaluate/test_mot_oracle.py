"""The scorer beside TrackEval on made-up sequences, and what it promises of itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.mot_oracle import assert_equal, made_up, trackeval_scores

from svit.evaluate.mot import SequenceScore, combine, score_sequence


@pytest.mark.parametrize("benchmark", ["MOT15", "MOT17", "MOT20"])
@pytest.mark.parametrize(("objects", "grid"), [(1, 1), (3, 4), (9, 4), (25, 4), (25, 0.25)])
def test_made_up_sequences_score_as_in_trackeval(
    tmp_path: Path, objects: int, grid: float, benchmark: str
) -> None:
    pairs = {f"s{seed}": made_up(100 * objects + seed, 20, objects, grid) for seed in range(3)}
    theirs = trackeval_scores(tmp_path, pairs, 20, benchmark)
    ours = [score_sequence(name, *rows, length=20, benchmark=benchmark) for name, rows in pairs.items()]
    for score in [*ours, combine(ours)]:
        assert_equal(score.metrics, score.curves, theirs[score.name])


def test_equally_good_choices_are_made_as_in_trackeval_to_the_last_bit(tmp_path: Path) -> None:
    # Two choices differ by rounding alone; summing a frame's overlaps in another order gives the other.
    rows = made_up(10335, frames=3, objects=25, grid=4)
    theirs = trackeval_scores(tmp_path, {"s": rows}, 3, "MOT15")
    score = score_sequence("s", *rows, benchmark="MOT15")
    assert_equal(score.metrics, score.curves, theirs["s"])


def test_nobody_to_find_and_nothing_found_score_as_in_trackeval(tmp_path: Path) -> None:
    truth, results = made_up(1)
    of_others = truth.copy()
    of_others[:, 7] = 3
    pairs = {
        "no gt": (truth[:0], results),
        "no results": (truth, results[:0]),
        "neither": (truth[:0], results[:0]),
        "only cars": (of_others, results),
    }
    theirs = trackeval_scores(tmp_path, pairs, 25)
    ours = [score_sequence(name, *rows) for name, rows in pairs.items()]
    for score in [*ours, combine(ours)]:
        assert_equal(score.metrics, score.curves, theirs[score.name])


def test_unsorted_rows_and_float_ids_change_nothing() -> None:
    truth, results = made_up(2)
    first = score_sequence("s", truth, results)
    shuffled = [rows[np.argsort(-rows[:, 0], kind="stable")] for rows in (truth, results)]
    assert score_sequence("s", *shuffled).metrics == first.metrics


def row(frame: int, identity: int, x: float, kind: int = 1, mark: int = 1) -> list[float]:
    return [frame, identity, x, 0, 10, 20, mark, kind, 1]


def result(frame: int, identity: int, x: float) -> list[float]:
    return [frame, identity, x, 0, 10, 20, 1, -1, -1, -1]


def test_failures_are_listed_with_frame_and_ids() -> None:
    truth = [row(frame, 7, 0) for frame in range(1, 7)] + [row(2, 8, 100)]
    results = [result(1, 30, 0), result(2, 30, 0), result(4, 31, 0), result(5, 31, 0), result(5, 40, 300)]
    score = score_sequence("s", np.array(truth, float), np.array(results, float))
    assert score.switches.tolist() == [[4, 7, 30, 31]]
    assert sorted(score.misses.tolist()) == [[2, 8], [3, 7], [6, 7]]
    assert score.false_positives.tolist() == [[5, 40]]
    counts = {name: score.metrics[name] for name in ("IDs", "FN", "FP", "TP", "Frag", "MT", "PT", "ML")}
    # Frame 3 has no results at all, so that the track is not seen as interrupted there.
    assert counts == {"IDs": 1, "FN": 3, "FP": 1, "TP": 4, "Frag": 0, "MT": 0, "PT": 1, "ML": 1}
    together = combine([score])
    assert (together.switches.shape, together.misses.shape) == ((0, 4), (0, 2))


def false_positives(score: SequenceScore) -> float:
    return score.metrics["FP"]


def test_each_benchmark_has_its_distractors_and_ignored_boxes() -> None:
    people = [row(1, 1, 0), row(1, 2, 100, mark=0), row(1, 3, 200, kind=7), row(1, 4, 300, kind=6)]
    truth = np.array(people, float)
    results = np.array([result(1, 9, 0), result(1, 10, 100), result(1, 11, 200), result(1, 12, 300)], float)
    for benchmark in ("MOT16", "MOT17", "DanceTrack", "SportsMOT"):
        score = score_sequence("s", truth, results, benchmark=benchmark)
        # On the zero-marked person and the vehicle: wrong. On the static person: does not count.
        assert (score.metrics["GT_Dets"], false_positives(score), score.metrics["TP"]) == (1, 2, 1)
    assert false_positives(score_sequence("s", truth, results)) == 2
    assert false_positives(score_sequence("MOT20-01", truth, results)) == 1
    assert false_positives(score_sequence("s", truth, results, benchmark="mot20")) == 1
    assert false_positives(score_sequence("MOT20-01", truth, results, benchmark="MOT17")) == 2
    mot15 = score_sequence("s", truth, results, benchmark="MOT15")
    assert (mot15.metrics["GT_Dets"], mot15.metrics["FP"]) == (3, 1)


def test_ground_truth_without_classes_counts_whole() -> None:
    results = np.array([result(1, 9, 0), result(1, 10, 100)], float)
    mot15 = np.array([[1, 1, 0, 0, 10, 20, 1, -3.2, 16.3, 0.4], [1, 2, 100, 0, 10, 20, 0, -1, -1, -1]])
    assert score_sequence("s", mot15, results).metrics["GT_Dets"] == 1
    assert score_sequence("s", mot15[:, :6], results).metrics["MOTA"] == 100


def test_the_scorer_needs_numpy_and_scipy_alone() -> None:
    heavy = ("torch", "cv2", "pandas", "trackeval", "supervision", "av", "PIL", "matplotlib")
    code = f"import sys, svit.evaluate.mot; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
