"""A model's pass over one sequence: detections, tracks as they were known at the time, timing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import supervision as sv
import torch

from svit.data.datasets import EvalSequence, read_frames
from svit.errors import UsageError
from svit.evaluate.run_folder import RunFolder, SequenceOutput
from svit.model.video_model import VideoModel
from svit.stream import Stream, chunks
from svit.tracking import ByteTracker, interpolate_tracks
from svit.types import Frame, FrameResult

PEOPLE = ("person", "pedestrian")
"""Names of the class that the ground truth is about."""


class _TimedTracker:
    """A tracker that takes the time of each of its frames, milliseconds."""

    def __init__(self, tracker: ByteTracker) -> None:
        self._tracker = tracker
        self.ms: list[float] = []

    def update(self, detections: sv.Detections) -> sv.Detections:
        started = time.perf_counter()
        tracks = self._tracker.update(detections)
        self.ms.append(1000 * (time.perf_counter() - started))
        return tracks


@dataclass
class _Collected:
    """What was found so far, one entry per frame."""

    detections: list[np.ndarray] = field(default_factory=list)
    tracks: list[np.ndarray] = field(default_factory=list)
    detector_ms: list[float] = field(default_factory=list)

    def add(self, frame: Frame, result: FrameResult, person: int | None) -> None:
        self.detections.append(_rows(frame.index + 1, _of_class(result.detections, person)))
        self.tracks.append(_rows(frame.index + 1, _of_class(result.tracks, person)))


@dataclass(frozen=True)
class SequenceJob:
    """What all sequences of a run have in common; see `run_sequence`."""

    folder: RunFolder
    chunk: int
    memory: int

    def run(self, model: VideoModel, piece: EvalSequence) -> Iterator[None]:
        """Computes a sequence; yields once per frame."""
        return run_sequence(model, piece, self.folder, self.chunk, self.memory)


def run_sequence(
    model: VideoModel, sequence: EvalSequence, folder: RunFolder, chunk: int, memory: int
) -> Iterator[None]:
    """Takes a sequence through a model and writes its files to `folder`.

    Args:
        model: with a detector.
        sequence: what to look at; the memory starts at its first frame.
        folder: where the results go when all frames are done.
        chunk: frames at once.
        memory: frames remembered.

    Yields:
        Once per frame, when it is done.

    Raises:
        DataError: a frame is missing.
        SourceError: a frame cannot be read.
        UsageError: the device's memory is too small for the chunk.
        OutputError: the results cannot be written.
    """
    person = person_class(model)
    tracker = _TimedTracker(ByteTracker(**model.config.tracker.model_dump()))
    stream, found = Stream(model, memory, tracker), _Collected()
    for batch in chunks(read_frames(sequence), chunk):
        started, tracked = time.perf_counter(), sum(tracker.ms)
        results = _look(stream, batch, chunk)
        spent = 1000 * (time.perf_counter() - started) - (sum(tracker.ms) - tracked)
        found.detector_ms += [spent / len(batch)] * len(batch)
        for frame, result in zip(batch, results, strict=True):
            found.add(frame, result, person)
            yield
    detections, online = np.concatenate(found.detections), np.concatenate(found.tracks)
    output = SequenceOutput(
        detections[:, 0].astype(np.int64),
        detections[:, 2:6].astype(np.float32),
        detections[:, 6].astype(np.float32),
        np.array(found.detector_ms),
        np.array(tracker.ms),
    )
    folder.write(sequence.name, output, online, interpolate_tracks(online))


def person_class(model: VideoModel) -> int | None:
    """Which of the model's classes are people; None if it has only one class, which then counts.

    Raises:
        UsageError: it has several and none of them is called person or pedestrian; or it has no detector.
    """
    if model.config.detector is None:
        raise UsageError(f"model '{model.config.name}' has no detector, so it cannot be evaluated here")
    names = model.config.detector.class_names
    if len(names) == 1:
        return None
    for number, name in enumerate(names):
        if name.lower() in PEOPLE:
            return number
    raise UsageError(f"model '{model.config.name}' has no class called {' or '.join(PEOPLE)}")


def _look(stream: Stream, batch: list[Frame], chunk: int) -> list[FrameResult]:
    try:
        return stream.chunk([frame.image for frame in batch])
    except torch.OutOfMemoryError:
        raise UsageError(
            f"the device's memory is too small for {chunk} frames at once; choose a smaller --chunk,"
            " --memory or --precision bf16"
        ) from None


def _of_class(detections: sv.Detections, person: int | None) -> sv.Detections:
    if person is None or detections.class_id is None:
        return detections
    kept = detections[detections.class_id == person]
    assert isinstance(kept, sv.Detections)
    return kept


def _rows(frame: int, boxes: sv.Detections) -> np.ndarray:
    """(N, 7): frame, id (-1 without), left, top, right, bottom, score."""
    rows = np.full((len(boxes), 7), -1.0)
    rows[:, 0] = frame
    rows[:, 2:6] = boxes.xyxy
    if boxes.tracker_id is not None:
        rows[:, 1] = boxes.tracker_id
    if boxes.confidence is not None:
        rows[:, 6] = boxes.confidence
    return rows
