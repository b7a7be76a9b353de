"""One optimiser step: clips in, weights changed, losses out. The same on one process or many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from svit.data.augment.multiscale import scale_for
from svit.model.video_model import VideoModel
from svit.train.batches import LoadedBatch, to_device
from svit.train.experiment import Experiment
from svit.train.objective import PARTS, Batch, ClipLoss, pieces
from svit.train.optim import Average, gradient_norm, parameter_groups, rate_factor, set_rates

LOSS_SCALE = 1e-3
"""On the sums of losses, so that half precision can hold their gradients; taken out again before the step."""


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        step: its number, from 0.
        losses: per positive, by name, and their `total`.
        positives: priors that answered for a box, on all processes.
        rate: share of the peak learning rate.
        norm: of the gradient, before clipping.
        size: height and width of the frames.
        flags: what any process asked for: to stop, to save.
        waited: seconds this process waited for clips.
        broken: clips that this process could not read, one line each.
    """

    step: int
    losses: dict[str, float]
    positives: float
    rate: float
    norm: float
    size: tuple[int, int]
    flags: tuple[bool, bool]
    waited: float
    broken: list[str]


class LossError(Exception):
    """The loss is NaN or has exploded.

    Attributes:
        losses: by name.
        batches: this process' clips of the step.
    """

    def __init__(self, losses: dict[str, float], batches: list[Batch]) -> None:
        super().__init__(f"the loss is {losses['total']:g}")
        self.losses, self.batches = losses, batches


class Trainer:
    """A model in training: its optimiser, its averaged weights, and the engine that spreads it.

    Args:
        experiment: the settings.
        model: to train; changed in place.
        engine: one process, or what `torchrun` and `accelerate launch` set up.
        steps_per_epoch: optimiser steps that take in as many clips as an epoch has.

    Attributes:
        loss: the model with its losses, as the engine wraps it.
        optimiser: AdamW, as the engine wraps it.
        average: the averaged weights.
    """

    def __init__(
        self, experiment: Experiment, model: VideoModel, engine: Accelerator, steps_per_epoch: float
    ) -> None:
        self.experiment, self.engine, self.steps_per_epoch = experiment, engine, steps_per_epoch
        self.config = model.config
        model.encoder.checkpointing = experiment.checkpointing
        loss: nn.Module = ClipLoss(model).train()
        if engine.num_processes > 1 and engine.device.type == "cuda":
            loss = nn.SyncBatchNorm.convert_sync_batchnorm(loss)  # type: ignore[no-untyped-call]
        settings = experiment.optimiser
        optimiser = torch.optim.AdamW(parameter_groups(model, settings), settings.rate, settings.betas)
        self.loss, self.optimiser = engine.prepare(loss, optimiser)
        self.average = Average(self.model, experiment.average, experiment.average_warm_up)

    @property
    def model(self) -> VideoModel:
        """The model, out of its wrappings."""
        inner: ClipLoss = self.engine.unwrap_model(self.loss)
        return inner.model

    def step(
        self, step: int, batches: Iterator[LoadedBatch], flags: tuple[bool, bool] = (False, False)
    ) -> StepResult:
        """Takes `accumulate` batches and makes one optimiser step.

        Args:
            step: its number, from 0.
            batches: gives this process' next ones.
            flags: what this process asks for, to stop and to save; all learn of it at the same step.

        Raises:
            LossError: the loss is not finite or beyond `explode`; the weights are what they were.
        """
        size, use_l1 = self._size(step), self._is_plain(step)
        began = time.monotonic()
        loaded = [next(batches) for _ in range(self.experiment.accumulate)]
        waited = time.monotonic() - began
        sums = torch.zeros(len(PARTS) + 1, device=self.engine.device)
        for turn, one in enumerate(loaded):
            self._seed(step, turn)
            batch = to_device(one.batch, self.engine.device, size, self.config.input)
            sums += self._accumulate(batch, use_l1, turn == len(loaded) - 1)
        (*parts, positives), asked = self._over_processes(sums, flags)
        losses = {name: part / max(positives, 1.0) for name, part in zip(PARTS, parts, strict=True)}
        losses["total"] = sum(losses.values())
        if not losses["total"] <= self.experiment.explode:  # NaN is not either
            raise LossError(losses, [one.batch for one in loaded])
        factor = rate_factor(step, self.steps_per_epoch, self.experiment.schedule)
        norm = self._update(step, factor, max(positives, 1.0))
        broken = [line for one in loaded for line in one.broken]
        return StepResult(step, losses, positives, factor, norm, size, asked, waited, broken)

    def _accumulate(self, batch: Batch, use_l1: bool, last: bool) -> Tensor:
        """Forward and backward through a batch; the sums of `ClipLoss`."""
        form, memory = self.experiment.form, None
        sums = torch.zeros(len(PARTS) + 1, device=self.engine.device)
        # Where no gradient flows from frame to frame, each goes back on its own, and frees its activations.
        alone = form == "step" and not self.config.encoder.memory_gradient
        passes = pieces(batch, form) if alone else [batch]
        for number, piece in enumerate(passes):
            together = last and number == len(passes) - 1
            with self._quiet(together), _attention(self.engine.device):
                total, parts, memory = self.loss(piece, use_l1, form, memory)
                self.engine.backward(total * LOSS_SCALE)
            sums += parts
        return sums

    def _quiet(self, together: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients in the last backward pass of a step only."""
        return nullcontext() if together else self.engine.no_sync(self.loss)

    def _update(self, step: int, factor: float, positives: float) -> float:
        """Divides the gradients by the positives of all processes, clips them, and steps."""
        set_rates(self.optimiser, factor)
        self.engine.unscale_gradients(self.optimiser)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        # Engines average over processes; the losses are sums over them.
        torch._foreach_mul_(gradients, self.engine.num_processes / (positives * LOSS_SCALE))
        norm, limit = gradient_norm(gradients), self.experiment.optimiser.clip_norm
        if limit:
            torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.average.update(self.model, step)
        return float(norm)

    def _over_processes(
        self, sums: Tensor, flags: tuple[bool, bool]
    ) -> tuple[list[float], tuple[bool, bool]]:
        """The sums of all processes, and what any of them asked for, in one exchange."""
        together = torch.cat([sums, sums.new_tensor(flags)])
        *total, stop, save = self.engine.reduce(together, reduction="sum").tolist()
        return total, (stop > 0, save > 0)

    def _seed(self, step: int, turn: int) -> None:
        """Dropped paths depend on the place in the run alone, not on what was drawn before."""
        place = turn * self.engine.num_processes + self.engine.process_index
        numbers = np.random.SeedSequence([self.experiment.seed, step, place]).generate_state(1)
        torch.manual_seed(int(numbers[0]))

    def _size(self, step: int) -> tuple[int, int]:
        augment = self.experiment.data.augment
        size = (augment.height, augment.width)
        scales = self.experiment.multi_scale
        return size if scales is None else scale_for(scales, size, step, self.experiment.seed)

    def _is_plain(self, step: int) -> bool:
        schedule = self.experiment.schedule
        return step >= (schedule.epochs - schedule.plain_epochs) * self.steps_per_epoch


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    """On a CPU the fused attention's backward pass is ten times slower than plain matrix products."""
    return sdpa_kernel([SDPBackend.MATH]) if device.type == "cpu" else nullcontext()
