"""The scores of multi-object tracking: HOTA, CLEAR and identity, with the numbers of TrackEval 1.3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from svit.data.mot_files import Rows
from svit.errors import DataError
from svit.evaluate.clear import clear, clear_scores
from svit.evaluate.hota import ALPHAS, CURVES, hota_curves, hota_sums
from svit.evaluate.identity import identity_scores, identity_sums
from svit.evaluate.mot_input import Source, pair_up
from svit.evaluate.mot_rows import Table, scored_overlaps
from svit.evaluate.overlaps import Floats, Ints

__all__ = [
    "ALPHAS",
    "COMBINED",
    "SequenceScore",
    "combine",
    "score_files",
    "score_sequence",
    "score_tracking",
]

COMBINED = "COMBINED"

_COUNTS = ("FP", "FN", "IDs", "MT", "PT", "ML", "Frag", "TP", "IDTP", "IDFN", "IDFP")
_SIZES = ("GT_Dets", "GT_IDs", "Dets", "Tracks")


@dataclass(frozen=True)
class SequenceScore:
    """The scores of one sequence, or of several together.

    Attributes:
        name: the sequence's, or "COMBINED".
        metrics: rates in per cent, unrounded: HOTA, DetA, AssA, LocA, DetRe, DetPr, AssRe, AssPr, OWTA (means
            over the thresholds), MOTA, MOTP, MODA, sMOTA, MOTAL, CLR_Re, CLR_Pr, CLR_F1, IDF1, IDP, IDR;
            counts (int): FP, FN, TP, IDs, MT, PT, ML, Frag, IDTP, IDFP, IDFN, and GT_Dets, GT_IDs, Dets,
            Tracks (boxes and ids that count, of the ground truth and of the results).
        curves: HOTA, DetA, AssA, LocA, DetRe, DetPr, AssRe, AssPr, OWTA at each of `ALPHAS`, (19,), per cent.
        switches: (S, 4) frame, ground truth id, tracker id before, tracker id now; none in "COMBINED", where
            it would not be clear of which sequence.
        misses: (M, 2) frame, ground truth id; none in "COMBINED".
        false_positives: (F, 2) frame, tracker id; none in "COMBINED".
        sums: what the scores follow from; of several sequences, they add up. Single numbers (), and (19,)
            over `ALPHAS`.
    """

    name: str
    metrics: dict[str, float]
    curves: dict[str, Floats]
    switches: Ints
    misses: Ints
    false_positives: Ints
    sums: dict[str, Floats] = field(repr=False)


def score_tracking(
    ground_truth: Source,
    results: Source,
    gt_file: str = "gt.txt",
    benchmark: str | None = None,
    sequences: Sequence[str] | None = None,
) -> dict[str, dict[str, float]]:
    """Scores tracks against ground truth, with the numbers of TrackEval 1.3 (MotChallenge2DBox).

    Args, returned names and errors: see `score_files` and `SequenceScore.metrics`.

    Returns:
        {sequence: {metric: value}}, and the same for "COMBINED": rates in per cent, unrounded; counts int.
    """
    scores = score_files(ground_truth, results, gt_file, benchmark, sequences)
    return {score.name: score.metrics for score in [*scores, combine(scores)]}


def score_files(
    ground_truth: Source,
    results: Source,
    gt_file: str = "gt.txt",
    benchmark: str | None = None,
    sequences: Sequence[str] | None = None,
) -> list[SequenceScore]:
    """Scores each sequence, in the order of their names (of a mapping: its own order).

    Args:
        ground_truth: a folder of sequences (SEQ/gt/gt.txt, SEQ/seqinfo.ini), one sequence's folder, one file,
            rows in memory, or {sequence: one of the last three}. Rows are (N, C): frame (from 1), id, x, y,
            w, h in pixels, then confidence (0: does not count) and class, if there are some.
        results: a folder with SEQ.txt or data/SEQ.txt, a file, rows, or {sequence: file or rows}. A file
            without rows says that nothing was found.
        gt_file: the ground truth's name in SEQ/gt, e.g. "gt_half-val.txt".
        benchmark: whose rules decide which boxes count: MOT15, MOT16, MOT17, MOT20, DanceTrack or SportsMOT.
            None tells it: MOT15 has no classes, MOT20 more distractors (sequences named MOT20-...), and the
            others have the same rules.
        sequences: score only these; None takes all.

    Raises:
        DataError: something is missing or malformed; names the file and the line. Nothing is scored in part.
        UsageError: an unknown benchmark.
    """
    return [
        _score(pair.name, pair.read_truth(), pair.read_results(), pair.length(), benchmark)
        for pair in pair_up(ground_truth, results, gt_file, sequences)
    ]


def score_sequence(
    name: str, gt_rows: Rows, result_rows: Rows, length: int | None = None, benchmark: str | None = None
) -> SequenceScore:
    """Scores one sequence in memory.

    Args:
        name: of the sequence.
        gt_rows: (N, C), see `score_files`.
        result_rows: (M, C), see `score_files`.
        length: frames of the sequence; a row beyond is an error. None where it is not known.
        benchmark: see `score_files`.

    Raises:
        DataError: a malformed row.
        UsageError: an unknown benchmark.
    """
    truth = Table(np.asarray(gt_rows, np.float64), f"ground truth of {name}")
    results = Table(np.asarray(result_rows, np.float64), f"results of {name}")
    return _score(name, truth, results, length, benchmark)


def combine(scores: Sequence[SequenceScore]) -> SequenceScore:
    """The scores of all sequences together, named "COMBINED": TrackEval's COMBINED_SEQ.

    Raises:
        DataError: there are none.
    """
    if not scores:
        raise DataError("there are no sequences to score")
    sums = {key: np.sum([score.sums[key] for score in scores], axis=0) for key in scores[0].sums}
    return _finish(
        COMBINED, sums, np.zeros((0, 4), np.int64), np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64)
    )


def _score(
    name: str, truth: Table, results: Table, length: int | None, benchmark: str | None
) -> SequenceScore:
    overlaps = scored_overlaps(name, truth, results, length, benchmark)
    found = clear(overlaps)
    single: Mapping[str, float] = {
        **found.sums,
        **identity_sums(overlaps),
        "GT_Dets": len(overlaps.truth),
        "GT_IDs": len(overlaps.truth.track_ids),
        "Dets": len(overlaps.results),
        "Tracks": len(overlaps.results.track_ids),
    }
    sums = {**{key: np.array(value, np.float64) for key, value in single.items()}, **hota_sums(overlaps)}
    score = _finish(name, sums, found.switches, found.misses, found.false_positives)
    if not len(overlaps.truth):  # TrackEval's answer for a sequence in which nobody is to be found
        score.metrics.update(dict.fromkeys(("MOTA", "MODA", "sMOTA", "MOTAL"), 0.0))
    return score


def _finish(name: str, sums: dict[str, Floats], switches: Ints, misses: Ints, alarms: Ints) -> SequenceScore:
    single = {key: float(value) for key, value in sums.items() if value.ndim == 0}
    curves = {key: 100 * curve for key, curve in hota_curves(sums).items()}
    rates = {**clear_scores(single), **identity_scores(single)}
    metrics: dict[str, float] = {key: float(curves[key].mean()) for key in CURVES}
    metrics.update({key: 100 * value for key, value in rates.items()})
    metrics.update({key: round(single[key]) for key in (*_COUNTS, *_SIZES)})
    return SequenceScore(name, metrics, curves, switches, misses, alarms, sums)
