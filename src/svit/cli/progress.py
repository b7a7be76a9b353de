"""A bar on stderr for long work, where stderr is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from svit.video import Source

T = TypeVar("T")


def progress_bar(items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
    """A `svit.types.Progress` that draws a bar with what is left; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=label)


class Pace:
    """Frames since the start, and how many that is a second."""

    def __init__(self) -> None:
        self._started, self.frames = time.monotonic(), 0

    @property
    def rate(self) -> float:
        """Frames per second since the start."""
        return self.frames / max(time.monotonic() - self._started, 1e-9)


@contextmanager
def source_bar(source: Source) -> Iterator[Callable[[str], None]]:
    """A bar with frames/s for a source, or nothing where stderr is no terminal.

    Yields:
        To be called once per frame, with what else is to be said of it.
    """
    if not sys.stderr.isatty():
        yield lambda note: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task, pace = progress.add_task(escape(source.name), total=source.frames), Pace()

        def advance(note: str) -> None:
            pace.frames += 1
            said = f"{pace.rate:5.1f} frames/s {escape(note)}".rstrip()
            progress.update(task, advance=1, description=said)

        yield advance
