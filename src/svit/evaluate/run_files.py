"""What the folders of all runs have in common: the settings they were made with, and files that are whole."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from svit.errors import OutputError, UsageError
from svit.video.output import PartFile, output_error

SETTINGS, RESULTS = "run.json", "results.json"


@dataclass(frozen=True)
class RunFiles:
    """Where a run's files are; made of pieces (sequences, videos), each with files of its own.

    A kind of run says which folders it has (`parts`), which files a piece has (`files`) and which pieces
    settings speak of (`names_in`).

    Attributes:
        path: the folder.
        settings: what the results depend on, as JSON would give it back.
    """

    path: Path
    settings: dict[str, Any]
    parts: ClassVar[tuple[str, ...]] = ()

    def files(self, name: str) -> list[Path]:
        """Of a piece, in the order in which they are written; the last is an .npz that marks it finished."""
        return [self.path / part / f"{name}.npz" for part in self.parts]

    def names_in(self, settings: Mapping[str, Any]) -> Iterable[str]:
        """The pieces of the run that had these settings."""
        return ()

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
            for part in self.parts:
                (self.path / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(Path(error.filename or self.path), error) from None
        self.write_json(SETTINGS, self.settings)

    def finished(self, name: str) -> bool:
        """Whether all files of a piece are there, made with these settings."""
        if not all(path.is_file() for path in self.files(name)):
            return False
        try:
            with np.load(self.files(name)[-1], allow_pickle=False) as arrays:
                return str(arrays["settings"]) == self.key
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False

    def write_json(self, name: str, content: object) -> None:
        """Writes a JSON file.

        Raises:
            OutputError: it cannot be written.
        """
        with whole_file(self.path / name) as file:
            file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")

    @property
    def key(self) -> str:
        """What files of these settings carry."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()

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
        folders = (self.path / part for part in self.parts)
        return next((folder for folder in folders if folder.exists()), None)

    def _remove(self, before: dict[str, Any] | None) -> None:
        """Removes what an earlier run left, file by file by its own list: nobody else's is touched."""
        for name in self.names_in(before or {}):
            if name == Path(name).name:
                for path in self.files(name):
                    path.unlink(missing_ok=True)
        for name in (RESULTS, SETTINGS):
            (self.path / name).unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
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
