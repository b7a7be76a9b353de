"""Cameras and network streams: a reader thread decodes as fast as frames come, so none gets old.

By default the reader keeps the newest frame only and the consumer never falls behind; with `every_frame`
it keeps a bounded queue and waits for the consumer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator

from svit.errors import SourceError
from svit.types import Frame
from svit.video.base import Source
from svit.video.decode import Clock, Decoder, Picture, to_rgb
from svit.video.mailbox import Mailbox
from svit.video.reconnect import Reconnect

logger = logging.getLogger(__name__)

QUEUE_FRAMES = 32
"""Frames kept for a slow consumer with `every_frame`; then the reader waits."""

FIRST_FRAME_SECONDS = 20.0
"""How long to wait for a camera's first frame."""

Timed = tuple[Picture, float]
"""A picture with its index in the whole stream and its time in seconds since the first frame."""


class LiveSource(Source):
    """An endless source. Ends only with `close` or a SourceError.

    Timestamps are the stream's; after a reconnection they go on by the wall clock. `Frame.index` counts
    dropped and damaged frames too. All of it is decoded, only the frames handed out are converted.

    Args:
        connect: opens the stream; called again after a lost connection.
        name: how messages call it.
        decoder: already opened by `connect`, if so.
        every_frame: drop nothing; the reader waits for the consumer.
        reconnect: how to try again; None gives up at once (a camera that was unplugged).

    Raises:
        SourceError: on opening, where there is no stream or no frame comes; while iterating, when the
            connection is lost and reconnecting fails.
    """

    def __init__(
        self,
        connect: Callable[[], Decoder],
        name: str,
        decoder: Decoder | None = None,
        *,
        every_frame: bool = False,
        reconnect: Reconnect | None = None,
    ) -> None:
        super().__init__(name, live=True)
        self._connect = connect
        self._reconnect = reconnect or Reconnect(tries=0)
        decoder = decoder or connect()
        self.rate = decoder.rate
        self._clock = Clock(self.rate)
        self._mailbox: Mailbox[Timed] = Mailbox(QUEUE_FRAMES if every_frame else 1, drop_old=not every_frame)
        self._stop = threading.Event()
        self._next_index = 0
        self._thread = threading.Thread(target=self._run, args=(decoder,), name="svit-reader", daemon=True)
        self._thread.start()
        try:
            picture, _ = self._mailbox.peek(FIRST_FRAME_SECONDS)
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise SourceError(f"{name}: no frame came within {FIRST_FRAME_SECONDS:.0f} s") from None
            raise
        self.height, self.width = to_rgb(picture.frame).shape[:2]

    def _read(self) -> Generator[Frame]:
        while (item := self._mailbox.take()) is not None:
            picture, timestamp = item
            yield Frame(to_rgb(picture.frame), picture.index, timestamp)

    def _release(self) -> None:
        self._stop.set()
        self._mailbox.close()
        # A reader inside a network read ends with that read's timeout, without anybody waiting for it.
        self._thread.join(timeout=1.0)

    def _run(self, decoder: Decoder) -> None:
        """The reader thread: whatever goes wrong reaches the consumer, nothing is lost in the thread."""
        try:
            self._follow(decoder)
        except Exception as error:
            self._mailbox.fail(error)

    def _follow(self, decoder: Decoder | None) -> None:
        started = time.monotonic()
        attempts = 0
        while not self._stop.is_set():
            try:
                decoder = decoder or self._connect()
                received = self._pump(decoder)
                attempts = 0 if received else attempts
                why = decoder.broken or "the stream ended"
            except SourceError as error:
                why = str(error).removeprefix(f"{self.name}: ")
            finally:
                if decoder is not None:
                    decoder.close()
                decoder = None
            if self._stop.is_set():
                return
            self._wait_for_retry(attempts, why)
            attempts += 1
            self._clock.restart(time.monotonic() - started)

    def _pump(self, decoder: Decoder) -> bool:
        """Passes on one connection's frames; True if there were any."""
        base = self._next_index
        skipped = self.skipped
        for picture in decoder:
            numbered = Picture(picture.frame, base + picture.index, picture.seconds)
            self._next_index = numbered.index + 1
            self.skipped = skipped + decoder.damaged
            self._mailbox.put((numbered, self._clock.read(picture.seconds)))
            if self._stop.is_set():
                break
        return self._next_index > base

    def _wait_for_retry(self, attempts: int, why: str) -> None:
        if attempts >= self._reconnect.tries:
            tries = f" and {attempts} tries to connect again failed" if attempts else ""
            lost = f"{self.name}: connection lost ({why}){tries}"
            raise SourceError(f"{lost}; check the camera and the network")
        delay = self._reconnect.delay(attempts)
        logger.warning("%s: connection lost (%s); connecting again in %.1f s", self.name, why, delay)
        self._stop.wait(delay)
