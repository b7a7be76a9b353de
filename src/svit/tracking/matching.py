"""Which detection may be which track: similarities of tracks and detections, and one stage of matching."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from svit.tracking.assignment import assign
from svit.tracking.boxes import Indices, overlapping_pairs, to_corners
from svit.tracking.kalman import POSITION
from svit.tracking.observations import Observations
from svit.tracking.tracks import Flags, Tracks


class Candidates(NamedTuple):
    """The P pairs of a track and a detection that overlap and are of the same class.

    Attributes:
        track: (P,) rows of the tracks.
        detection: (P,) rows of the detections.
        similarity: (P,) of each pair, 0 to 1.
    """

    track: Indices
    detection: Indices
    similarity: npt.NDArray[np.float32]

    @classmethod
    def between(cls, tracks: Tracks, observed: Observations) -> Candidates:
        """Return the candidates, their similarity being the intersection over union."""
        pairs = overlapping_pairs(to_corners(tracks.kalman[POSITION]), observed.corners)
        candidates = cls(*pairs)
        same = tracks.class_ids[candidates.track] == observed.class_ids[candidates.detection]
        return candidates if same.all() else candidates._only(np.flatnonzero(same))

    def weighted(self, scores: npt.NDArray[np.float32]) -> Candidates:
        """Return the same pairs with each similarity multiplied by its detection's score, `scores` (M,)."""
        return self._replace(similarity=self.similarity * scores[self.detection])

    def match(self, owner: Indices, tracks: Flags, detections: Flags, minimum: float) -> None:
        """Give detections to tracks, one each, so that the sum of (similarity - minimum) is largest.

        Args:
            owner: (M,) row of each detection's track, written where this stage matches one.
            tracks: (N,) True for the tracks that take part.
            detections: (M,) True for the detections that take part.
            minimum: the smallest similarity of a match.
        """
        # One step of single precision lower: a pair that is exactly at the minimum still gains something.
        floor = np.nextafter(np.float32(minimum), np.float32(0))
        possible = np.flatnonzero(tracks[self.track] & detections[self.detection] & (self.similarity > floor))
        if not possible.size:
            return
        stage = self._only(possible)
        gain = stage.similarity.astype(np.float64) - floor
        track, detection = assign(stage.track, stage.detection, gain, (tracks.size, detections.size))
        owner[detection] = track

    def _only(self, keep: Indices) -> Candidates:
        return Candidates(self.track[keep], self.detection[keep], self.similarity[keep])
