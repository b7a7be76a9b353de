"""Writing a COCO-video file of any size: records go to disk as they come."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from svit.errors import DataError, OutputError
from svit.video.output import PartFile, output_error

Record = Mapping[str, Any]
"""One entry of a section: a video, an image or an annotation, as in the file."""

SECTIONS = ("videos", "images", "annotations")


class CocoVideoWriter:
    """Writes one COCO-video JSON file, record by record, one record a line.

    Use it as a context manager. The records of each section go to an unnamed temporary file beside the
    target, so they may come in any order and none is kept in memory; leaving the block without an error
    joins them and gives the file its name. On an error nothing is left; a killed run leaves `.NAME.part`.

    Args:
        path: ends in .json; a missing parent folder is made.
        categories: names; their ids count from 1.
        sections: those the file has; one without records is an empty list, one left out is not there.

    Raises:
        OutputError: the path cannot be written, or the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        categories: Sequence[str] = ("pedestrian",),
        sections: Sequence[str] = SECTIONS,
    ) -> None:
        self._path = Path(path)
        with self._disk():
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._place = PartFile(self._path, (".json",))
        self._top: dict[str, Any] = {
            "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)]
        }
        self._counts = dict.fromkeys(sections, 0)
        self._files: dict[str, IO[bytes]] = {}
        self._encode = json.JSONEncoder(allow_nan=False, default=_plain).encode

    def __enter__(self) -> Self:
        # A pipe's folder (/dev) is no place for files.
        folder = None if self._place.direct else self._path.parent
        try:
            with self._disk():
                for section in self._counts:
                    self._files[section] = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)
        except OutputError:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind:
            self._discard()
            return
        try:
            self._join()
        except BaseException:
            self._discard()
            raise
        self._close()
        self._place.commit()

    @property
    def counts(self) -> dict[str, int]:
        """Records written so far, by section."""
        return dict(self._counts)

    def video(self, record: Record) -> None:
        """Adds a video: id, name, fps, width, height and whatever else is known."""
        self._add("videos", record)

    def image(self, record: Record) -> None:
        """Adds an image: id, file_name, width, height, and for a frame video_id and frame_id (from 0)."""
        self._add("images", record)

    def annotation(self, record: Record) -> None:
        """Adds a box: id, image_id, category_id, bbox (x, y, w, h), area, iscrowd; on a track instance_id."""
        self._add("annotations", record)

    def extra(self, key: str, value: object) -> None:
        """Sets a value beside the sections, such as num_instances."""
        self._top[key] = value

    def _add(self, section: str, record: Record) -> None:
        self._counts[section] += 1
        text = self._text(record, f"{section} record {self._counts[section]}")
        with self._disk():
            self._files[section].write(b",\n" if self._counts[section] > 1 else b"\n")
            self._files[section].write(text)

    def _text(self, value: object, what: str) -> bytes:
        try:
            return self._encode(value).encode()
        except (TypeError, ValueError) as error:
            raise DataError(f"{self._path}: {what} cannot be written as JSON: {error}") from None

    def _join(self) -> None:
        """Writes the part: sections one after the other, then what stands beside them."""
        with self._disk(), self._place.part.open("wb") as target:
            categories = self._top.pop("categories")
            target.write(b'{"categories": ' + self._text(categories, "categories"))
            for section, file in self._files.items():
                target.write(f',\n"{section}": ['.encode())
                file.seek(0)
                shutil.copyfileobj(file, target, 1 << 20)
                target.write(b"\n]")
            for key, value in self._top.items():
                target.write(f",\n{json.dumps(key)}: ".encode() + self._text(value, key))
            target.write(b"}\n")

    def _close(self) -> None:
        for file in self._files.values():
            with suppress(OSError):  # a full disk is told where it is noticed, not again here
                file.close()

    def _discard(self) -> None:
        self._close()
        self._place.discard()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise output_error(self._path, error) from error


def _plain(value: object) -> object:
    """Numbers and arrays of numpy as Python's own."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
