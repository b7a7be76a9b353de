"""Identity scores: IDF1, IDP, IDR (Ristani et al., 2016, arXiv 1609.01775), as in TrackEval 1.3.

Each person is given at most one track and the other way round, so that as many boxes as possible agree.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from svit.evaluate.overlaps import THRESHOLD, Ints, Overlaps


def identity_sums(overlaps: Overlaps) -> dict[str, float]:
    """`IDTP`, `IDFN`, `IDFP` of one sequence: boxes, identified, missed, too many."""
    truth, results = overlaps.truth, overlaps.results
    found = overlaps.at_least(THRESHOLD)
    people, tracks = truth.tracks[found.row], results.tracks[found.column]
    keys, together = np.unique(people * max(1, len(results.track_ids)) + tracks, return_counts=True)
    people, tracks = np.divmod(keys, max(1, len(results.track_ids)))
    hits = _largest_sum(people, tracks, together)
    return {"IDTP": hits, "IDFN": len(truth) - hits, "IDFP": len(results) - hits}


def identity_scores(sums: dict[str, float]) -> dict[str, float]:
    """IDF1, IDP and IDR as fractions, from sums of one sequence or several."""
    hits, misses, alarms = sums["IDTP"], sums["IDFN"], sums["IDFP"]
    return {
        "IDF1": hits / max(1.0, hits + 0.5 * alarms + 0.5 * misses),
        "IDP": hits / max(1.0, hits + alarms),
        "IDR": hits / max(1.0, hits + misses),
    }


def _largest_sum(people: Ints, tracks: Ints, together: Ints) -> int:
    """The largest sum of `together` over pairs of which no two share a person or a track.

    Counts are whole numbers, so the largest sum is the same however it is found: here for each group of
    people and tracks that ever met.
    """
    if not len(people):
        return 0
    size = int(people.max()) + 1, int(tracks.max()) + 1
    meetings = coo_array((np.ones(len(people)), (people, size[0] + tracks)), shape=(sum(size), sum(size)))
    _, group = connected_components(meetings, directed=False)
    order = np.argsort(group[people], kind="stable")
    cuts = np.flatnonzero(np.diff(group[people][order])) + 1
    return sum(
        _of_group(people[members], tracks[members], together[members]) for members in np.split(order, cuts)
    )


def _of_group(people: Ints, tracks: Ints, together: Ints) -> int:
    rows, row = np.unique(people, return_inverse=True)
    columns, column = np.unique(tracks, return_inverse=True)
    if 1 in (len(rows), len(columns)):
        return int(together.max())
    counts = np.zeros((len(rows), len(columns)))
    counts[row, column] = together
    return int(counts[linear_sum_assignment(counts, maximize=True)].sum())
