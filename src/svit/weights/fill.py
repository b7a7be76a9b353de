"""Builds a model from the tensors of a checkpoint alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from svit.config import ModelConfig
from svit.model.video_model import VideoModel
from svit.weights.report import LoadReport, check_fit


def fill(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    source: str,
    rename: Callable[[str], str] = lambda own: own,
) -> tuple[VideoModel, LoadReport]:
    """Builds the model of `config` from `tensors`, in fp32, on the CPU and in evaluation mode.

    Args:
        config: the model.
        tensors: exactly the model's, by the names that `rename` gives.
        source: what to call them in a message.
        rename: our name of a tensor -> its name in `tensors`.

    Raises:
        WeightsError: names or shapes are missing or too many; see `check_fit`.
    """
    model = blank_model(config)
    empty = model.state_dict()
    names = {own: rename(own) for own in empty}
    check_fit(source, tensors, {names[own]: tensor.shape for own, tensor in empty.items()})
    # Copies, because tensors mapped from a file change when the file does.
    copies = {own: tensors[names[own]].to(tensor.dtype, copy=True) for own, tensor in empty.items()}
    model.load_state_dict({own: tensor.contiguous() for own, tensor in copies.items()}, assign=True)
    return model.eval(), LoadReport(source, names)


def blank_model(config: ModelConfig) -> VideoModel:
    """The model with no values yet: memory is set aside, but neither written nor, by most systems, taken.

    At full size the random start would take seconds only to be overwritten. The "meta" device is no way
    around it: calculating on it imports PyTorch's compiler, a second at every start.
    """
    with _NoStart():
        return VideoModel(config)


class _NoStart(TorchFunctionMode):
    """Leaves out whatever only gives parameters their first values."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Answers a call of PyTorch made inside the `with` block."""
        if getattr(func, "__module__", None) == "torch.nn.init":
            return None
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))
