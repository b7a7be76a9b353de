"""Ctrl-C and SIGTERM, taken between two results, or between two steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Self, TypeVar

T = TypeVar("T")

STDERR = 2


class StopSignals:
    """Makes Ctrl-C and SIGTERM end a run between two results, so that all outputs end with the same frame.

    The first signal raises KeyboardInterrupt while the next result is awaited. Later ones are ignored: they
    cannot disturb the finishing of files.

    Without `between` nothing is raised, and `received` tells.

    Args:
        notice: said on stderr at the first signal.
    """

    def __init__(self, notice: str = "") -> None:
        self._notice = notice
        self._received = self._awaiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` and background jobs have it
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def received(self) -> bool:
        """Whether a signal has come."""
        return self._received

    def between(self, results: Iterable[T]) -> Iterator[T]:
        """Hands on the results; KeyboardInterrupt comes from here only."""
        iterator = iter(results)
        while True:
            self._awaiting = True
            try:
                if self._received:
                    raise KeyboardInterrupt
                result = next(iterator)
            except StopIteration:
                return
            finally:
                self._awaiting = False
            yield result

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first, self._received = not self._received, True
        if first and self._notice:
            # print() may be in the middle of a line; and tests, for one, replace sys.stderr.
            os.write(STDERR, f"{self._notice}\n".encode())
        if first and self._awaiting:
            raise KeyboardInterrupt
