"""`svit train`: an experiment in, checkpoints, scores and weights out."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from svit.cli.progress import progress_bar
from svit.cli.signals import StopSignals
from svit.errors import SvitError, UsageError

if TYPE_CHECKING:
    from svit.train.batches import Numbered
    from svit.train.experiment import Experiment
    from svit.train.loop import Event, Training
    from svit.train.profiling import StepProfiler

PATIENCE = 5.0
"""Seconds that a process waits before it says what went wrong, if another may have said it."""

SHOWN, MEASURED_SECONDS = 8, 5.0
"""Clips of each task in a preview, and how long their making is measured at least."""


def train(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPERIMENT [KEY=VALUE ...]",
            help="A preset or a YAML file; settings to change (optimiser.rate=1e-4); output=DIR.",
            show_default=False,
        ),
    ] = None,
    list_presets: Annotated[bool, typer.Option("--list", help="List the presets.")] = False,
    preview: Annotated[
        Path | None, typer.Option(help="Write pictures of augmented clips to this .png, and end.")
    ] = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Measure some steps: table, trace.json.gz in the output; then end."),
    ] = False,
) -> int:
    """Train a model. Without an experiment: list the presets.

    Everything goes to output=DIR, outputs/EXPERIMENT by default. Ctrl-C saves and stops; the same command
    goes on from there. Every setting is in docs/training.md.

    Several GPUs: torchrun --nproc-per-node 8 -m svit.cli train EXPERIMENT ...
    """
    given = list(words or [])
    with _needs_extra(), _one_voice():
        if list_presets or not given:
            _list_presets()
            return 0
        from svit.train.experiment import load_experiment

        output, changes = _split(given)
        experiment = load_experiment(given[0], changes)
        if preview is not None:
            _preview(experiment, preview)
            return 0
        return _train(experiment, output or Path("outputs") / experiment.name, profile)


@contextmanager
def _needs_extra() -> Iterator[None]:
    """One line where the packages of training are not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "svit":
            raise
        raise UsageError(
            f"training needs {package}, which is not installed: pip install 'streaming-video-model[train]'"
        ) from error


@contextmanager
def _one_voice() -> Iterator[None]:
    """Of several processes one says what went wrong.

    What ends one ends all: torchrun stops the others as soon as the first is gone, and each of them may also
    fail because it is left alone. So only an error that the first process can explain is told at once; the
    others wait, and where they are not stopped meanwhile, they speak.
    """
    several, main = int(os.environ.get("WORLD_SIZE", "1")) > 1, int(os.environ.get("RANK", "0")) == 0
    with warnings.catch_warnings():
        if not main:
            warnings.simplefilter("ignore")
        warnings.filterwarnings("ignore", "This DataLoader will create")  # `check_ready` says it in a line
        try:
            yield
        except Exception as error:
            if several and not (main and isinstance(error, SvitError)):
                time.sleep(PATIENCE)
            raise


def _split(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The output folder, and the settings to change."""
    name, *changes = words
    if "=" in name:
        raise UsageError(f"'{name}' is a setting; name the experiment first: svit train smoke {name}")
    folders = [word.removeprefix("output=") for word in changes if word.startswith("output=")]
    if "" in folders:
        raise UsageError("output= needs a folder")
    settings = [word for word in changes if not word.startswith("output=")]
    return Path(folders[-1]) if folders else None, settings


def _list_presets() -> None:
    from svit.train.experiment import describe_experiment, experiment_names

    names = experiment_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {describe_experiment(name)}")


def _preview(experiment: Experiment, path: Path) -> None:
    """Draws clips of every task, and tells how fast one worker makes them."""
    from svit.data.actions import ActionSample
    from svit.data.augment.opencv import use_one_thread
    from svit.data.augment.preview import preview
    from svit.train.sources import classes_of, load_tasks
    from svit.video.output import PartFile

    use_one_thread()
    PartFile(path, (".png",)).discard()  # a path that cannot be written is found before the data are read
    tasks = load_tasks(experiment, progress_bar)
    samples = [clips[number] for clips in tasks.values() for number in progress_bar(range(SHOWN), "clips")]
    drawn = [sample if isinstance(sample, ActionSample) else sample.clip for sample in samples]
    preview(drawn, path, classes_of(tasks))
    print(f"preview: {path}")
    broken = [line for sample in samples for line in sample.broken]
    for clips in tasks.values():
        broken += _print_speed(clips, experiment.data.workers)
    for line in broken[:SHOWN]:
        print(f"svit: warning: left out: {line}", file=sys.stderr)


def _print_speed(clips: Numbered, workers: int) -> list[str]:
    """Tells how many clips this process makes in a second; a line for each that cannot be read."""
    from svit.data.actions import ActionSample

    began, made, broken = time.perf_counter(), 0, list[str]()
    while not made or time.perf_counter() - began < MEASURED_SECONDS:
        sample = clips[SHOWN + made]
        made, broken = made + 1, broken + sample.broken
    rate = made / (time.perf_counter() - began)
    actions = isinstance(sample, ActionSample)
    frames = sample.frames if isinstance(sample, ActionSample) else sample.clip.frames
    height, width, _ = frames[0].shape
    print(
        f"speed:   {rate:.2f} {'action clips' if actions else 'clips'}/s per worker, decoded and augmented "
        f"({len(frames)} frames of {width}x{height}; data.workers={workers})"
    )
    return broken


def _train(experiment: Experiment, output: Path, profile: bool) -> int:
    from svit.train.experiment import as_yaml
    from svit.train.loop import Training
    from svit.train.profiling import StepProfiler
    from svit.train.ready import check_ready
    from svit.train.together import leave_together

    hints = check_ready(experiment, output)
    training = Training(experiment, output, progress_bar)
    _check_together(training)
    main = training.engine.is_main_process
    if main:
        print(as_yaml(experiment), file=sys.stderr)
        for hint in hints:
            print(f"svit: warning: {hint}", file=sys.stderr)
    profiler = StepProfiler(output) if profile and main else None
    _run(training, profiler)
    complete = training.state.step >= training.steps
    if main:
        _print_profile(profiler)
        if complete:
            _print_results(training)
    code = 0 if complete or profile else 1
    leave_together(code)
    return code


def _check_together(training: Training) -> None:
    """Refuses several trainings in one folder that each take themselves for the only one."""
    started, together = int(os.environ.get("WORLD_SIZE", "1")), training.engine.num_processes
    if started != together:
        raise UsageError(
            f"{started} processes were started, but {together} work together; start them with torchrun or "
            "accelerate launch"
        )


def _run(training: Training, profiler: StepProfiler | None) -> None:
    """Trains to the end, or until a signal or the profiler stops it; shows what happens."""
    from svit.train.loggers import log_event, open_writers
    from svit.train.show import open_screen

    main, step = training.engine.is_main_process, training.state.step
    notice = "stopping after this step, with a checkpoint" if main else ""
    with ExitStack() as stack:
        writers = (
            stack.enter_context(open_writers(training.experiment, training.output, step)) if main else []
        )
        screen = stack.enter_context(open_screen(sys.stderr, training.steps, step)) if main else None
        stop = stack.enter_context(StopSignals(notice))
        if profiler:
            stack.enter_context(closing(profiler))
        for event in training.run(lambda: stop.received or bool(profiler and profiler.next_step())):
            for each in (event, *log_event(writers, event)):
                if screen and not _is_result(each, training):
                    screen.show(each)


def _weights(training: Training) -> Path:
    """The finished model."""
    return training.output / f"{training.experiment.model_settings().name}.safetensors"


def _is_result(event: Event, training: Training) -> bool:
    """Whether the event says what stdout will say."""
    return getattr(event, "text", "") == f"weights: {_weights(training)}"


def _print_profile(profiler: StepProfiler | None) -> None:
    if profiler and profiler.done:
        print(f"{profiler.table}\ntrace:   {profiler.trace}")
    elif profiler:
        print("svit: warning: too few steps to profile", file=sys.stderr)


def _print_results(training: Training) -> None:
    """What came out, on stdout."""
    from svit.train.show import last_scores, scores_line

    scores = last_scores(training.output)
    if scores is not None:
        print(f"scores:  {scores_line(scores)}")
    best = training.output / "best.safetensors"
    if best.is_file() and training.state.best is not None:
        value, step = training.state.best
        print(f"best:    {best} ({_decides(training)} {value:.1f} at step {step})")
    print(f"weights: {_weights(training)}")


def _decides(training: Training) -> str:
    """What the best weights are best by; see `svit.train.score.decisive`."""
    scored = training.experiment.evaluate
    names = {"HOTA": scored.dataset is not None, "top-1": scored.split is not None or scored.clips > 0}
    return " and ".join(name for name, there in names.items() if there)
