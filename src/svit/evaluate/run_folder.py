"""The folder of a run: which settings it was made with, what is finished, and its files, each whole."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from svit.data.datasets import EvalSequence
from svit.errors import OutputError, UsageError
from svit.video.output import PartFile, output_error

DETECTIONS, ONLINE, TRACKS = "detections", "online", "tracks"
SETTINGS, RESULTS = "run.json", "results.json"

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
class RunFolder:
    """Where a run's files are.

    Attributes:
        path: the folder.
        settings: what the results depend on, as JSON would give it back.
    """

    path: Path
    settings: dict[str, Any]

    def prepare(self, overwrite: bool) -> None:
        """Makes the folder, or checks that a run with the same settings made it.

        Raises:
            UsageError: another run did, or something else; not if `overwrite`: then what a run left is
                removed.
            OutputError: it cannot be written.
        """
        before = self._settings_before()
        differences = [] if before is None else _differences(before, self.settings)
        if before is None and (foreign := self._foreign()) and not overwrite:
            raise UsageError(
                f"{foreign} is there but no {SETTINGS} that tells how it was made; choose another folder"
            )
        if differences and not overwrite:
            found = "; ".join(differences[:3])
            raise UsageError(f"{self.path} holds a run with {found}; choose another folder or --overwrite")
        try:
            if overwrite:
                self._remove(before)
            for part in (DETECTIONS, ONLINE, TRACKS):
                (self.path / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(Path(error.filename or self.path), error) from None
        self.write_json(SETTINGS, self.settings)

    def finished(self, name: str) -> bool:
        """Whether all files of a sequence are there, made with these settings."""
        if not all(path.is_file() for path in self._files(name)):
            return False
        try:
            with np.load(self._files(name)[-1], allow_pickle=False) as arrays:
                return str(arrays["settings"]) == self._key
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False

    def write(self, name: str, output: SequenceOutput, online: Rows, tracks: Rows) -> None:
        """Writes a sequence; the file that comes last marks it as finished.

        Raises:
            OutputError: it cannot be written.
        """
        for part, rows in ((ONLINE, online), (TRACKS, tracks)):
            with _whole(self.path / part / f"{name}.txt") as file:
                file.write("".join(map(_mot_line, rows.tolist())).encode())
        with _whole(self.path / DETECTIONS / f"{name}.npz") as file:
            np.savez(file, settings=np.array(self._key), **vars(output))

    def read(self, name: str) -> SequenceOutput:
        """What `write` wrote of a finished sequence, the tracks apart."""
        with np.load(self.path / DETECTIONS / f"{name}.npz", allow_pickle=False) as arrays:
            return SequenceOutput(**{key: arrays[key] for key in SequenceOutput.__dataclass_fields__})

    def write_json(self, name: str, content: object) -> None:
        """Writes a JSON file.

        Raises:
            OutputError: it cannot be written.
        """
        with _whole(self.path / name) as file:
            file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")

    @property
    def _key(self) -> str:
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

    def _files(self, name: str) -> list[Path]:
        """Of a sequence, in the order in which they are written."""
        return [
            self.path / ONLINE / f"{name}.txt",
            self.path / TRACKS / f"{name}.txt",
            self.path / DETECTIONS / f"{name}.npz",
        ]

    def _settings_before(self) -> dict[str, Any] | None:
        path = self.path / SETTINGS
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise OutputError(f"{self.path}: is a file; give a folder") from None
        except (OSError, ValueError):
            values = None
        if not isinstance(values, dict):
            raise UsageError(f"{path}: is not what an evaluation writes; choose another folder")
        return values

    def _foreign(self) -> Path | None:
        """Something in the place of a run's files."""
        folders = (self.path / part for part in (DETECTIONS, ONLINE, TRACKS))
        return next((folder for folder in folders if folder.exists()), None)

    def _remove(self, before: dict[str, Any] | None) -> None:
        """Removes what an earlier run left, file by file by its own list: nobody else's is touched."""
        for name in (before or {}).get("sequences", {}):
            if name == Path(name).name:
                for path in self._files(name):
                    path.unlink(missing_ok=True)
        for name in (RESULTS, SETTINGS):
            (self.path / name).unlink(missing_ok=True)


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


def fingerprint(tensors: dict[str, torch.Tensor]) -> str:
    """Tells weights from others: a hash of every tensor's name, type, shape and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """One short text per setting that differs, by its dotted name."""
    found = []
    for key in [*now, *(key for key in before if key not in now)]:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} {_short(old)}, now {_short(new)}")
    return found


def _short(value: object) -> str:
    return "not there" if value is None else "other" if isinstance(value, dict) else str(value)


def _mot_line(row: list[float]) -> str:
    frame, identity, left, top, right, bottom, score = row
    box = f"{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f}"
    return f"{frame:.0f},{identity:.0f},{box},{score:.4f},-1,-1,-1\n"


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when all is written, and not at all otherwise."""
    place = PartFile(path, (path.suffix,))
    try:
        with place.part.open("wb") as file:
            yield file
        place.commit()
    except OSError as error:
        place.discard()
        raise output_error(path, error) from None
    except BaseException:
        place.discard()
        raise
