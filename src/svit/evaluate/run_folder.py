"""The folder of a tracking run: its detections and tracks, sequence by sequence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import nn

from svit.data.datasets import EvalSequence
from svit.evaluate.run_files import RunFiles, whole_file
from svit.weights.files import fingerprint

DETECTIONS, ONLINE, TRACKS = "detections", "online", "tracks"

Rows = npt.NDArray[np.float64]
"""(N, 7): frame (from 1), id, left, top, right, bottom in pixels, score."""


@dataclass(frozen=True)
class SequenceOutput:
    """All that a pass over one sequence leaves, apart from the tracks.

    Attributes:
        frame: (N,) of each detection, from 1 in the whole sequence.
        xyxy: (N, 4) left, top, right, bottom in pixels.
        score: (N,) 0 to 1.
        detector_ms, tracker_ms: (F,) processing time of each frame.
    """

    frame: npt.NDArray[np.int64]
    xyxy: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    detector_ms: npt.NDArray[np.float64]
    tracker_ms: npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunFolder(RunFiles):
    """Where a tracking run's files are; its pieces are sequences."""

    parts: ClassVar[tuple[str, ...]] = (DETECTIONS, ONLINE, TRACKS)

    def files(self, name: str) -> list[Path]:
        """Of a sequence, in the order in which they are written."""
        return [
            self.path / ONLINE / f"{name}.txt",
            self.path / TRACKS / f"{name}.txt",
            self.path / DETECTIONS / f"{name}.npz",
        ]

    def names_in(self, settings: Mapping[str, Any]) -> Iterable[str]:
        """The sequences of the run that had these settings."""
        return list(settings.get("sequences", {}))

    def write(self, name: str, output: SequenceOutput, online: Rows, tracks: Rows) -> None:
        """Writes a sequence; the file that comes last marks it as finished.

        Raises:
            OutputError: it cannot be written.
        """
        for part, rows in ((ONLINE, online), (TRACKS, tracks)):
            with whole_file(self.path / part / f"{name}.txt") as file:
                file.write("".join(map(_mot_line, rows.tolist())).encode())
        with whole_file(self.path / DETECTIONS / f"{name}.npz") as file:
            np.savez(file, settings=np.array(self.key), **vars(output))

    def read(self, name: str) -> SequenceOutput:
        """What `write` wrote of a finished sequence, the tracks apart."""
        with np.load(self.path / DETECTIONS / f"{name}.npz", allow_pickle=False) as arrays:
            return SequenceOutput(**{key: arrays[key] for key in SequenceOutput.__dataclass_fields__})


def run_settings(
    model: nn.Module, config: dict[str, Any], dataset: Sequence[EvalSequence], memory: int, chunk: int
) -> dict[str, Any]:
    """What the results of a run depend on, but for the device and its rounding."""
    weights = model.state_dict()
    settings = {
        "weights": fingerprint(weights),
        "precision": str(next(iter(weights.values())).dtype).removeprefix("torch."),
        "memory": memory,
        "chunk": chunk,
        "model": config,
        "part": ", ".join(sorted({sequence.part for sequence in dataset})),
        "sequences": {each.name: {"first": each.first, "last": each.last} for each in dataset},
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _mot_line(row: list[float]) -> str:
    frame, identity, left, top, right, bottom, score = row
    box = f"{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f}"
    return f"{frame:.0f},{identity:.0f},{box},{score:.4f},-1,-1,-1\n"
