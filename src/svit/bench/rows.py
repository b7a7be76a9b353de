"""A measurement's row, and what all measurements are told."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from svit.errors import SvitError

Say = Callable[[str], None]
"""Is told what is measured next."""


class CannotMeasureError(SvitError):
    """Something that cannot be measured here; the run goes on without it and says why."""


@dataclass(frozen=True)
class Settings:
    """What a run is asked for.

    Attributes:
        quick: small sizes and few repeats: every row in seconds, its numbers good for nothing but a look.
        threads: of torch, in every process.
        steps: of the endless stream.
    """

    quick: bool = False
    threads: int = 1
    steps: int = 10_000


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: stable, for programs.
        what: what was measured, for people.
        seconds: median of the repeats; None where the row is about memory alone.
        spread: fastest and slowest repeat, seconds.
        repeats: how many.
        peak_bytes: peak resident memory of the process, or peak memory of the GPU.
        reference_seconds: the plain reference's median, measured in turn with ours.
        floor_seconds: the median of the same matrix products and convolutions alone.
        details: further numbers, each named with its unit.
        note: what is missing and why.
    """

    name: str
    what: str
    seconds: float | None = None
    spread: tuple[float, float] | None = None
    repeats: int = 0
    peak_bytes: int | None = None
    reference_seconds: float | None = None
    floor_seconds: float | None = None
    details: Mapping[str, float | Mapping[str, float]] = field(default_factory=dict)
    note: str = ""

    @property
    def speedup(self) -> float | None:
        """How many times as fast as the reference."""
        return _ratio(self.reference_seconds, self.seconds)

    @property
    def floor_ratio(self) -> float | None:
        """How many times as long as the floor: 1 is the hardware's limit."""
        return _ratio(self.seconds, self.floor_seconds)

    def as_json(self) -> dict[str, object]:
        """The row as one flat object; details keep their names."""
        return {
            "name": self.name,
            "what": self.what,
            "seconds": self.seconds,
            "spread_seconds": self.spread,
            "repeats": self.repeats,
            "peak_bytes": self.peak_bytes,
            "speedup": self.speedup,
            "reference_seconds": self.reference_seconds,
            "floor_ratio": self.floor_ratio,
            "floor_seconds": self.floor_seconds,
            **self.details,
            "note": self.note,
        }


def timed_row(name: str, what: str, seconds: Sequence[float]) -> Row:
    """A row of repeated runs.

    Raises:
        ValueError: there are none.
    """
    spread = (min(seconds), max(seconds))
    return Row(name, what, statistics.median(seconds), spread, len(seconds))


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
