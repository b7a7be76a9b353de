"""A training from its settings to its weights: steps, checkpoints, scores; it goes on where it was."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    FullyShardedDataParallelPlugin,
    InitProcessGroupKwargs,
)

from svit.errors import DataError, OutputError, TrainingError, UsageError
from svit.model.encoder import Block
from svit.train.batches import Feed, LoadedBatch, Share, load_batches
from svit.train.checkpoint import (
    RunState,
    Trained,
    check_same,
    find_checkpoints,
    load_checkpoint,
    read_state,
    remove_old,
    save_checkpoint,
    update_state,
)
from svit.train.experiment import Experiment, Task, as_yaml
from svit.train.log import Log
from svit.train.meter import Meter, Report
from svit.train.score import averaged_model, decisive, is_scored, score
from svit.train.sources import classes_of, load_tasks
from svit.train.start import start_model, start_teacher
from svit.train.trainer import LossError, StepResult, Trainer
from svit.types import Progress, no_progress
from svit.video.output import output_error
from svit.weights import save

LONGEST_WAIT = timedelta(hours=12)
"""Processes wait so long for the one that scores."""

SURE = 100
"""So many clips are read before the share of broken ones ends a run."""


@dataclass(frozen=True)
class Note:
    """Something that happened, in one line; `warning` where it is no good news."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Scores:
    """An evaluation: at which step, and its numbers, per cent; see `svit.train.score.score`."""

    step: int
    metrics: dict[str, float]


Event = Report | Note | Scores
"""What a training tells while it runs."""


class Training:
    """A run in a folder: everything it writes is there, and it goes on from what is there.

    OUTPUT holds `experiment.yaml`, `log.jsonl`, `checkpoints/`, `eval/`, `best.safetensors` (the averaged
    weights with the best score) and in the end NAME.safetensors (the averaged weights).

    Args:
        experiment: the settings.
        output: the folder; made if needed.
        progress: told how far long readings are.

    Raises:
        SvitError: data or weights are missing, or the folder holds a run with other settings.
    """

    def __init__(self, experiment: Experiment, output: Path, progress: Progress = no_progress) -> None:
        self.experiment, self.output = experiment, output
        self.engine = _engine(experiment)
        self._settings = json.loads(experiment.model_dump_json())
        self._checkpoints = output / "checkpoints"
        self._log = Log(output / "log.jsonl")
        latest = self._latest()
        tasks = load_tasks(experiment, progress)
        self.feeds = [Feed(clips, self._share(task)) for task, clips in tasks.items()]
        model, self.origin = start_model(experiment, latest is None, classes_of(tasks))
        first = self.feeds[0]
        self.steps_per_epoch = first.clips.per_epoch / first.share.per_step
        self.steps = math.ceil(experiment.schedule.epochs * self.steps_per_epoch)
        teacher = start_teacher(experiment, model.config)
        self.trainer = Trainer(experiment, model, self.engine, self.steps_per_epoch, teacher)
        self.state = RunState(0, self._per_step(), self._settings)
        self._saved_step = -1
        if latest is not None:
            self._resume(latest)
        self._make_output()

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Trains to the end, or until `stop` says so; a checkpoint is written in either case.

        Raises:
            TrainingError: the loss is NaN or has exploded; the clips of that step are saved.
            DataError: too many clips cannot be read.
        """
        yield Note(self._begin())
        if self._score_is_due() and self.state.scored != self.state.step:
            yield from self._score()
        meter, saved = self._meter(), time.monotonic()
        batches = load_batches(self.feeds, self.state.step, self.experiment.data.workers)
        while self.state.step < self.steps:
            due = time.monotonic() - saved > 60 * self.experiment.save_minutes
            result = self._step(batches, (stop(), due))
            yield from self._count(meter, result)
            stopped, due = result.flags
            began, scored = time.monotonic(), self._score_is_due()
            if due or stopped or scored:
                note = self._save()
                yield note
                saved = time.monotonic()
            if stopped:
                yield self._stopped(note)
                return
            if scored:  # after the checkpoint: it takes long, and may be broken off
                yield from self._score()
            meter.leave_out(time.monotonic() - began)
        yield from self._finish()

    def _stopped(self, saved: Note) -> Note:
        if saved.warning:
            return Note(f"stopped at step {self.state.step}, which could not be saved", warning=True)
        return Note(f"stopped at step {self.state.step}; the same command goes on from there")

    def _begin(self) -> str:
        if self.state.step:
            return f"going on from step {self.state.step} of {self.steps}"
        per_step, per_epoch = " + ".join(map(str, self._per_step())), self.feeds[0].clips.per_epoch
        return f"{self.origin}; {per_epoch} clips per epoch, {self.steps} steps of {per_step} clips"

    def _share(self, task: Task) -> Share:
        experiment, engine, actions = self.experiment, self.engine, self.experiment.data.actions
        own = actions.batch if actions is not None and task == "actions" else None
        return Share(
            own or experiment.batch, experiment.accumulate, engine.process_index, engine.num_processes
        )

    def _per_step(self) -> tuple[int, ...]:
        """Clips of each task in a step, of all processes."""
        return tuple(feed.share.per_step for feed in self.feeds)

    def _make_output(self) -> None:
        if not self.engine.is_main_process:
            return
        path = self.output / "experiment.yaml"
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            part.write_text(as_yaml(self.experiment))
            part.replace(path)
        except OSError as error:
            raise output_error(path, error) from None
        self._log.forget_after(self.state.step)

    def _latest(self) -> Path | None:
        """The newest checkpoint, if it is of the same experiment; looked at before anything slow."""
        found = find_checkpoints(self._checkpoints)
        if not found:
            return None
        check_same(self._settings, read_state(found[-1]).experiment, found[-1])
        return found[-1]

    def _resume(self, latest: Path) -> None:
        state, now = read_state(latest), self._per_step()
        if state.per_step != now:
            before, after = (" + ".join(map(str, each)) for each in (state.per_step, now))
            raise UsageError(
                f"{latest} was written with {before} clips per step, now there are {after}: choose "
                f"batch and accumulate so that batch x accumulate x processes is {before}"
            )
        load_checkpoint(latest, self._trained())
        self._saved_step = state.step
        if self.engine.scaler is not None and state.scaler is not None:
            self.engine.scaler.load_state_dict(state.scaler)
        self.state = replace(state, experiment=self._settings)

    def _trained(self) -> Trained:
        return Trained(self.trainer.loss, self.trainer.optimiser.optimizer, self.trainer.average.state)

    def _meter(self) -> Meter:
        data, clips = self.experiment.data, self._per_step()
        lengths = {"detection": data.clip.length, "actions": data.actions.length if data.actions else 0}
        frames = sum(n * lengths[task] for n, task in zip(clips, data.tasks, strict=True))
        rate = self.experiment.optimiser.rate
        return Meter(self.steps, self.steps_per_epoch, sum(clips), frames, rate)

    def _step(self, batches: Iterator[LoadedBatch], flags: tuple[bool, bool]) -> StepResult:
        try:
            result = self.trainer.step(self.state.step, batches, flags)
        except LossError as error:
            raise TrainingError(
                f"step {self.state.step}: {error}; {self._keep_clips(error)}; a lower optimiser.rate, or "
                "optimiser.clip_norm=10, may help; the same command goes on from the last checkpoint"
            ) from None
        self.state = replace(self.state, step=self.state.step + 1)
        return result

    def _keep_clips(self, error: LossError) -> str:
        """Saves what the loss was bad of; says where."""
        path = self.output / f"bad-step-{self.state.step}-{self.engine.process_index}.pt"
        try:
            torch.save({"losses": error.losses, "clips": [asdict(batch) for batch in error.batches]}, path)
        except (OSError, RuntimeError):  # torch raises either where the disk is full
            path.unlink(missing_ok=True)
            return f"{path} could not be written"
        return f"its clips are in {path}"

    def _count(self, meter: Meter, result: StepResult) -> Iterator[Event]:
        """Adds a step up; tells of clips that cannot be read, and every now and then how it goes."""
        meter.add(result)
        for line in result.lines:
            yield Note(f"left out: {line}", warning=True)
        if meter.broken > self.experiment.data.broken_share * max(SURE, meter.taken):
            last = f"; the last: {result.lines[-1]}" if result.lines else ""
            raise DataError(
                f"{meter.broken} of {meter.taken} clips cannot be read, more than data.broken_share="
                f"{self.experiment.data.broken_share:g} allows{last}"
            )
        if self.state.step % self.experiment.log_steps == 0 or self.state.step == self.steps:
            report = meter.report()
            yield report
            yield from self._write_log(asdict(report))

    def _write_log(self, record: dict[str, Any]) -> Iterator[Event]:
        """A record in `log.jsonl`; if it cannot be written, the run goes on."""
        if self.engine.is_main_process:
            try:
                self._log.append(record)
            except OutputError as error:
                yield Note(f"{error}; the training goes on", warning=True)

    def _score_is_due(self) -> bool:
        """At the end, and whenever a multiple of `every_epochs` was passed."""
        settings, step = self.experiment.evaluate, self.state.step
        if not is_scored(settings) or not step:
            return False
        every = settings.every_epochs * self.steps_per_epoch
        return bool(step == self.steps or step // every > (step - 1) // every)

    def _score(self) -> Iterator[Event]:
        """Scores the averaged weights, sequences shared among processes; the best ones so far are kept."""
        model, step = averaged_model(self.trainer).to(self.engine.device), self.state.step
        try:
            metrics = score(model, self.experiment, self.output / "eval" / f"step-{step:08d}")
            if self.state.best is None or decisive(metrics) > self.state.best[0]:
                if self.engine.is_main_process:
                    save(model, self.output / "best.safetensors")
                self.state = replace(self.state, best=(decisive(metrics), step))
        except OutputError as error:
            if self.engine.num_processes > 1:  # the others wait for this one
                raise
            yield Note(f"{error}; the training goes on without these scores", warning=True)
            return
        yield Scores(step, metrics)
        yield from self._write_log({"step": step, **metrics})
        self.state = replace(self.state, scored=step)
        if self._saved_step == step and self.engine.is_main_process:
            try:
                update_state(self._checkpoints, self._saved_state())
            except OutputError as error:
                yield Note(f"{error}; the training goes on", warning=True)

    def _save(self) -> Note:
        """Writes a checkpoint; one that cannot be written is told of, and the run goes on."""
        main = self.engine.is_main_process
        try:
            path = save_checkpoint(self._checkpoints, self._saved_state(), self._trained(), self._agree, main)
        except OutputError as error:
            return Note(f"{error}; the training goes on, earlier checkpoints are whole", warning=True)
        self._saved_step = self.state.step
        if main:
            best = None if self.state.best is None else self.state.best[1]
            remove_old(self._checkpoints, self.experiment.keep, best)
        return Note(f"checkpoint: {path}")

    def _saved_state(self) -> RunState:
        scaler = self.engine.scaler
        return replace(self.state, scaler=None if scaler is None else scaler.state_dict())

    def _agree(self, yes: bool) -> bool:
        """Whether all processes say yes; they wait for each other."""
        votes = self.engine.reduce(torch.tensor([float(yes)], device=self.engine.device), reduction="sum")
        return bool(int(votes) == self.engine.num_processes)

    def _finish(self) -> Iterator[Event]:
        if self._saved_step != self.state.step:
            yield self._save()
        model = averaged_model(self.trainer)
        if self.engine.is_main_process:
            path = self.output / f"{model.config.name}.safetensors"
            save(model, path)
            yield Note(f"weights: {path}")
        self.engine.wait_for_everyone()


def _engine(experiment: Experiment) -> Accelerator:
    """The processes and the precision that `torchrun` or `accelerate launch` and the settings ask for.

    Raises:
        UsageError: the device does not have that precision, or cannot be shared by processes.
    """
    precision = "no" if experiment.precision == "fp32" else experiment.precision
    timeout, cpu = InitProcessGroupKwargs(timeout=LONGEST_WAIT), not torch.accelerator.is_available()
    # A forward pass is of one task, and has no gradient for the other's head.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=experiment.data.actions is not None)
    plugin = sharding() if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" else None
    try:
        engine = Accelerator(
            mixed_precision=precision, kwargs_handlers=[timeout, parallel], cpu=cpu, fsdp_plugin=plugin
        )
    except ValueError as error:
        raise UsageError(f"precision={experiment.precision}: {error}; use precision=fp32") from None
    if experiment.precision == "fp16" and engine.scaler is None:  # on a CPU it would quietly be fp32
        raise UsageError(f"precision=fp16 does not work on {engine.device.type}; use precision=fp32")
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if engine.num_processes != started:  # each would train on its own, into the same folder
        raise UsageError(
            f"{started} processes were started, but on {engine.device.type} they cannot train together;"
            " start one, without torchrun"
        )
    if plugin is not None:
        plugin.mixed_precision_policy = None  # autocast casts, as with every engine; losses stay fp32
    return engine


def sharding() -> FullyShardedDataParallelPlugin:
    """FSDP2 for a model that does not fit one device: `accelerate launch --use_fsdp`. A block is a unit.

    Raises:
        UsageError: version 1 is asked for.
    """
    if os.environ.get("FSDP_VERSION", "2") != "2":
        raise UsageError("of FSDP only version 2 works here: accelerate launch --use_fsdp --fsdp_version 2")
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=[Block.__name__],
        cpu_ram_efficient_loading=False,  # it would leave batch norms' running statistics behind
        activation_checkpointing=False,  # `checkpointing` is that
    )
