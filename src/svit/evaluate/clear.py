"""CLEAR MOT: MOTA and its parts (Bernardin and Stiefelhagen, 2008), as in TrackEval 1.3.

A person keeps the track of the previous frame where that is possible; the rest is matched by overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from svit.evaluate.matching import certain_pairs, frame_matrices
from svit.evaluate.overlaps import EPS, THRESHOLD, Floats, Ints, Overlaps

_KEPT = 1000.0
"""What continuing the previous frame's match is worth, in units of overlap."""
_MOSTLY_TRACKED, _MOSTLY_LOST = 0.8, 0.2


@dataclass(frozen=True)
class Clear:
    """What CLEAR finds in one sequence.

    Attributes:
        sums: `TP`, `FN`, `FP` (boxes), `IDs` (identity switches), `MT`, `PT`, `ML` (people mostly, partly,
            hardly tracked), `Frag` (times a person's track was taken up again), `MOTP_sum` (overlap of
            the true positives, summed).
        switches: (S, 4) frame, ground truth id, tracker id before, tracker id now.
        misses: (M, 2) frame, ground truth id.
        false_positives: (F, 2) frame, tracker id.
    """

    sums: dict[str, float]
    switches: Ints
    misses: Ints
    false_positives: Ints


def clear(overlaps: Overlaps) -> Clear:
    """Scores one sequence."""
    truth, results = overlaps.truth, overlaps.results
    found = overlaps.at_least(THRESHOLD - EPS)
    matches = _match(found)
    row, column = found.row[matches], found.column[matches]
    missed, alarm = np.ones(len(truth), bool), np.ones(len(results), bool)
    missed[row], alarm[column] = False, False
    switches, fragments = _changes(found, matches)
    mostly, at_all = _tracked(truth.boxes_per_track, truth.tracks[row])
    return Clear(
        {
            "TP": len(matches),
            "FN": int(missed.sum()),
            "FP": int(alarm.sum()),
            "IDs": len(switches),
            "MT": mostly,
            "PT": at_all - mostly,
            "ML": len(truth.track_ids) - at_all,
            "Frag": fragments,
            "MOTP_sum": float(found.iou[matches].sum()),
        },
        switches,
        np.stack((truth.frames[missed], truth.ids[missed]), axis=1),
        np.stack((results.frames[alarm], results.ids[alarm]), axis=1),
    )


def clear_scores(sums: dict[str, float]) -> dict[str, float]:
    """MOTA, MOTP and relatives, as fractions, from sums of one sequence or several."""
    hits, alarms, boxes = sums["TP"], sums["FP"], max(1.0, sums["TP"] + sums["FN"])
    switches = sums["IDs"]
    return {
        "MOTA": (hits - alarms - switches) / boxes,
        "MOTP": sums["MOTP_sum"] / max(1.0, hits),
        "MODA": (hits - alarms) / boxes,
        "sMOTA": (sums["MOTP_sum"] - alarms - switches) / boxes,
        "MOTAL": (hits - alarms - (float(np.log10(switches)) if switches else 0.0)) / boxes,
        "CLR_Re": hits / boxes,
        "CLR_Pr": hits / max(1.0, hits + alarms),
        "CLR_F1": hits / max(1.0, hits + 0.5 * sums["FN"] + 0.5 * alarms),
    }


def _match(found: Overlaps) -> Ints:
    """The pairs that are matched, ascending: all that have no rival, the rest frame by frame."""
    rivals = np.flatnonzero(~found.alone)
    if not rivals.size:
        return np.arange(len(found.row))
    contested, starts = np.unique(found.frames[rivals], return_index=True)
    # Only the frame before counts, and frames without boxes on either side are passed over.
    both = np.intersect1d(found.truth.frames, found.results.frames)
    before = np.concatenate(([0], both))[np.searchsorted(both, contested)]
    first, last = (np.searchsorted(found.frames, before, side).tolist() for side in ("left", "right"))
    keys = found.truth.tracks[found.row] * max(1, len(found.results.track_ids))
    keys += found.results.tracks[found.column]
    # Lists: in a frame there are a few pairs, too few for whole-array steps to pay.
    matched, key = found.alone.tolist(), keys.tolist()
    row, column, iou = found.row.tolist(), found.column.tolist(), found.iou.tolist()
    for frame, start, end, pairs in zip(contested, first, last, np.split(rivals, starts[1:]), strict=True):
        previous = {key[pair] for pair in range(start, end) if matched[pair]}
        scores = {pair: _KEPT * (key[pair] in previous) + iou[pair] for pair in pairs.tolist()}
        chosen = certain_pairs(scores, row, column)
        if chosen is None:
            (matrix,) = frame_matrices(found, np.array([frame]))
            every = range(matrix.pairs.start, matrix.pairs.stop)
            whole = [_KEPT * (key[pair] in previous) + iou[pair] for pair in every]
            # Pairs without a rival are in every best choice, so that only the others are news.
            chosen = [pair for pair in matrix.solve(found, np.array(whole)).tolist() if pair in scores]
        for pair in chosen:
            matched[pair] = True
    return np.flatnonzero(matched)


def _changes(found: Overlaps, matches: Ints) -> tuple[Ints, int]:
    """Identity switches (S, 4), and how often a person's track was taken up again."""
    truth, results = found.truth, found.results
    order = matches[np.argsort(truth.tracks[found.row[matches]], kind="stable")]  # by person, then frame
    row, column = found.row[order], found.column[order]
    same = truth.ids[row][1:] == truth.ids[row][:-1]
    other = results.ids[column][1:] != results.ids[column][:-1]
    switch = np.flatnonzero(same & other) + 1
    switches = np.stack(
        (
            truth.frames[row[switch]],
            truth.ids[row[switch]],
            results.ids[column[switch - 1]],
            results.ids[column[switch]],
        ),
        axis=1,
    )
    both = np.intersect1d(truth.frames, results.frames)
    gap = np.diff(np.searchsorted(both, truth.frames[row])) != 1
    return switches[np.argsort(switches[:, 0], kind="stable")], int((same & gap).sum())


def _tracked(boxes: Ints, matched: Ints) -> tuple[int, int]:
    """How many people are matched in more than 80% of their frames, and in at least 20%."""
    ratio: Floats = np.bincount(matched, minlength=len(boxes)) / boxes
    return int((ratio > _MOSTLY_TRACKED).sum()), int((ratio >= _MOSTLY_LOST).sum())
