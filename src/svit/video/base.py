"""What every source of frames has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from svit.types import Frame

DEFAULT_RATE = 25.0
"""Frames per second assumed where a source does not say."""


class Source(ABC, Iterator[Frame]):
    """An opened video, folder or camera: iterate it once for its frames, close it or use it in a `with`.

    Iterating raises SourceError where the source breaks off; every good frame before that has been
    handed out by then, so results written so far can be finished.

    Attributes:
        name: how messages call the source; a network address without user name and password.
        width, height: of the first frame as handed out (after rotation), pixels. Later frames may differ:
            `Frame.image` always has its true size.
        rate: average frames per second.
        frames: expected number of frames; None where unknown. An estimate, so use it for progress only.
        live: frames come as they happen and are dropped when the consumer is slower (unless opened
            with `every_frame`).
        skipped: damaged frames left out so far.
        ahead: frames may be read ahead by another thread: of files. A camera's would be old when used, and a
            network may keep the thread waiting.
    """

    name: str
    width: int
    height: int
    rate: float
    frames: int | None
    live: bool
    skipped: int
    ahead: bool

    def __init__(self, name: str, *, live: bool = False) -> None:
        self.name = name
        self.live = live
        self.rate = DEFAULT_RATE
        self.frames = None
        self.skipped = 0
        self.ahead = not live
        self._reading: Generator[Frame] | None = None
        self._closed = False

    @abstractmethod
    def _read(self) -> Generator[Frame]:
        """Yields the frames in order."""

    @abstractmethod
    def _release(self) -> None:
        """Gives back files, devices and threads; called once."""

    def reads(self, path: Path) -> bool:
        """Whether `path` is a file this source reads from, which therefore must not be written."""
        return False

    def __next__(self) -> Frame:
        if self._closed:
            raise StopIteration
        if self._reading is None:
            self._reading = self._read()
        return next(self._reading)

    def close(self) -> None:
        """Gives everything back; iterating ends. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        if self._reading is not None:
            self._reading.close()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
