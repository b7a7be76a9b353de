"""Learning rates, weight decay and averaged weights, as the official run sets them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from svit.model.video_model import VideoModel
from svit.train.experiment import OptimiserConfig, ScheduleConfig


def parameter_groups(model: VideoModel, settings: OptimiserConfig) -> list[dict[str, Any]]:
    """Groups for an optimiser: `params`, their `names`, `lr`, `weight_decay`, and `peak`, the highest rate.

    The encoder's rate is multiplied by `encoder_factor`, save for its residual blocks and the norms of its
    outputs but the last; everything in encoder and pyramid decays. Neck and head have the full rate, and only
    their kernels decay. Source: S-ViT official settings (semantics, section 7).
    """
    last = f"encoder.norms.{model.config.encoder.outputs[-1]}."
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        rate, decay = settings.rate, settings.weight_decay
        if name.startswith("encoder."):
            fresh = ".residual." in name or (name.startswith("encoder.norms.") and not name.startswith(last))
            rate *= 1.0 if fresh else settings.encoder_factor
        elif not name.startswith("pyramid.") and parameter.ndim == 1:
            decay = 0.0
        empty = {"params": [], "names": [], "lr": rate, "peak": rate, "weight_decay": decay}
        group = groups.setdefault((rate, decay), empty)
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def rate_factor(step: int, steps_per_epoch: float, schedule: ScheduleConfig) -> float:
    """The share of the peak rate in optimiser step `step` (from 0).

    Quadratic rise, cosine down to `least`, constant end. Source: YOLOX's schedule in its official settings.
    """
    total, warm_up, end = (
        steps_per_epoch * epochs
        for epochs in (schedule.epochs, schedule.warm_up_epochs, schedule.constant_epochs)
    )
    if step < warm_up:
        return min(1.0, ((step + 1) / warm_up) ** 2)
    if step + 1 >= total - end:
        return schedule.least
    progress = (step + 1 - warm_up) / (total - warm_up - end)
    return schedule.least + (1 - schedule.least) * (1 + math.cos(math.pi * progress)) / 2


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group's rate to `factor` of its peak."""
    for group in optimiser.param_groups:
        group["lr"] = factor * group["peak"]


class Average:
    """Exponential average of the weights, running statistics included: what is evaluated and shipped.

    A step adds the share m + (1 - m) * exp(-(1 + step) / warm_up) of the new weights, so that the random
    start is soon forgotten. Source: YOLOX's exponential-momentum average; S-ViT official settings, m = 1e-4.

    Args:
        model: its present weights are the start.
        momentum: m.
        warm_up: steps, see above.
    """

    def __init__(self, model: nn.Module, momentum: float, warm_up: float) -> None:
        self.momentum, self.warm_up = momentum, warm_up
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Takes in the weights after step `step` (from 0)."""
        share = self.momentum + (1 - self.momentum) * math.exp(-(1 + step) / self.warm_up)
        now = model.state_dict()
        pairs = [(_own_part(average), _own_part(now[name])) for name, average in self.state.items()]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([average for average, _ in floats], [new for _, new in floats], share)
        for average, new in pairs:
            if not average.is_floating_point():
                average.copy_(new)


def _own_part(tensor: Tensor) -> Tensor:
    """What of a tensor lies in this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """A tensor's parts from all processes together; itself where it is not cut up."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
