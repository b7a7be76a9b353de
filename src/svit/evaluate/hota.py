"""HOTA: higher order tracking accuracy (Luiten et al., IJCV 2020, arXiv 2009.07736), as in TrackEval 1.3.

A sequence is summed up by numbers that add up over sequences; the scores follow from the sums.
"""

from __future__ import annotations

import numpy as np

from svit.evaluate.matching import best_pairs
from svit.evaluate.overlaps import EPS, Floats, Ints, Overlaps, same_frame

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""The 19 thresholds of overlap, 0.05 to 0.95."""

CURVES = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr", "OWTA")
"""What has a value at each threshold."""

_PAIRWISE = 8
"""numpy adds this many or more contiguous numbers in pairs, not in order."""


def hota_sums(overlaps: Overlaps) -> dict[str, Floats]:
    """The sums of one sequence, each (19,) over `ALPHAS`.

    Returns:
        `HOTA_TP`, `HOTA_FN`, `HOTA_FP`: boxes; `AssA_sum`, `AssRe_sum`, `AssPr_sum`, `LocA_sum`: the scores
        summed over the true positives.
    """
    truth, results = overlaps.truth, overlaps.results
    keys = truth.tracks[overlaps.row] * len(results.track_ids) + results.tracks[overlaps.column]
    couples, couple = np.unique(keys, return_inverse=True)  # a couple: one id of each side
    of_truth = truth.boxes_per_track[couples // max(1, len(results.track_ids))]
    of_results = results.boxes_per_track[couples % max(1, len(results.track_ids))]
    possible = np.bincount(couple, _shares(overlaps), len(couples))
    alignment = possible / (of_truth + of_results - possible)

    matches = best_pairs(overlaps, alignment[couple] * overlaps.iou)
    iou = overlaps.iou[matches]
    passed = np.searchsorted(ALPHAS - EPS, iou, "right")
    matched, of_matched = np.unique(couple[matches], return_inverse=True)
    counts = _at_least(passed, of_matched, len(matched))
    boxes = of_truth[matched][:, None], of_results[matched][:, None]
    hits = counts.sum(axis=0)
    return {
        "HOTA_TP": hits,
        "HOTA_FN": len(truth) - hits,
        "HOTA_FP": len(results) - hits,
        "AssA_sum": (counts * (counts / np.maximum(1, boxes[0] + boxes[1] - counts))).sum(axis=0),
        "AssRe_sum": (counts * (counts / np.maximum(1, boxes[0]))).sum(axis=0),
        "AssPr_sum": (counts * (counts / np.maximum(1, boxes[1]))).sum(axis=0),
        "LocA_sum": _at_least(passed, np.zeros_like(passed), 1, iou)[0],
    }


def hota_curves(sums: dict[str, Floats]) -> dict[str, Floats]:
    """The scores over `ALPHAS`, each (19,) in 0 to 1, from sums of one sequence or several."""
    hits, misses, alarms = sums["HOTA_TP"], sums["HOTA_FN"], sums["HOTA_FP"]
    mean = {name: sums[f"{name}_sum"] / np.maximum(1, hits) for name in ("AssA", "AssRe", "AssPr")}
    accuracy = hits / np.maximum(1, hits + misses + alarms)
    recall = hits / np.maximum(1, hits + misses)
    return {
        "HOTA": np.sqrt(accuracy * mean["AssA"]),
        "DetA": accuracy,
        "AssA": mean["AssA"],
        # 1 where nothing matched
        "LocA": np.maximum(1e-10, sums["LocA_sum"]) / np.maximum(1e-10, hits),
        "DetRe": recall,
        "DetPr": hits / np.maximum(1, hits + alarms),
        "AssRe": mean["AssRe"],
        "AssPr": mean["AssPr"],
        "OWTA": np.sqrt(recall * mean["AssA"]),
    }


def _at_least(passed: Ints, group: Ints, groups: int, weights: Floats | None = None) -> Floats:
    """(groups, 19): for each group and threshold, the matches that passed it, or their weights' sum."""
    size = len(ALPHAS) + 1
    of_number = np.bincount(group * size + passed, weights, groups * size).reshape(groups, size)
    return of_number[:, :0:-1].cumsum(axis=1)[:, ::-1].astype(np.float64)


def _shares(overlaps: Overlaps) -> Floats:
    """(P,) the overlap of each pair, divided by all the overlap that its two boxes have in the frame.

    Rounded as in TrackEval, which sums the lines of each frame's whole matrix: where two choices of pairs are
    equally good but for rounding, the last bit decides which is made.
    """
    row, column, iou = overlaps.row, overlaps.column, overlaps.iou
    first_column, columns = same_frame(overlaps.truth.frames, overlaps.results.frames)
    first_row, rows = same_frame(overlaps.results.frames, overlaps.truth.frames)
    of_row = _sums(row, column - first_column[row], columns, iou)
    # The columns of a frame's matrix are summed in order, except a single one, which is contiguous.
    single = np.zeros(len(rows), bool)
    single[column] = columns[row] == 1
    of_column = _sums(column, row - first_row[column], np.where(single, rows, 0), iou)
    union = of_column[column] + of_row[row] - iou
    shares: Floats = np.where(union > EPS, iou / np.maximum(union, EPS), 0.0)
    return shares


def _sums(box: Ints, position: Ints, lengths: Ints, iou: Floats) -> Floats:
    """Sums of overlaps for each box, rounded as numpy rounds the sum of a whole line of the matrix.

    Args:
        box: (P,) whose overlap it is.
        position: (P,) in the box's line, ascending for each box.
        lengths: (N,) of each box's line, 0 where it is summed in order.
        iou: (P,) overlaps; the rest of the line is 0.
    """
    sums = np.bincount(box, iou, len(lengths)).astype(np.float64)
    # Up to two numbers have the same sum in any order, and short lines are summed in order.
    paired = (np.bincount(box, minlength=len(lengths)) > 2) & (lengths >= _PAIRWISE)
    chosen = paired[box]
    box, position, iou = box[chosen], position[chosen], iou[chosen]
    for length in np.unique(lengths[paired]).tolist():
        boxes = np.flatnonzero(paired & (lengths == length))
        mine = lengths[box] == length
        lines = np.zeros((len(boxes), length))
        lines[np.searchsorted(boxes, box[mine]), position[mine]] = iou[mine]
        sums[boxes] = lines.sum(axis=1)
    return sums
