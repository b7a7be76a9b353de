"""The scores of a finished run, from its files: what is scored is what anybody can score again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from svit.data.datasets import EvalSequence
from svit.data.mot_files import Rows, read_rows
from svit.data.people import corners, ignored_rows
from svit.evaluate.detection import FrameBoxes, score_detections
from svit.evaluate.evaluation import Evaluation, Latency, SequenceResult, Speed
from svit.evaluate.mot import SequenceScore, combine, score_sequence
from svit.evaluate.mot_rows import Table, scored_overlaps
from svit.evaluate.online import frames_until_found
from svit.evaluate.overlaps import Boxes, Floats
from svit.evaluate.run_folder import ONLINE, TRACKS, RunFolder, SequenceOutput
from svit.types import Progress


@dataclass(frozen=True)
class _Scored:
    """One sequence's scores, with what those of all together are made of."""

    rate: float
    boxes: list[FrameBoxes]
    tracking: SequenceScore
    online: SequenceScore
    latency: Floats
    output: SequenceOutput

    def result(self) -> SequenceResult:
        return SequenceResult(
            self.tracking.name,
            score_detections(self.boxes),
            self.tracking.metrics,
            self.online.metrics,
            _latency([self]),
            _speed([self]),
        )


def check_ground_truth(dataset: Sequence[EvalSequence]) -> None:
    """Finds what the scorer would refuse before hours are spent on the results.

    Raises:
        DataError: a row that cannot be scored.
    """
    for sequence in dataset:
        score_sequence(sequence.name, sequence.ground_truth, np.zeros((0, 6)), sequence.last)


def score_run(
    model: str, dataset: Sequence[EvalSequence], folder: RunFolder, progress: Progress
) -> Evaluation:
    """Scores every sequence of a run and all of them together.

    Raises:
        DataError: a file of the run is missing or malformed.
        SvitError: faster-coco-eval is not installed.
    """
    scored = [_score(sequence, folder) for sequence in progress(dataset, "scoring", len(dataset))]
    results = tuple(each.result() for each in scored)
    together = combine([each.tracking for each in scored])
    combined = SequenceResult(
        together.name,
        score_detections(frame for each in scored for frame in each.boxes),
        together.metrics,
        combine([each.online for each in scored]).metrics,
        _latency(scored),
        _speed(scored),
    )
    tracking = tuple(each.tracking for each in scored)
    return Evaluation(model, folder.path, folder.settings, results, combined, tracking, together)


def _score(sequence: EvalSequence, folder: RunFolder) -> _Scored:
    truth, output = sequence.ground_truth, folder.read(sequence.name)
    tracks, online = (read_rows(folder.path / part / f"{sequence.name}.txt") for part in (TRACKS, ONLINE))
    people = people_of(sequence.name, truth)
    return _Scored(
        sequence.rate,
        list(frame_boxes(sequence, people, output)),
        score_sequence(sequence.name, truth, tracks, sequence.last),
        score_sequence(sequence.name, truth, online, sequence.last),
        frames_until_found(sequence.name, truth, online),
        output,
    )


def people_of(name: str, truth: Rows) -> Boxes:
    """The boxes of the people that count, by the rules of the tracking scores."""
    nothing = Table(np.zeros((0, 6)), "results")
    return scored_overlaps(name, Table(truth, f"ground truth of {name}"), nothing, None, None).truth


def frame_boxes(sequence: EvalSequence, people: Boxes, output: SequenceOutput) -> Iterator[FrameBoxes]:
    """Frame by frame what the detections are scored against.

    Truth are the people that count; `svit.data.people.ignored_rows` are ignored.
    """
    rows = sequence.ground_truth
    ignored = rows[ignored_rows(rows)]
    truth_boxes, ignored_boxes = corners(people.xywh), corners(ignored[:, 2:6])
    for frame in range(sequence.first, sequence.last + 1):
        found = output.frame == frame
        yield FrameBoxes(
            truth_boxes[people.frames == frame],
            ignored_boxes[ignored[:, 0] == frame],
            output.xyxy[found],
            output.score[found],
        )


def _latency(scored: Sequence[_Scored]) -> Latency:
    frames = np.concatenate([each.latency for each in scored])
    ms = np.concatenate([1000 * each.latency / each.rate for each in scored])
    found = np.isfinite(frames)
    return Latency(_mean(frames[found]), _mean(ms[found]), int(found.sum()), int((~found).sum()))


def _speed(scored: Sequence[_Scored]) -> Speed:
    detector = np.concatenate([each.output.detector_ms for each in scored])
    tracker = np.concatenate([each.output.tracker_ms for each in scored])
    return Speed(len(detector), _mean(detector), _mean(tracker))


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")
