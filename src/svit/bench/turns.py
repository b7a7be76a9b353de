"""Variants of one piece of work that take turns, each turn in a process of its own."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ParamSpec

from svit.bench.alone import alone
from svit.bench.rows import CannotMeasureError, Row, Say, timed_row

if TYPE_CHECKING:
    from svit.bench.floor import Product

P = ParamSpec("P")


@dataclass
class Times:
    """What was measured of a piece of work.

    Attributes:
        seconds: of each repeat.
        parts: seconds of a part of it, a list per part.
        memory_bytes: keys and values that it holds.
        products: matrix products and convolutions of one repeat.
        peak_bytes: highest memory of the process, or of the GPU where that was used.
    """

    seconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    memory_bytes: int = 0
    products: Counter[Product] = field(default_factory=Counter)
    peak_bytes: int = 0

    def extend(self, other: Times) -> None:
        """Takes in a further turn."""
        self.seconds += other.seconds
        for name, seconds in other.parts.items():
            self.parts.setdefault(name, []).extend(seconds)
        self.memory_bytes, self.products = other.memory_bytes, other.products
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)


class Turns:
    """Collects the turns of several variants.

    Attributes:
        times: what was measured of each variant so far.
        failed: why a variant cannot be measured.

    Args:
        say: told what is done next.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self.times: dict[str, Times] = {}
        self.failed: dict[str, str] = {}

    def take(self, name: str, work: Callable[P, Times], *args: P.args, **kwargs: P.kwargs) -> None:
        """One turn of a variant; nothing where it has failed before."""
        if name in self.failed:
            return
        self._say(name)
        try:
            done = alone(work, *args, **kwargs)
        except CannotMeasureError as error:
            self.failed[name] = str(error)
            return
        done.result.peak_bytes = done.result.peak_bytes or done.peak_bytes
        self.times.setdefault(name, Times()).extend(done.result)

    def median(self, name: str) -> float | None:
        """Seconds of a variant; None where it was not measured."""
        times = self.times.get(name)
        return statistics.median(times.seconds) if times else None

    def row(self, name: str, what: str, variant: str, reference: str = "", floor: str = "") -> Row:
        """The row of a variant; what is missing is in its note."""
        missing = [
            f"{each}: {self.failed[each]}" for each in (variant, reference, floor) if each in self.failed
        ]
        times = self.times.get(variant)
        if times is None:
            return Row(name, what, note="; ".join(missing))
        row = timed_row(name, what, times.seconds)
        parts = {part: statistics.median(seconds) for part, seconds in times.parts.items()}
        return replace(
            row,
            peak_bytes=times.peak_bytes,
            reference_seconds=self.median(reference),
            floor_seconds=self.median(floor),
            details={"part_seconds": parts} if parts else {},
            note="; ".join(missing),
        )
