"""What is wrong with a data set, kind by kind: how often, and some of the cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

SHOWN = 3
"""So many cases of a kind are named."""


@dataclass
class Problem:
    """One kind of problem.

    Attributes:
        kind: what is wrong, such as "missing images".
        count: how many cases there are.
        examples: the first `SHOWN` of them, each naming the record.
    """

    kind: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = [f"... and {self.count - len(self.examples)} more"] if self.count > len(self.examples) else []
        return "\n".join([f"{self.kind}: {self.count}", *(f"  {line}" for line in [*self.examples, *more])])


class Problems:
    """Collects problems.

    Attributes:
        kinds: by their name, in the order they were found.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, Problem] = {}

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Takes note of one case, or of several that one line describes."""
        problem = self.kinds.setdefault(kind, Problem(kind))
        problem.count += count
        if len(problem.examples) < SHOWN:
            problem.examples.append(example)

    def add_rows(self, kind: str, rows: npt.NDArray[np.int64], describe: Callable[[int], str]) -> None:
        """Takes note of a case per row number; `describe` says it of one. A `coco_video.Report`."""
        for row in rows[:SHOWN].tolist():
            self.add(kind, describe(row))
        if len(rows) > SHOWN:
            self.kinds[kind].count += len(rows) - SHOWN
