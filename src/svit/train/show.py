"""A training on the screen: a bar and the numbers on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from svit.train.loop import Event, Note, Scores
from svit.train.meter import Report


class Screen(Protocol):
    """Where events are shown; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, event: Event) -> None:
        """Shows an event."""
        ...


def open_screen(stream: TextIO, steps: int, done: int) -> Screen:
    """What fits the stream.

    Args:
        stream: to write to.
        steps: of the whole run.
        done: those that an earlier part of the run did.
    """
    return Terminal(stream, steps, done) if stream.isatty() else Lines(stream)


class Lines:
    """One line per event, for a file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, event: Event) -> None:
        """See `Screen`."""
        print(line(event), file=self._stream, flush=True)


class Terminal:
    """A bar with the last report below it; notes and scores scroll by above."""

    def __init__(self, stream: TextIO, steps: int, done: int) -> None:
        self._console = Console(file=stream, highlight=False)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task("steps", total=steps, completed=done)
        self._live = Live(self._bar, console=self._console, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        """See `Screen`."""
        if isinstance(event, Report):
            description = f"steps, epoch {event.epoch:.2f}, {time_left(event.seconds_left)} left"
            self._bar.update(self._task, completed=event.step, description=description)
            self._live.update(Group(self._bar, Text(numbers(event))))
        else:
            self._console.print(Text(line(event)), soft_wrap=True)


def line(event: Event) -> str:
    """An event as a line."""
    if isinstance(event, Note):
        return f"svit: warning: {event.text}" if event.warning else event.text
    if isinstance(event, Scores):
        return f"step {event.step}: {scores_line(event.metrics)}"
    return (
        f"step {event.step}/{event.steps}  epoch {event.epoch:.2f}  {numbers(event)}  "
        f"{time_left(event.seconds_left)} left"
    )


def numbers(report: Report) -> str:
    """Losses, rate and speed of a report."""
    losses = "  ".join(f"{name} {value:.3f}" for name, value in report.losses.items() if value)
    parts = [
        losses,
        f"rate {report.rate:.2e}",
        f"norm {report.norm:.2f}",
        f"{report.samples_per_s:.2f} clips/s",
        f"data {report.data_share:.0%}",
        f"{report.memory_gib:.1f} GiB" if report.memory_gib else "",
        f"{report.broken} broken" if report.broken else "",
    ]
    return "  ".join(filter(None, parts))


def scores_line(metrics: dict[str, float]) -> str:
    """Scores in per cent."""
    return "  ".join(f"{name} {value:.1f}" for name, value in metrics.items())


def last_scores(output: Path) -> dict[str, float] | None:
    """The newest scores in a run's log; None if it was never scored."""
    try:
        records = [json.loads(text) for text in (output / "log.jsonl").read_text().splitlines()]
    except (OSError, ValueError):
        return None
    scored = [record for record in records if "losses" not in record]
    return {name: value for name, value in scored[-1].items() if name != "step"} if scored else None


def time_left(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
