"""Where the videos of a list are: by path, by the end of a path, or by name."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from svit.data.actions.lists import VIDEO_SUFFIXES
from svit.errors import DataError
from svit.video.images import IMAGE_SUFFIXES


def walk_videos(root: Path) -> list[str]:
    """All videos below a folder: files, and folders that hold images; paths from it, sorted.

    Raises:
        DataError: there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the one that holds the videos")
    return sorted(_walk(root, ""))


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  (a Path for each is slow)
            if entry.name.startswith("."):
                continue
            if suffix in VIDEO_SUFFIXES and entry.is_file():
                yield prefix + entry.name
            elif suffix in IMAGE_SUFFIXES and prefix:
                yield prefix.rstrip("/")  # its folder; the other images need no look
                return
            elif entry.is_dir():
                below.append(entry.name)
    for name in below:
        yield from _walk(folder / name, f"{prefix}{name}/")


class VideoFinder:
    """Finds the videos that lists speak of.

    Spaces and `_` are one in the names of folders, as mmaction2 renames Kinetics' classes. A path's suffix
    need not be the file's. Names that lists give in full (abseiling/x.mp4) must end the file's path, or
    the file's path must end them; where names are unique by themselves (Kinetics' and Something-Something's
    ids), the last part is enough.

    Args:
        root: the folder of the videos.
        paths: all that are there, from `walk_videos`.
        unique: names are unique by themselves.
    """

    def __init__(self, root: Path, paths: Sequence[str], unique: bool) -> None:
        self._root, self._unique = root, unique
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for path in paths:
            self._by_name[_stem(path)].append(path)

    def find(self, names: Sequence[str], hints: Sequence[str] = ()) -> str:
        """The path of a video, from the root; absolute where it lies outside.

        Args:
            names: what it may be called, the likeliest first.
            hints: names of folders (split, class) that decide between files of one name.

        Raises:
            DataError: it is not there, or several files have the name.
        """
        for name in names:
            candidates = self._by_name.get(_stem(name), [])
            if not candidates:
                continue
            ranks = {path: self._rank(path, name, hints) for path in candidates}
            best = max(ranks.values())
            if best[0] == 0:
                continue
            chosen = [path for path, rank in ranks.items() if rank == best]
            if len(chosen) > 1:
                raise DataError(f"several files are called {name}: {', '.join(sorted(chosen)[:3])}")
            return chosen[0]
        for name in names:
            if Path(name).is_absolute() and Path(name).exists():
                return name
        raise DataError(f"{names[0]} is not there, below {self._root}")

    def _rank(self, path: str, name: str, hints: Sequence[str]) -> tuple[int, int, int]:
        """How well a file fits a name: 0 first where it does not."""
        here, asked = _folders(path), _folders(name)
        shared = 0
        while shared < min(len(here), len(asked)) and here[-1 - shared] == asked[-1 - shared]:
            shared += 1
        fits = self._unique or shared == min(len(here), len(asked))
        wanted = {_plain(hint) for hint in hints}
        same_suffix = path.lower().endswith(Path(name).suffix.lower())
        return int(fits) * (1 + shared), sum(folder in wanted for folder in here), int(same_suffix)


def _stem(path: str) -> str:
    """The last part of a path without the suffix of a video."""
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in VIDEO_SUFFIXES else name


def _folders(path: str) -> list[str]:
    return [_plain(part) for part in path.replace("\\", "/").strip("/").split("/")[:-1] if part != "."]


def _plain(name: str) -> str:
    return name.replace("_", " ").lower()
