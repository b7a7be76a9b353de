"""One training step on a clip: all frames at once, frame by frame, and in the official order by a reference.

The step is what `svit train` does with a clip: encoder, pyramid, detector, losses, backward, optimiser,
averaged weights. Weights and frames are random, three people are in every frame, no path is dropped, the
memory is detached. Each variant runs in a process of its own, in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator

from svit.bench.floor import synchronise
from svit.bench.references import has_references, reference
from svit.bench.rows import Row, Say, Settings
from svit.bench.turns import Times, Turns
from svit.config import preset
from svit.model.video_model import VideoModel, build
from svit.train.batches import LoadedBatch
from svit.train.experiment import DataConfig, Experiment, ModelChoice
from svit.train.objective import Batch, ClipLoss, Form, pieces
from svit.train.trainer import Trainer
from svit.weights.device import multiplies_bf16

PEOPLE = ((0.1, 0.15, 0.35, 0.7), (0.45, 0.2, 0.7, 0.9), (0.02, 0.02, 0.2, 0.4))
"""Boxes as shares of the frame's sides."""


@dataclass(frozen=True)
class TrainCase:
    """What a training step is measured of.

    Attributes:
        preset: the model.
        size: sides of the frames, pixels.
        frames: of a clip.
        precision: of matrix products, "fp32" or "bf16".
        threads: of torch.
        device: "cpu" or "cuda".
        form: in which our trainer takes the frames: all at once, or one by one.
    """

    preset: str = "small"
    size: int = 224
    frames: int = 8
    precision: str = "fp32"
    threads: int = 1
    device: str = "cpu"
    form: Form = "clip"

    def __str__(self) -> str:
        size = f"{self.size}x{self.size}"
        return f"a clip of {self.frames} frames, {self.preset}, {size}, {self.precision}"

    def model(self) -> VideoModel:
        """A random model in training mode that drops no paths."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        return build(preset(self.preset, encoder__drop_path=0.0)).train().to(self.device)

    def clip(self) -> Batch:
        """A random clip with people, its frames as bytes."""
        frames = torch.randint(0, 256, (1, self.frames, 3, self.size, self.size), dtype=torch.uint8)
        people = torch.tensor(PEOPLE) * self.size
        targets = [[(people, torch.zeros(len(people), dtype=torch.long))] * self.frames]
        return Batch(frames, targets, [[torch.zeros(0, 4)] * self.frames])

    def normalised(self) -> Batch:
        """The clip as the model takes it."""
        clip = self.clip()
        return Batch((clip.frames.float() - 120).div(60).to(self.device), clip.targets, clip.ignore)

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of matrix products."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


def rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`train_clip` in the precision that `svit train` has by default, and `train_clip_fp32`.

    Seconds per clip, whole step; the part `gradient` is forward and backward alone.
    """
    case = TrainCase(threads=settings.threads)
    if settings.quick:
        case = replace(case, preset="tiny", size=64, frames=2)
    cases = {"train_clip": case}
    if multiplies_bf16():
        cases = {"train_clip": replace(case, precision="bf16"), "train_clip_fp32": case}
    for name, each in cases.items():
        rounds = 2 if name == "train_clip" and not settings.quick else 1
        yield replace(train_row(each, rounds, say), name=name)


def train_row(case: TrainCase, rounds: int, say: Say) -> Row:
    """The clip form and the step form beside the reference."""
    turns = Turns(say)
    for _ in range(rounds):
        turns.take("clip", our_training, case, 2)
        turns.take("step", our_training, replace(case, form="step"), 2)
        if has_references():
            turns.take("reference", reference_training, case, 1)
    what = f"a training step: {case}; reference: the official order"
    row = turns.row("train_clip", what, "clip", "reference")
    note = "; ".join(f"{name}: {why}" for name, why in turns.failed.items())
    return replace(row, details={**row.details, **_comparison(turns)}, note=note)


def _comparison(turns: Turns) -> dict[str, float]:
    """What the row tells of the step form and the reference, of those that were measured."""
    peaks = {name: times.peak_bytes for name, times in turns.times.items() if name != "clip"}
    details: dict[str, float] = {f"{name}_peak_bytes": peak for name, peak in peaks.items()}
    step, plain = turns.median("step"), turns.median("reference")
    if step:
        details["step_seconds"] = step
    if step and plain:
        details["step_speedup"] = plain / step
    parts = [turns.times[name].parts["gradient"] for name in ("clip", "reference") if name in turns.times]
    if len(parts) == 2:
        details["gradient_speedup"] = min(parts[1]) / min(parts[0])
    return details


def our_training(case: TrainCase, repeats: int) -> Times:
    """Times what `svit train` does with a clip."""
    trainer, clip, inputs = our_trainer(case), case.clip(), case.normalised()
    loss = ClipLoss(trainer.model)

    def step() -> None:
        trainer.step(1, iter([LoadedBatch(clip, [])]))

    def gradient() -> None:
        memory = None
        for piece in pieces(inputs, case.form):
            with case.autocast():
                total, _, memory = loss(piece, form=case.form, memory=memory)
            total.backward()
        loss.zero_grad()

    return time_training(case, step, gradient, repeats)


def our_trainer(case: TrainCase) -> Trainer:
    """A trainer of one clip per step, without data."""
    augment = {"height": case.size, "width": case.size}
    data = DataConfig.model_validate({"sources": [{"sequences": "none"}], "augment": augment})
    experiment = Experiment(
        model=ModelChoice(preset=case.preset),
        data=data,
        form=case.form,
        precision=case.precision,
        multi_scale=None,
        explode=float("inf"),
    )
    precision = "no" if case.precision == "fp32" else case.precision
    engine = Accelerator(cpu=case.device == "cpu", mixed_precision=precision)
    return Trainer(experiment, case.model(), engine, steps_per_epoch=100)


def reference_training(case: TrainCase, repeats: int) -> Times:
    """Times the plain reference on the same clip."""
    inputs = case.normalised()
    plain = reference("training").ReferenceTraining(case.model(), case.autocast)
    return time_training(case, lambda: plain.step(inputs), lambda: plain.gradient(inputs), repeats)


def time_training(
    case: TrainCase, step: Callable[[], None], gradient: Callable[[], None], repeats: int
) -> Times:
    """Seconds of both, `repeats` times after one to warm up."""

    def timed(work: Callable[[], None]) -> list[float]:
        seconds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            work()
            synchronise(case.device)
            seconds.append(time.perf_counter() - start)
        return seconds[1:]

    times = Times(timed(step), {"gradient": timed(gradient)})
    times.peak_bytes = 0 if case.device == "cpu" else torch.cuda.max_memory_allocated()
    return times
