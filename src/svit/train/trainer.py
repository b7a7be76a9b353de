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

from svit.allocator import keep_freed_memory
from svit.data.augment.multiscale import scale_for
from svit.model.video_model import VideoModel
from svit.train.batches import LoadedBatch, actions_to_device, to_device
from svit.train.experiment import Experiment, Task
from svit.train.objective import ACTION_PARTS, PARTS, ActionBatch, Batch, ClipLoss, pieces
from svit.train.optim import Average, parameter_groups, rate_factor, set_rates, whole
from svit.train.teacher import Teacher

NAMES: dict[Task, tuple[str, ...]] = {"detection": PARTS, "actions": ACTION_PARTS}
"""Of the losses of each task; its sums are followed by how many they are of: positives, or clips."""

LOSS_SCALE = 1e-3
"""On the sums of losses, so that half precision can hold their gradients; taken out again before the step."""


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        step: its number, from 0.
        losses: by name, the detector's per positive, the actions' per clip; and `total`, their weighted sum.
        positives: priors that answered for a box, on all processes.
        rate: share of the peak learning rate.
        norm: of the gradient, before clipping; a tensor on the device, so that nobody waits for it.
        size: height and width of the frames.
        flags: what any process asked for: to stop, to save.
        waited: seconds this process waited for clips.
        broken: clips that could not be read, on all processes.
        lines: of those of this process, one each.
    """

    step: int
    losses: dict[str, float]
    positives: float
    rate: float
    norm: Tensor
    size: tuple[int, int]
    flags: tuple[bool, bool]
    waited: float
    broken: int
    lines: list[str]


class LossError(Exception):
    """The loss is NaN or has exploded.

    Attributes:
        losses: by name.
        batches: this process' clips of the step.
    """

    def __init__(self, losses: dict[str, float], batches: list[Batch | ActionBatch]) -> None:
        super().__init__(f"the loss is {losses['total']:g}")
        self.losses, self.batches = losses, batches


class Trainer:
    """A model in training: its optimiser, its averaged weights, and the engine that spreads it.

    Args:
        experiment: the settings.
        model: to train; changed in place.
        engine: one process, or what `torchrun` and `accelerate launch` set up.
        steps_per_epoch: optimiser steps that take in as many clips as an epoch has.
        teacher: a finished model to learn from besides.

    Attributes:
        loss: the model with its losses, as the engine wraps it.
        optimiser: AdamW, as the engine wraps it.
        average: the averaged weights.
    """

    def __init__(
        self,
        experiment: Experiment,
        model: VideoModel,
        engine: Accelerator,
        steps_per_epoch: float,
        teacher: Teacher | None = None,
    ) -> None:
        self.experiment, self.engine, self.steps_per_epoch = experiment, engine, steps_per_epoch
        self.config = model.config
        if engine.device.type == "cpu":
            keep_freed_memory()
        model.encoder.checkpointing = experiment.checkpointing
        self.tasks, self.actions = experiment.data.tasks, experiment.data.actions
        if teacher is not None:
            teacher.to(engine.device)
        early = self.actions.partial.early if self.actions else 0.0
        loss: nn.Module = ClipLoss(model, early, teacher).train()
        for part in model.children():
            if not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()  # running statistics are weights too
        if engine.num_processes > 1 and engine.device.type == "cuda":
            loss = nn.SyncBatchNorm.convert_sync_batchnorm(loss)  # type: ignore[no-untyped-call]
        settings = experiment.optimiser
        groups = parameter_groups(model, settings)
        optimiser = torch.optim.AdamW(groups, settings.rate, settings.betas, fused=True)
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
        loaded = [next(batches) for _ in range(self.experiment.accumulate * len(self.tasks))]
        waited = time.monotonic() - began
        sums = {task: torch.zeros(len(NAMES[task]) + 1, device=self.engine.device) for task in self.tasks}
        weight = 1.0
        for turn, one in enumerate(loaded):
            task = self.tasks[turn // self.experiment.accumulate]
            if turn == self.experiment.accumulate:
                weight = self._weight(sums["detection"], loaded[turn:])
            batch = self._to_device(one.batch, size, self._seed(step, turn))
            last = turn == len(loaded) - 1
            sums[task] += self._accumulate(batch, use_l1, self._seed(step, turn), last, weight)
        lines = [line for one in loaded for line in one.broken]
        numbers, (stop, save, broken) = self._over_processes(
            torch.cat([*sums.values()]), (*flags, len(lines))
        )
        losses, count, positives = self._losses(numbers)
        if not losses["total"] <= self.experiment.explode:  # NaN is not either
            raise LossError(losses, [one.batch for one in loaded])
        norm = self._update(step, count)
        factor = rate_factor(
            step, self.steps_per_epoch, self.experiment.schedule, self.experiment.optimiser.rate
        )
        asked = (stop > 0, save > 0)
        return StepResult(step, losses, positives, factor, norm, size, asked, waited, round(broken), lines)

    def _to_device(self, batch: Batch | ActionBatch, size: tuple[int, int], seed: int) -> Batch | ActionBatch:
        device, pixels = self.engine.device, self.config.input
        if isinstance(batch, Batch):
            return to_device(batch, device, size, pixels)
        assert self.actions is not None
        assert self.config.action is not None
        return actions_to_device(
            batch, device, self.actions, len(self.config.action.class_names), pixels, seed
        )

    def _weight(self, detection: Tensor, loaded: list[LoadedBatch]) -> float:
        """What the sum of the actions' losses is multiplied by: gradients are divided by the positives.

        So each task's part becomes its mean, the actions' with their weight.
        """
        assert self.actions is not None
        positives = max(float(self.engine.reduce(detection[-1], reduction="sum")), 1.0)
        clips = sum(len(one.batch.frames) for one in loaded) * self.engine.num_processes
        return float(self.actions.weight * positives / clips)

    def _losses(self, sums: list[float]) -> tuple[dict[str, float], float, float]:
        """Means and their total, from sums over all processes; what gradients are divided by; positives."""
        losses: dict[str, float] = {}
        counts: dict[Task, float] = {}
        for task in self.tasks:
            (*parts, counts[task]), sums = sums[: len(NAMES[task]) + 1], sums[len(NAMES[task]) + 1 :]
            mean = {
                name: part / max(counts[task], 1.0) for name, part in zip(NAMES[task], parts, strict=True)
            }
            losses |= mean
        weights = dict.fromkeys(losses, 1.0)
        if self.actions is not None:
            weight = self.actions.weight if len(self.tasks) > 1 else 1.0
            weights |= {"action": weight, "early": weight * self.actions.partial.early}
        losses["total"] = sum(weights[name] * value for name, value in losses.items())
        return losses, max(counts[self.tasks[0]], 1.0), counts.get("detection", 0.0)

    def _accumulate(
        self, batch: Batch | ActionBatch, use_l1: bool, seed: int, last: bool, weight: float
    ) -> Tensor:
        """Forward and backward through a batch; the sums of `ClipLoss`."""
        form, memory, sums = self.experiment.form, None, torch.zeros((), device=self.engine.device)
        # Where no gradient flows from frame to frame, each goes back on its own, and frees its activations.
        alone = form == "step" and not self.config.encoder.memory_gradient
        passes = pieces(batch, form) if alone and isinstance(batch, Batch) else [batch]
        for number, piece in enumerate(passes):
            with self._quiet(last and number == len(passes) - 1), self.engine.autocast():
                total, parts, memory = self.loss(piece, use_l1, form, memory, seed)
                self.engine.backward(total * (weight * LOSS_SCALE))
            sums = sums + parts
        return sums

    def _quiet(self, together: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients in the last backward pass of a step only."""
        return nullcontext() if together else self.engine.no_sync(self.loss)

    def _update(self, step: int, count: float) -> Tensor:
        """Divides the gradients by `count`, of all processes, clips them, and steps; their norm."""
        set_rates(self.optimiser, step, self.steps_per_epoch, self.experiment.schedule)
        self.engine.unscale_gradients(self.optimiser)
        gradients = self._gradients()
        # Engines average over processes; the losses are sums over them.
        torch._foreach_mul_(gradients, self.engine.num_processes / (count * LOSS_SCALE))
        norm, limit = nn.utils.get_total_norm(gradients), self.experiment.optimiser.clip_norm
        if limit:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), limit, norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._share_statistics()
        self.average.update(self.model, step)
        return whole(norm)

    def _gradients(self) -> list[Tensor]:
        """Of all that is trained; zeros for what no loss depends on (early outputs' norms without detector).

        So the optimiser has a state for every parameter, and a checkpoint is the same whoever wrote it.
        """
        for parameter in self.model.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [p.grad for p in self.model.parameters() if p.grad is not None]

    def _share_statistics(self) -> None:
        """Batch norms' running means and variances become those over all processes.

        On GPUs synchronised batch norm has done so. Elsewhere each process saw its own clips, and which
        process writes a checkpoint or scores must not matter.
        """
        if self.engine.num_processes == 1 or self.engine.device.type == "cuda":
            return
        running = [x for x in self.model.buffers() if x.is_floating_point()]
        if not running:
            return
        together = self.engine.reduce(torch.cat([x.flatten() for x in running]), reduction="mean")
        for buffer, mean in zip(running, together.split([x.numel() for x in running]), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def _over_processes(self, sums: Tensor, asked: tuple[int, ...]) -> tuple[list[float], list[float]]:
        """Both summed over all processes, in one exchange: the one point in a step where all wait."""
        both = torch.cat([sums, torch.tensor(asked, dtype=sums.dtype).to(sums.device, non_blocking=True)])
        together = self.engine.reduce(both, reduction="sum").tolist()
        return together[: len(sums)], together[len(sums) :]

    def _seed(self, step: int, turn: int) -> int:
        """Dropped paths depend on the place in the run alone, not on what was drawn before."""
        place = turn * self.engine.num_processes + self.engine.process_index
        return int(np.random.SeedSequence([self.experiment.seed, step, place]).generate_state(1)[0])

    def _size(self, step: int) -> tuple[int, int]:
        augment = self.experiment.data.augment
        size = (augment.height, augment.width)
        if "detection" not in self.tasks and self.actions is not None:
            return self.actions.size, self.actions.size
        scales = self.experiment.multi_scale
        return size if scales is None else scale_for(scales, size, step, self.experiment.seed)

    def _is_plain(self, step: int) -> bool:
        schedule = self.experiment.schedule
        return step >= (schedule.epochs - schedule.plain_epochs) * self.steps_per_epoch
