"""What was loaded from where, or why it could not be: in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from svit.config import ModelConfig
from svit.errors import WeightsError
from svit.model.video_model import VideoModel

_NAMED = 3


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
        kinds = {"loaded": self.loaded, "fresh": self.fresh, "not used": self.unused}
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in kinds.items() if names)
        return f"{self.source}: tensors: {counts}"

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
            of each; the lines after it list them all.
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
        every = [f"  {kind}: {name}" for kind, names in wrong.items() for name in names]
        raise WeightsError("\n".join([f"{source} does not fit the model: {counts}", *every]))


def fill(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    source: str,
    rename: Callable[[str], str] = lambda own: own,
) -> tuple[VideoModel, LoadReport]:
    """Builds the model of `config` from `tensors` alone, in fp32 and evaluation mode.

    Args:
        config: the model.
        tensors: exactly the model's, by the names that `rename` gives.
        source: what to call them in a message.
        rename: our name of a tensor -> its name in `tensors`.

    Raises:
        WeightsError: as `check_fit`.
    """
    # On no device: at full size a random start would take seconds and 800 MB only to be overwritten.
    with torch.device("meta"):
        model = VideoModel(config)
    empty = model.state_dict()
    names = {own: rename(own) for own in empty}
    check_fit(source, tensors, {names[own]: tensor.shape for own, tensor in empty.items()})
    # Copies, because tensors mapped from a file change when the file does.
    copies = {own: tensors[names[own]].to(tensor.dtype, copy=True) for own, tensor in empty.items()}
    model.load_state_dict({own: tensor.contiguous() for own, tensor in copies.items()}, assign=True)
    return model.eval(), LoadReport(source, names)


def few(names: Collection[str]) -> str:
    """The first names, for a line."""
    return ", ".join(list(names)[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "scalar"
