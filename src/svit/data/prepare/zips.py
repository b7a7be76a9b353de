"""Pictures in zip archives: looked at where they are, or unpacked."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from svit.data.bad_rows import BadRows
from svit.data.prepare.outputs import make_folder, whole_file
from svit.errors import DataError
from svit.types import Progress, no_progress

PICTURES = frozenset({".jpg", ".jpeg", ".png"})
CHUNK = 1 << 20

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError)
"""What reading a zip raises that is cut short, damaged, encrypted or packed in an unknown way."""


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive to read from.

    Raises:
        DataError: it is missing, damaged or cut short.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: not found") from None
    except _DAMAGE as error:
        raise DataError(f"{path}: is no whole zip archive ({error}); download it again") from error
    with archive:
        yield archive


@contextmanager
def zip_errors(path: Path, name: str) -> Iterator[None]:
    """Makes one line of what goes wrong when the entry `name` of the archive `path` is read.

    Raises:
        DataError: instead of everything that `zipfile` raises.
    """
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{path}: {name} is damaged ({error}); download the archive again") from error


def picture_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The pictures of an archive by their file name without folders; hidden ones are passed over.

    Raises:
        DataError: an entry's path leads out of the folder it is unpacked to: no archive to be trusted.
    """
    entries = {}
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
            raise DataError(
                f"{archive.filename}: {entry.filename} would be unpacked outside the folder; "
                "this is not the official archive"
            )
        hidden = path.name.startswith(".") or "__MACOSX" in path.parts
        if not entry.is_dir() and not hidden and path.suffix.lower() in PICTURES:
            entries[path.name] = entry
    return entries


def unpack_pictures(
    path: Path,
    folder: Path,
    bad_rows: BadRows,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Unpacks the pictures of an archive into one folder, leaving out the archive's own folders.

    Each file appears whole or not at all, and one that is there in its full size is passed over, so a killed
    run goes on where it was.

    Args:
        path: the archive; it is left as it is.
        folder: where the pictures go; made where it is missing.
        bad_rows: what to do with a picture that is damaged in the archive.
        dry_run: only count.
        progress: told of every picture.

    Returns:
        How many were unpacked, or in a dry run would be.

    Raises:
        DataError: the archive is damaged or not to be trusted.
        OutputError: a picture cannot be written.
    """
    with open_zip(path) as archive:
        entries = picture_entries(archive)
        waiting = {name: entry for name, entry in entries.items() if not _is_there(folder / name, entry)}
        if dry_run or not waiting:
            return len(waiting)
        make_folder(folder)
        unpacked = 0
        for name, entry in progress(waiting.items(), f"unpacking {path.name}", len(waiting)):
            try:
                _unpack(archive, entry, folder / name)
                unpacked += 1
            except DataError as error:
                bad_rows.report(str(error))
    return unpacked


def _is_there(target: Path, entry: zipfile.ZipInfo) -> bool:
    return target.is_file() and target.stat().st_size == entry.file_size


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    with whole_file(target) as file:
        for chunk in _chunks(archive, entry):
            file.write(chunk)


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The entry's contents; at its end the checksum is compared."""
    with zip_errors(Path(str(archive.filename)), entry.filename), archive.open(entry) as source:
        while chunk := source.read(CHUNK):
            yield chunk
