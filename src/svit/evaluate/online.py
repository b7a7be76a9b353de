"""What a live viewer gets: how long it takes until a person has a track."""

from __future__ import annotations

import numpy as np

from svit.data.mot_files import Rows
from svit.evaluate.matching import best_pairs
from svit.evaluate.mot_rows import Table, scored_overlaps
from svit.evaluate.overlaps import THRESHOLD, Floats


def frames_until_found(name: str, truth: Rows, online: Rows) -> Floats:
    """For each person that counts, the frames from the first appearance to the first box that matches.

    Boxes are matched one to one in each frame, at an intersection over union of at least 0.5.

    Args:
        name: of the sequence.
        truth: (N, C) rows of the ground truth, see `svit.evaluate.mot.score_files`.
        online: (M, C) rows of the tracks as they were known at each frame.

    Returns:
        (P,) frames, 0 is at once, NaN is never; in the order of the ids.

    Raises:
        DataError: a malformed row.
    """
    truth_table = Table(truth, f"ground truth of {name}")
    overlaps = scored_overlaps(name, truth_table, Table(online, f"online tracks of {name}"), None, None)
    near, people = overlaps.at_least(THRESHOLD), overlaps.truth
    matched = near.row[best_pairs(near, near.iou)]
    first, found = (np.full(len(people.track_ids), np.inf) for _ in range(2))
    np.minimum.at(first, people.tracks, people.frames)
    np.minimum.at(found, people.tracks[matched], people.frames[matched])
    return np.where(np.isfinite(found), found - first, np.nan)
