"""`svit track --detections`: the tracker alone, without pictures and without a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svit.cli.progress import progress_bar
from svit.errors import OutputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from svit.data.detections import SequenceDetections
    from svit.video import MotWriter

High = Annotated[
    float | None,
    typer.Option(help="Boxes above this score start tracks, 0 to 1; else the model's or 0.7."),
]
Low = Annotated[
    float | None, typer.Option(help="Boxes down to this score continue tracks; else the model's or 0.1.")
]
Init = Annotated[
    float | None, typer.Option(help="As --high while nothing is tracked; else the model's or 0.7.")
]
Detections = Annotated[
    Path | None, typer.Option(help="Instead of SOURCE: boxes to track, a det.txt or a folder of sequences.")
]
Scores = Annotated[
    str, typer.Option(help="Of --detections: keep (0 to 1), sigmoid (of raw ones, as DPM's) or one.")
]
Interpolate = Annotated[bool, typer.Option("--interpolate", help="Of --detections: fill the gaps of tracks.")]

STDOUT = Path("-")


@dataclass
class ReplayOptions:
    """How detections are tracked; see `svit.data.detections.read_detections` and `ByteTracker`.

    Attributes:
        scores: what is done with the file's scores.
        interpolate: fill the gaps of the tracks afterwards.
        thresholds: the tracker's settings that differ from the official ones.
    """

    scores: str = "keep"
    interpolate: bool = False
    thresholds: dict[str, Any] = field(default_factory=dict)


def replay(given: Path, mot: Path | None, options: ReplayOptions) -> int:
    """Tracks the detections of a file, or of every sequence of a folder, into MOT files."""
    from svit.data.detections import find_detections, read_detections
    from svit.tracking import ByteTracker

    ByteTracker(**options.thresholds)  # a wrong setting is told before anything is read
    found = find_detections(given)
    several = given.is_dir() and found[0].parts[len(given.parts) :] != ("det", "det.txt")
    # All is read before anything is written: what cannot be read leaves no half of the results.
    sequences = [read_detections(path, options.scores) for path in found]
    target = _target(given, mot, sequences, several)
    outputs = [target / f"{each.name}.txt" if several else target for each in sequences]
    _refuse_inputs(sequences, outputs)
    tracks = 0
    for each, path in progress_bar(zip(sequences, outputs, strict=True), "tracking", len(sequences)):
        tracks += _replay_one(each, path, options)
    frames = sum(each.frames for each in sequences)
    _summarise(target, len(sequences) if several else 0, f"{frames} frames, {tracks} tracks")
    return 0


def _summarise(target: Path, sequences: int, counts: str) -> None:
    """Prints what was written; `sequences` is 0 where it is one file and no folder."""
    stream = sys.stderr if target == STDOUT else sys.stdout
    if target != STDOUT:
        print(f"{'MOT files:' if sequences else 'MOT file:':<15}{target}", file=stream)
    several = f"{sequences} sequence{'s' * (sequences > 1)}, " if sequences else ""
    print(f"{'summary:':<15}{several}{counts}", file=stream)


def _target(given: Path, mot: Path | None, sequences: list[SequenceDetections], several: bool) -> Path:
    """The file to write, or the folder, which is made."""
    if not several:
        return mot or Path(f"{sequences[0].name}_tracks.txt")
    if mot == STDOUT:
        raise UsageError(f"{given} has {len(sequences)} sequences, for which --mot names a folder")
    folder = mot or Path(f"{given.resolve().name}_tracks")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}; choose another with --mot"
        ) from None
    return folder


def _refuse_inputs(sequences: list[SequenceDetections], outputs: list[Path]) -> None:
    inputs = {each.path.resolve() for each in sequences}
    for path in outputs:
        if path.resolve() in inputs:
            raise OutputError(f"{path}: is the input; choose another name for the output with --mot")


def _replay_one(sequence: SequenceDetections, path: Path, options: ReplayOptions) -> int:
    """Writes one sequence's tracks and returns how many there are."""
    from svit.tracking import ByteTracker, interpolate_tracks, track_detections

    with _whole_file(path) as writer:
        rows = track_detections(sequence.rows, ByteTracker(**options.thresholds), sequence.frames)
        rows = interpolate_tracks(rows) if options.interpolate else rows
        _write(writer, rows)
    return len(set(rows[:, 1].tolist()))


@contextmanager
def _whole_file(path: Path) -> Iterator[MotWriter]:
    """A file that appears when all is written, and not at all otherwise: a cut one looks like a whole one."""
    from svit.video import MotWriter

    writer = MotWriter(path)
    try:
        yield writer
        writer.close()
    except BaseException:
        writer.discard()
        raise


def _write(writer: MotWriter, rows: npt.NDArray[np.float64]) -> None:
    import numpy as np
    import supervision as sv

    from svit.types import FrameResult

    nothing, no_image = sv.Detections.empty(), np.zeros((0, 0, 3), np.uint8)
    frames, begins = np.unique(rows[:, 0].astype(int), return_index=True)
    for frame, part in zip(frames.tolist(), np.split(rows, begins[1:]), strict=False):
        tracks = sv.Detections(xyxy=part[:, 2:6], confidence=part[:, 6], tracker_id=part[:, 1].astype(int))
        writer.write(FrameResult(frame - 1, 0.0, nothing, tracks, no_image))
