"""Where CrowdHuman's pictures are, and how large: in folders, or still in the official zips."""

from __future__ import annotations

import json
import zipfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from svit.data.prepare.zips import open_zip, picture_entries, zip_errors
from svit.errors import DataError

Size = tuple[int, int]
"""Height and width in pixels."""


def find_zips(root: Path, split: str) -> list[Path]:
    """The official archives of a split: CrowdHuman_train01.zip ..., CrowdHuman_val.zip."""
    return sorted(root.glob(f"CrowdHuman_{split}*.zip"))


class CrowdHumanImages:
    """The pictures of one split; a context manager, which holds its archives open.

    Looked for in this order: SPLIT/Images, SPLIT, Images, CrowdHuman_SPLIT/Images, and what is not there in
    the archives.

    Args:
        root: the data set's folder.
        split: train or val.

    Attributes:
        folder: what file names are relative to: the split's folder if there is one, as in the official
            settings, else the data set's.
        zipped: how many of the pictures asked for were found in an archive only.

    Raises:
        DataError: neither a folder nor an archive is there.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.zipped = 0
        self._zips = find_zips(root, split)
        self._known = _read_sizes(root / f"id_hw_{split}.json")
        self.folder, self._prefix = _find_folder(root, split)
        if not self._zips and not (self.folder / self._prefix).is_dir():
            raise DataError(
                f"{root}: no pictures of {split}; expected the folder {split}/Images or the archives "
                f"CrowdHuman_{split}*.zip"
            )
        self._stack = ExitStack()
        self._entries: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for path in self._zips:
                archive = stack.enter_context(open_zip(path))
                self._entries |= {name: (archive, entry) for name, entry in picture_entries(archive).items()}
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def file_name(self, identity: str) -> str:
        """The picture's path below `folder`."""
        return f"{self._prefix}{identity}.jpg"

    def size(self, identity: str) -> Size:
        """Height and width, from id_hw_SPLIT.json beside the annotations or else from the picture's header.

        Raises:
            DataError: the picture is missing or damaged.
        """
        path, known = self.folder / self.file_name(identity), self._known.get(identity)
        if path.is_file():
            return known or _size_of_file(path)
        if path.name not in self._entries:
            archives = f", nor in {len(self._zips)} archives" if self._zips else ""
            raise DataError(f"{path}: not found{archives}; the picture is missing")
        self.zipped += 1
        return known or _size_of_entry(*self._entries[path.name])


def _find_folder(root: Path, split: str) -> tuple[Path, str]:
    """The folder that file names are relative to, and what they begin with."""
    own, alone = root / split, root / f"CrowdHuman_{split}"
    if (own / "Images").is_dir():
        return own, "Images/"
    if next(own.glob("*.jpg"), None):
        return own, ""
    if (root / "Images").is_dir():
        return root, "Images/"
    return (alone if (alone / "Images").is_dir() else own), "Images/"


def _size_of_file(path: Path) -> Size:
    try:
        with path.open("rb") as file:
            return _size(file, str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _size_of_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Size:
    path = Path(str(archive.filename))
    with zip_errors(path, entry.filename), archive.open(entry) as file:
        return _size(file, f"{path}, {entry.filename}")


def _size(file: IO[bytes], name: str) -> Size:
    """Reads no more than the header."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise DataError(f"{name}: is damaged or no picture") from None


def _read_sizes(path: Path) -> dict[str, Size]:
    """The official {ID: [height, width]}, which spares opening every picture; empty where it is not there.

    Raises:
        DataError: the file is malformed.
    """
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        sizes = {identity: (int(height), int(width)) for identity, (height, width) in known.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is not {{ID: [height, width]}} ({error}); correct or remove it") from None
    bad = next((identity for identity, size in sizes.items() if min(size) < 1), None)
    if bad:
        raise DataError(f"{path}: the size of {bad} is not above 0; correct or remove the file")
    return sizes
