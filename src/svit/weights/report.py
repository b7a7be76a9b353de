"""What was loaded from where, or why it could not be: in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from svit.errors import WeightsError

_NAMED, _LISTED = 3, 20


@dataclass(frozen=True)
class LoadReport:
    """Where each tensor of a model came from.

    Attributes:
        source: the file.
        loaded: our name -> the file's name, several joined by " + ".
        fresh: our names of the tensors that keep their random start.
        unused: names of the file that the model has no use for.
    """

    source: str
    loaded: dict[str, str]
    fresh: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line."""
        counts = f"{len(self.loaded)} tensors loaded, {len(self.fresh)} start fresh"
        return f"{self.source}: {counts}, {len(self.unused)} of the file not used"

    def __str__(self) -> str:
        lines = [self.summary]
        lines += [f"  loaded   {ours} <- {theirs}" for ours, theirs in self.loaded.items()]
        lines += [f"  fresh    {name}" for name in self.fresh]
        lines += [f"  not used {name}" for name in self.unused]
        return "\n".join(lines)


def check_fit(source: str, found: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raises unless `found` has exactly the expected names and shapes.

    Raises:
        WeightsError: its first line counts the missing, unexpected and mis-shaped names and shows a few
            of each; where there are more, further lines follow.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    reshaped = [
        f"{name} {_shape(found[name].shape)} instead of {_shape(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    wrong = {kind: names for kind, names in kinds.items() if names}
    if wrong:
        counts = "; ".join(f"{len(names)} {kind} ({few(names)})" for kind, names in wrong.items())
        lines = [line for kind, names in wrong.items() if len(names) > _NAMED for line in _more(kind, names)]
        raise WeightsError("\n".join([f"{source} does not fit the model: {counts}", *lines]))


def few(names: Collection[str]) -> str:
    """The first names, for a line."""
    return ", ".join(list(names)[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _more(kind: str, names: list[str]) -> list[str]:
    """The names that a line has no room for."""
    rest = len(names) - _LISTED
    return [f"  {kind}: {name}" for name in names[:_LISTED]] + (
        [f"  {kind}: {rest} more"] if rest > 0 else []
    )


def _shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "scalar"
