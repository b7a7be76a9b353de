"""How a training goes: means since the last line, speed, memory, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from svit.train.trainer import StepResult


@dataclass(frozen=True)
class Report:
    """A line of the log: means over the steps since the one before.

    Attributes:
        step: optimiser steps done, of `steps`.
        epoch: passes done.
        losses: per positive or clip, `total` among them.
        positives: priors that answered for a box, per step.
        rate: learning rate of parts at the peak rate.
        norm: of the gradient.
        samples_per_s, frames_per_s: clips and frames of all processes.
        data_share: of the time, spent waiting for clips.
        memory_gib: most that the device has held; 0 on a CPU.
        seconds_left: to the end of the schedule, at this speed.
        broken: clips that could not be read so far.
    """

    step: int
    steps: int
    epoch: float
    losses: dict[str, float]
    positives: float
    rate: float
    norm: float
    samples_per_s: float
    frames_per_s: float
    data_share: float
    memory_gib: float
    seconds_left: float
    broken: int

    def __str__(self) -> str:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in self.losses.items() if value)
        minutes, memory = self.seconds_left / 60, f"  {self.memory_gib:.1f} GiB" if self.memory_gib else ""
        return (
            f"step {self.step}/{self.steps}  epoch {self.epoch:.2f}  {losses}  rate {self.rate:.2e}  "
            f"norm {self.norm:.2f}  {self.samples_per_s:.2f} clips/s  data {self.data_share:.0%}{memory}  "
            f"{minutes:.0f} min left"
        )


@dataclass
class Meter:
    """Adds up steps until a report is due.

    Attributes:
        steps: of the whole run.
        steps_per_epoch: see `Report.epoch`.
        clips, frames: per step, of all processes.
        peak: the peak learning rate.
        taken, broken: clips so far, and how many of them could not be read.
    """

    steps: int
    steps_per_epoch: float
    clips: int
    frames: int
    peak: float
    taken: int = 0
    broken: int = 0
    _results: list[StepResult] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def add(self, result: StepResult) -> None:
        """Takes in a step."""
        self._results.append(result)
        self.taken += self.clips
        self.broken += result.broken

    def leave_out(self, seconds: float) -> None:
        """Time that was spent on something else than training, such as scores."""
        self._since += seconds

    def report(self) -> Report:
        """The means since the last report; begins anew."""
        results, seconds = self._results, max(time.monotonic() - self._since, 1e-9)
        count, last = len(results), results[-1]
        names = last.losses
        per_step = seconds / count
        report = Report(
            step=last.step + 1,
            steps=self.steps,
            epoch=(last.step + 1) / self.steps_per_epoch,
            losses={name: sum(r.losses[name] for r in results) / count for name in names},
            positives=sum(r.positives for r in results) / count,
            rate=last.rate * self.peak,
            norm=float(torch.stack([r.norm for r in results]).mean()),
            samples_per_s=self.clips / per_step,
            frames_per_s=self.frames / per_step,
            data_share=min(1.0, sum(r.waited for r in results) / seconds),
            memory_gib=torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0,
            seconds_left=(self.steps - last.step - 1) * per_step,
            broken=self.broken,
        )
        self._results, self._since = [], time.monotonic()
        return report
