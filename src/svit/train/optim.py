"""Learning rates, weight decay and averaged weights, as the official run sets them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from svit.model.video_model import VideoModel
from svit.train.experiment import OptimiserConfig, ScheduleConfig

EMBEDDINGS = ("positions", "key_ages", "value_ages", "queries")
"""Last names of learned vectors that stand in a table: matrices by their shape alone."""


def parameter_groups(model: VideoModel, settings: OptimiserConfig) -> list[dict[str, Any]]:
    """Groups for an optimiser: `params`, their `names`, `lr`, `weight_decay`, and `peak`, the highest rate.

    `official`: the encoder's rate is multiplied by `encoder_factor`, save for its residual blocks and the
    norms of its outputs but the last; everything in encoder and pyramid decays. Neck and head have the full
    rate, and only their kernels decay. Source: S-ViT official settings (semantics, section 7).

    `clip`: what CLIP's image tower has is multiplied by `encoder_factor`, and by `layer_decay` once for the
    last block, twice for the one before, and so on to the embedding; the last norm is above the blocks.
    Everything else, temporal attention included, has the full rate. Vectors and embeddings do not decay.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if settings.groups == "official":
            factor, decays = _official(model, name, parameter)
        else:
            embedding = name.rpartition(".")[2] in EMBEDDINGS
            factor, decays = _of_clip(model, name, settings.layer_decay), parameter.ndim > 1 and not embedding
        rate = settings.rate * (1.0 if factor is None else factor * settings.encoder_factor)
        decay = settings.weight_decay if decays else 0.0
        empty = {"params": [], "names": [], "lr": rate, "peak": rate, "weight_decay": decay}
        group = groups.setdefault((rate, decay), empty)
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _official(model: VideoModel, name: str, parameter: Tensor) -> tuple[float | None, bool]:
    """Factor on the encoder's rate, None for the full rate, and whether it decays."""
    if not name.startswith("encoder."):
        return None, name.startswith("pyramid.") or parameter.ndim != 1
    fresh = ".residual." in name or (name.startswith("encoder.norms.") and not _is_last_norm(model, name))
    return (None if fresh else 1.0), True


def _of_clip(model: VideoModel, name: str, layer_decay: float) -> float | None:
    """Factor on the rate of CLIP's weights; None for what CLIP does not have."""
    depth, added = model.config.encoder.depth, (".residual.", ".query_t.", ".out_t.", ".alpha")
    if not name.startswith("encoder.") or any(part in name for part in added):
        return None
    if name.startswith("encoder.norms."):
        return 1.0 if _is_last_norm(model, name) else None
    below = depth - int(name.split(".")[2]) if name.startswith("encoder.blocks.") else depth + 1
    return layer_decay**below


def _is_last_norm(model: VideoModel, name: str) -> bool:
    return name.startswith(f"encoder.norms.{model.config.encoder.outputs[-1]}.")


def rate_factor(step: int, steps_per_epoch: float, schedule: ScheduleConfig, peak: float = 1.0) -> float:
    """The share of the peak rate in optimiser step `step` (from 0).

    Quadratic rise, cosine down to `least` or `final_rate`, constant end. Source: YOLOX's schedule in its
    official settings.
    """
    total, warm_up, end = (
        steps_per_epoch * epochs
        for epochs in (schedule.epochs, schedule.warm_up_epochs, schedule.constant_epochs)
    )
    final = schedule.final_rate
    least = schedule.least if final is None else min(1.0, final / max(peak, 1e-12))
    if step < warm_up:
        return min(1.0, ((step + 1) / warm_up) ** 2)
    if step + 1 >= total - end:
        return least
    progress = (step + 1 - warm_up) / (total - warm_up - end)
    return least + (1 - least) * (1 + math.cos(math.pi * progress)) / 2


def set_rates(
    optimiser: torch.optim.Optimizer, step: int, steps_per_epoch: float, schedule: ScheduleConfig
) -> None:
    """Sets every group's rate for a step: its share of the group's peak."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * rate_factor(step, steps_per_epoch, schedule, group["peak"])


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
