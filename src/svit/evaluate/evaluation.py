"""What a run of a model over a data set finds, and how it is asked for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svit.evaluate.mot import SequenceScore


@dataclass(frozen=True)
class Latency:
    """How long the tracker takes to find a person: no other scorer tells.

    A person is found at the first frame in which an online box matches it (one to one, IoU >= 0.5); the
    latency is counted from the person's first ground truth frame in the part, so 0 is at once.

    Attributes:
        frames: mean over the people found; NaN if there are none.
        ms: the same in milliseconds of video, by the sequence's frame rate.
        found: people found at some time.
        never: people never found; not part of the means.
    """

    frames: float
    ms: float
    found: int
    never: int


@dataclass(frozen=True)
class Speed:
    """Processing time, measured during the run; reading and decoding of the pictures is not in it.

    Attributes:
        frames: number of frames.
        detector_ms: mean milliseconds per frame of resizing, encoder and detector.
        tracker_ms: mean milliseconds per frame of the association.
    """

    frames: int
    detector_ms: float
    tracker_ms: float


@dataclass(frozen=True)
class SequenceResult:
    """The scores of one sequence, or of all together.

    Attributes:
        name: the sequence's, or "COMBINED".
        detection: of all boxes of the detector, keys as `svit.evaluate.detection.score_detections` gives them
            ("mAP@0.50" ... "mAP@0.80", "AP", "AP50", ...); per cent.
        tracking: of the tracks with their gaps filled after the video's end, keys as `svit.evaluate.mot`
            gives them (HOTA, MOTA, IDF1, FP, ...).
        online: the same of the tracks as they were known at the moment of output.
        latency: of the online tracks.
        speed: measured when the sequence was computed, perhaps in an earlier run that this one went on from.
    """

    name: str
    detection: dict[str, float]
    tracking: dict[str, float]
    online: dict[str, float]
    latency: Latency
    speed: Speed


@dataclass(frozen=True)
class Evaluation:
    """What a run found.

    Attributes:
        model: name of the model's configuration.
        output: the folder with `detections/SEQ.npz`, `online/SEQ.txt`, `tracks/SEQ.txt`, `run.json` and
            `results.json`.
        settings: what the results depend on, as in `run.json`.
        sequences: one per sequence, in the data set's order.
        combined: over all of them, named "COMBINED": detections and tracks pooled, means over all people and
            frames.
        scores: the scorer's full answer for the tracks in `tracks/`, per sequence in the same order, with
            curves, switches, misses and false positives.
        combined_score: the same over all sequences.
    """

    model: str
    output: Path
    settings: dict[str, Any]
    sequences: tuple[SequenceResult, ...]
    combined: SequenceResult
    scores: tuple[SequenceScore, ...]
    combined_score: SequenceScore

    def as_json(self) -> dict[str, Any]:
        """The content of `results.json`: all numbers by sequence and for "COMBINED"; NaN is None."""
        rows = {row.name: _row_as_json(row) for row in (*self.sequences, self.combined)}
        combined = rows.pop(self.combined.name)
        return {
            "model": self.model,
            "settings": self.settings,
            "sequences": rows,
            self.combined.name: combined,
        }


def _row_as_json(row: SequenceResult) -> dict[str, Any]:
    numbers = {key: value for key, value in asdict(row).items() if key != "name"}
    return {
        group: {key: _number(value) for key, value in of_group.items()} for group, of_group in numbers.items()
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
