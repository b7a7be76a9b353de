"""Recorded video: a file, or one served over http with a known length. Every frame is handed out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from pathlib import Path

from svit.errors import SourceError
from svit.types import Frame
from svit.video.base import Source
from svit.video.decode import Clock, Decoder, OpenError, Opening, Picture, to_rgb
from svit.video.reconnect import Reconnect

logger = logging.getLogger(__name__)


class Recording(Source):
    """A video with an end. Timestamps are the container's, relative to the first frame.

    Damaged frames inside are left out, counted in `skipped` and reported once by a log warning at the end.
    A recording that breaks off (cut-off file, lost connection) raises SourceError after its last good frame.

    Args:
        connect: opens it; called again to read on after a lost connection.
        name: how messages call it.
        decoder: already opened by `connect`, if so.
        path: the local file, if it is one.
        reconnect: how to go on after a lost connection; None for local files.
    """

    def __init__(
        self,
        connect: Callable[[], Decoder],
        name: str,
        decoder: Decoder | None = None,
        *,
        path: Path | None = None,
        reconnect: Reconnect | None = None,
    ) -> None:
        super().__init__(name)
        self.ahead = reconnect is None
        self._connect = connect
        self._path = path
        self._reconnect = reconnect
        self._decoder = decoder or connect()
        pictures = iter(self._decoder)
        first = next(pictures, None)
        if first is None:
            self._decoder.close()
            advice = "the file is damaged or incomplete" if path else "download it and give the file's name"
            raise SourceError(f"{name}: no frame can be decoded; {advice}")
        self._pictures: Iterator[Picture] = chain([first], pictures)
        self.height, self.width = to_rgb(first.frame).shape[:2]
        self.rate = self._decoder.rate
        self.frames = self._decoder.frames
        self._clock = Clock(self.rate)
        self._next_index = 0

    def reads(self, path: Path) -> bool:
        """Whether `path` is this video."""
        return self._path is not None and path.resolve() == self._path.resolve()

    def _read(self) -> Generator[Frame]:
        try:
            yield from self._read_on()
        finally:
            if self.skipped:
                logger.warning("%s: left out %d damaged frame(s)", self.name, self.skipped)

    def _read_on(self) -> Generator[Frame]:
        attempts = 0
        while True:
            for picture in self._pictures:
                self.skipped = self._decoder.damaged
                if picture.index >= self._next_index:
                    attempts = 0
                    yield self._frame(picture)
            self.skipped = self._decoder.damaged
            if self._decoder.broken is None:
                return
            attempts = self._resume(self._decoder.broken, attempts)

    def _frame(self, picture: Picture) -> Frame:
        self._next_index = picture.index + 1
        return Frame(to_rgb(picture.frame), picture.index, self._clock.read(picture.seconds))

    def _resume(self, why: str, attempts: int) -> int:
        """Connects again; returns the number of attempts in a row.

        The frames seen before are decoded once more and passed over by their index, because not every server
        can start in the middle.
        """
        broken = SourceError(f"{self.name}: breaks off after {self._next_index} frames ({why})")
        if self._reconnect is None:
            raise broken
        while attempts < self._reconnect.tries:
            logger.warning("%s; connecting again", broken)
            time.sleep(self._reconnect.delay(attempts))
            attempts += 1
            try:
                decoder = self._connect()
            except SourceError:
                continue
            self._decoder.close()
            self._decoder = decoder
            self._pictures = iter(decoder)
            return attempts
        raise SourceError(f"{broken} and {attempts} tries to connect again failed; check the network")

    def _release(self) -> None:
        self._decoder.close()


def open_file(path: Path) -> Recording:
    """Opens a local video file.

    Raises:
        SourceError: missing, empty, unreadable, not a video, or without its index.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError:
        raise SourceError(f"{name}: no such file or folder; check the path") from None
    except OSError as error:
        raise SourceError(f"{name}: cannot be opened ({error.strerror})") from error
    if not head:
        raise SourceError(f"{name}: the file is empty")

    def connect() -> Decoder:
        # "file:" keeps a name such as "10:30.mp4" from being taken for an address.
        return Decoder(f"file:{path}", name, Opening())

    try:
        return Recording(connect, name, path=path)
    except OpenError as error:
        if head[4:8] == b"ftyp":
            why = "its index is missing (moov): the recording or copy was cut off; copy or repair it"
        else:
            why = "not a video file, or damaged; give a video file, a folder of images or a camera"
        raise SourceError(f"{name}: {why}") from error
