"""What the preparation of a data set writes: records, whole files, and a line about each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from svit.data.coco_video import CocoVideoWriter
from svit.video.output import PartFile, output_error

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Prepared:
    """One output of a preparation, written or (in a dry run) only counted.

    Attributes:
        path: the file; with a * where it stands for one file per sequence.
        counts: what is in it, in the order to be told: {"images": 15000, "boxes": 438792}.
        images: the folder that the file's `file_name`s start from; None where it has none.
    """

    path: Path
    counts: dict[str, int]
    images: Path | None = None

    def __str__(self) -> str:
        told = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        return f"{self.path}: {told}"


class Nowhere:
    """Stands for a `CocoVideoWriter` in a dry run: takes the same records, writes nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def video(self, record: Record) -> None:
        """Lets it fall."""

    image = annotation = video

    def extra(self, key: str, value: object) -> None:
        """Lets it fall."""


Sink = CocoVideoWriter | Nowhere


def open_sink(path: Path, sections: Sequence[str], dry_run: bool) -> Sink:
    """A writer for `path` with the one category `pedestrian`; in a dry run one that writes nothing."""
    return Nowhere() if dry_run else CocoVideoWriter(path, sections=sections)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that gets its name when the block ends well, and leaves nothing otherwise.

    Raises:
        OutputError: the path cannot be written, or the disk is full.
    """
    place = PartFile(path, (path.suffix.lower(),))
    try:
        with place.part.open("wb") as file:
            yield file
    except OSError as error:
        place.discard()
        raise output_error(path, error) from error
    except BaseException:
        place.discard()
        raise
    place.commit()


def make_folder(path: Path) -> None:
    """Makes the folder that outputs go to, with those above it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise output_error(path, NotADirectoryError(error.errno, "there is a file of this name")) from error
    except OSError as error:
        raise output_error(path, error) from error
