"""Files that appear whole: written beside their name, renamed when finished."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from svit.errors import OutputError

ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "your disk quota is used up; free some space or write elsewhere",
    errno.EFBIG: "the file is larger than allowed here; write elsewhere",
    errno.EACCES: "no permission to write there; write elsewhere or change the permissions",
    errno.EPERM: "no permission to write there; write elsewhere or change the permissions",
    errno.EROFS: "the disk is read-only; write elsewhere",
}


def output_error(path: Path, error: OSError) -> OutputError:
    """One line for a failed write to `path`."""
    advice = ADVICE.get(error.errno or 0) or f"cannot be written ({error.strerror or error}); write elsewhere"
    return OutputError(f"{path}: {advice}")


STDOUT = Path("-")
"""The name that means standard output, in text outputs."""


class PartFile:
    """Where to write an output until it is finished.

    Attributes:
        target: the name the file will have.
        part: the name to write to; the target itself where that is a device or pipe (/dev/stdout).

    Raises:
        OutputError: the target cannot be written: folder missing, no permission, a folder, wrong extension.
    """

    def __init__(self, target: Path, suffixes: tuple[str, ...]) -> None:
        self.target = target
        self.direct = target.exists() and not target.is_file() and not target.is_dir()
        if not self.direct:
            _check(target, suffixes)
        self.part = target if self.direct else target.with_name(f".{target.name}.part")
        try:
            self.part.open("wb").close()
        except OSError as error:
            raise output_error(target, error) from error

    def commit(self) -> None:
        """Gives the part its final name, replacing what was there."""
        if self.direct:
            return
        try:
            self.part.replace(self.target)
        except OSError as error:
            raise output_error(self.target, error) from error

    def discard(self) -> None:
        """Removes the part; the target stays as it was."""
        if not self.direct:
            self.part.unlink(missing_ok=True)


def _check(target: Path, suffixes: tuple[str, ...]) -> None:
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give the name of a file")
    if target.suffix.lower() not in suffixes:
        endings = " or ".join(suffixes)
        raise OutputError(f"{target}: cannot write this kind of file; its name must end in {endings}")
    if not target.parent.is_dir():
        raise OutputError(f"{target}: the folder {target.parent} does not exist; create it first")
    if target.exists() and not os.access(target, os.W_OK):
        raise OutputError(f"{target}: exists and is read-only; choose another name")


class LineFile:
    """A text file of whole lines, whatever happens: a line that cannot be written wholly is taken back.

    The target "-" is standard output, wherever that goes: a file it was redirected to is neither emptied nor
    replaced.
    """

    def __init__(self, target: Path, suffixes: tuple[str, ...]) -> None:
        self._target = target
        self._place = None if target == STDOUT else PartFile(target, suffixes)
        try:
            self._file = self._place.part.open("wb", 0) if self._place else os.fdopen(os.dup(1), "wb", 0)
        except OSError as error:
            raise output_error(target, error) from error
        self._whole = 0

    def append(self, lines: str) -> None:
        """Writes complete lines (each ending in a newline).

        Raises:
            OutputError: the disk is full or the file cannot be written any more.
        """
        data = memoryview(lines.encode())
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            self._take_back()
            raise output_error(self._target, error) from error
        self._whole += len(lines.encode())

    def close(self) -> None:
        """Gives the file its name. Closing twice is fine."""
        if not self._file.closed:
            self._file.close()
            if self._place:
                self._place.commit()

    def discard(self) -> None:
        """Leaves nothing behind."""
        if not self._file.closed:
            self._file.close()
            if self._place:
                self._place.discard()

    def _take_back(self) -> None:
        if self._place and not self._place.direct:
            self._file.truncate(self._whole)
            self._file.seek(self._whole)
