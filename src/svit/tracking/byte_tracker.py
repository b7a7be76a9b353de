"""ByteTrack: association of detections to tracks over the frames of one video.

Source: ByteTrack (Zhang et al. 2022, arXiv 2110.06864) with the S-ViT official settings and rules.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import supervision as sv

from svit.errors import UsageError
from svit.tracking import kalman
from svit.tracking.boxes import Indices, to_measurement
from svit.tracking.matching import Candidates
from svit.tracking.observations import Observations, read_detections
from svit.tracking.tracks import Flags, Integers, Tracks

_SETTING = "setting."  # prefix of the settings' names in a state dictionary


@dataclass(frozen=True, slots=True)
class TrackerSnapshot:
    """What a tracker knows after its last frame; copies, so that it stays as it is.

    Attributes:
        frame_index: index of the last frame, -1 before the first.
        ids_given: number of tracks started so far; the next track gets this id.
        ids: (N,) ids of the tracks alive, increasing.
        class_ids: (N,) their classes.
        last_seen: (N,) index of the last frame with a box of the track.
        confirmed: (N,) False for a tentative track.
        means: (N, 8) filter means: centre x, centre y, width / height, height (pixels), then their velocities
            per frame.
        covariances: (N, 8, 8) of the means.
    """

    frame_index: int
    ids_given: int
    ids: Integers
    class_ids: Integers
    last_seen: Integers
    confirmed: Flags
    means: kalman.Floats
    covariances: kalman.Floats


@dataclass(eq=False)
class ByteTracker:
    """Follows objects through ONE video or camera; make a new one for each.

    Each frame, confirmed tracks are predicted and matched to the confident detections; what is left of these
    is matched to the tentative tracks; then weak detections may continue tracks seen in the previous frame.
    Every confident detection without a track starts one. A track that starts in frame 0 is confirmed at once,
    a later one is tentative until it has `tentative_frames` boxes and ends at its first miss. Tracks and
    detections of different classes never match. Memory is bounded by the number of objects of the last
    `retain` frames.

    Attributes:
        high: detections with a larger score are confident, 0 to 1.
        low: detections with a score in (low, high] may continue a track but not start one, 0 to `high`.
        init: score above which detections start tracks while there are none, 0 to 1.
        match_high: smallest similarity of a confident detection and a confirmed track, in (0, 1].
        match_low: smallest intersection over union of a weak detection and a track, in (0, 1].
        match_tentative: smallest similarity of a confident detection and a tentative track, in (0, 1].
        tentative_frames: boxes that a track needs to be confirmed, at least 1.
        report_tentative: tentative tracks are reported too, as the official tracker does; else a track comes
            with the box that confirms it, and a box that is nobody's for a frame or two never gets an id.
        retain: frames after which a track without a box is given up, at least 1.
        fuse_scores: the similarity is intersection over union times the detection's score, else without it.

    Raises:
        UsageError: a setting is out of its range.
    """

    high: float = 0.7
    low: float = 0.1
    init: float = 0.7
    match_high: float = 0.1
    match_low: float = 0.5
    match_tentative: float = 0.3
    tentative_frames: int = 3
    report_tentative: bool = True
    retain: int = 30
    fuse_scores: bool = True
    _tracks: Tracks = field(default_factory=Tracks.none, init=False, repr=False)
    _ids_given: int = field(default=0, init=False, repr=False)
    _frame: int = field(default=-1, init=False, repr=False)
    _warned: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("high", "low", "init"):
            self._require(name, _within(getattr(self, name), 0, 1), "a number from 0 to 1")
        self._require("low", self.low <= self.high, f"at most high ({self.high})")
        for name in ("match_high", "match_low", "match_tentative"):
            valid = _within(getattr(self, name), 0, 1) and getattr(self, name) > 0
            self._require(name, valid, "a number above 0, at most 1")
        for name in ("tentative_frames", "retain"):
            value = getattr(self, name)
            self._require(name, isinstance(value, Integral) and int(value) >= 1, "a whole number, at least 1")

    def update(self, detections: sv.Detections, frame_index: int | None = None) -> sv.Detections:
        """Take the detections of the next frame and return those that belong to a track.

        A detection whose box or score is not finite, or whose box has no positive width and height, is left
        out; the first time this happens to a tracker it warns.

        Args:
            detections: all boxes of the frame, weak ones too: `xyxy` in pixels, `confidence`, and `class_id`
                (None means class 0). Not changed.
            frame_index: index of the frame in its video, from 0, increasing. None means the one after the
                previous call's. Where frames were left out, the time a track may stay unseen counts them.

        Returns:
            The rows of `detections` that belong to a track, confirmed or (with `report_tentative`) tentative,
            with all their fields and `tracker_id`: first confident detections of confirmed tracks, then those
            of tentative and new tracks, then weak ones. Boxes are the detector's, not the filter's.

        Raises:
            UsageError: no confidences, or `frame_index` is not above the previous one.
        """
        frame = self._next_frame(frame_index)
        observed = read_detections(detections)
        self._warn_once(len(detections) - observed.rows.size)
        if len(self._tracks) and observed.rows.size:
            order, track = self._associate(observed)
        else:
            # As in the official tracker, nothing is predicted in a frame without detections.
            order = np.flatnonzero(observed.scores > self.init)
            track = np.full(order.size, -1)
        ids = self._follow(observed, order, track, frame)
        if not self.report_tentative:
            confirmed = np.isin(ids, self._tracks.ids[self._tracks.confirmed])
            order, ids = order[confirmed], ids[confirmed]
        tracked = cast(sv.Detections, detections[observed.rows[order]])
        tracked.tracker_id = ids
        return tracked

    def snapshot(self) -> TrackerSnapshot:
        """Return what the tracker knows after its last frame."""
        tracks = Tracks.from_arrays(self._tracks.arrays())
        return TrackerSnapshot(
            frame_index=self._frame,
            ids_given=self._ids_given,
            ids=tracks.ids,
            class_ids=tracks.class_ids,
            last_seen=tracks.last_seen,
            confirmed=tracks.confirmed,
            means=kalman.mean(tracks.kalman),
            covariances=kalman.covariance(tracks.kalman),
        )

    def state_dict(self) -> dict[str, npt.NDArray[Any] | int | float]:
        """Return everything needed to go on in another process: copies of arrays, and plain numbers.

        The settings are in it as `setting.<name>`, so that a stream cannot go on under other rules unnoticed.
        """
        settings = {_SETTING + name: getattr(self, name) for name in self._setting_names()}
        return {"frame_index": self._frame, "ids_given": self._ids_given, **settings, **self._tracks.arrays()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where the tracker that wrote `state` was; numbers may have become arrays of one number.

        Raises:
            UsageError: `state` is not of a tracker, is damaged, or comes from a tracker with other settings;
                this tracker then stays as it was.
        """
        expected = self.state_dict().keys()
        if state.keys() != expected:
            missing, unexpected = sorted(expected - state.keys()), sorted(state.keys() - expected)
            raise UsageError(f"tracker state: missing keys {missing}, unexpected keys {unexpected}")
        for name in self._setting_names():
            theirs, ours = _number(state, _SETTING + name), getattr(self, name)
            if not math.isclose(theirs, ours, rel_tol=1e-6):
                raise UsageError(f"tracker state: saved with {name}={theirs}, this tracker has {name}={ours}")
        frame, ids_given = int(_number(state, "frame_index")), int(_number(state, "ids_given"))
        self._tracks, self._frame, self._ids_given = Tracks.from_arrays(state), frame, ids_given

    @classmethod
    def _setting_names(cls) -> list[str]:
        return [setting.name for setting in fields(cls) if setting.init]

    def _require(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            raise UsageError(f"tracker: {name} is {getattr(self, name)!r}, expected {expected}")

    def _next_frame(self, frame_index: int | None) -> int:
        if frame_index is None:
            return self._frame + 1
        try:
            frame = operator.index(frame_index)
        except TypeError:
            raise UsageError(f"tracker: frame_index is {frame_index!r}, expected a whole number") from None
        if frame <= self._frame:
            raise UsageError(
                f"tracker: frame_index {frame} does not come after {self._frame};"
                " use a new tracker for a new video"
            )
        return frame

    def _warn_once(self, dropped: int) -> None:
        if dropped and not self._warned:
            self._warned = True
            warnings.warn(
                f"tracker: left out {dropped} detections whose box or score is not finite, or whose box has"
                " no positive width and height; later ones are left out without a word",
                stacklevel=3,
            )

    def _associate(self, observed: Observations) -> tuple[Indices, Indices]:
        """Return the detections to follow in output order, and the row of each one's track or -1."""
        tracks, scores = self._tracks, observed.scores
        seen = tracks.last_seen == self._frame
        tracks.predict(np.flatnonzero(tracks.confirmed), ~seen)
        candidates = Candidates.between(tracks, observed)
        fused = candidates.weighted(scores) if self.fuse_scores else candidates
        track = np.full(scores.size, -1)

        confident = scores > self.high
        fused.match(track, tracks.confirmed, confident, self.match_high)
        first = np.flatnonzero(track >= 0)

        confident[first] = False
        fused.match(track, ~tracks.confirmed, confident, self.match_tentative)

        # An object that was lost for longer would be found again too easily in doubtful detections.
        unmatched = tracks.confirmed & seen
        unmatched[track[first]] = False
        weak = (scores > self.low) & (scores <= self.high)
        candidates.match(track, unmatched, weak, self.match_low)
        order = np.concatenate((first, np.flatnonzero(confident), np.flatnonzero(weak & (track >= 0))))
        return order, track[order]

    def _follow(self, observed: Observations, order: Indices, track: Indices, frame: int) -> Integers:
        """Update, end and start tracks; return the ids of the detections `order`, rows `track` or -1."""
        tracks, boxes = self._tracks, to_measurement(observed.corners[:, order])
        known, new = np.flatnonzero(track >= 0), np.flatnonzero(track < 0)
        rows = track[known]
        tracks.observe(rows, boxes[:, known], frame, self.tentative_frames)
        ids = np.empty(order.size, np.int64)
        ids[known] = tracks.ids[rows]
        alive = (frame - tracks.last_seen < self.retain) & (tracks.confirmed | (tracks.last_seen == frame))
        if not alive.all():
            tracks = tracks.select(alive)
        if new.size:
            confirmed = frame == 0 or self.tentative_frames == 1
            class_ids = observed.class_ids[order[new]]
            born = Tracks.born(self._ids_given, class_ids, boxes[:, new], frame, confirmed)
            ids[new] = born.ids
            tracks = tracks.joined(born)
        self._tracks, self._frame, self._ids_given = tracks, frame, self._ids_given + new.size
        return ids


def _within(value: object, low: float, high: float) -> bool:
    return isinstance(value, Real) and low <= float(value) <= high


def _number(state: Mapping[str, Any], key: str) -> float:
    """Return the one number in `state[key]`, which may have been stored as an array."""
    value = np.asarray(state[key])
    if value.size != 1 or value.dtype.kind not in "biuf":
        raise UsageError(f"tracker state: {key!r} is {value.dtype} {value.shape}, expected one number")
    return cast(float, value.item())
