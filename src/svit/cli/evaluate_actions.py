"""`svit eval INDEX.json`: a model's scores on an action data set."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svit.cli.progress import progress_bar
from svit.errors import DataError, UsageError

if TYPE_CHECKING:
    from svit.data.actions import ActionIndex
    from svit.evaluate.action_evaluation import ActionEvaluation
    from svit.evaluate.action_run import ActionOptions
    from svit.evaluate.report import Page
    from svit.evaluate.table import Table
    from svit.model.video_model import VideoModel

Views = Annotated[
    str | None,
    typer.Option(help="Of an action data set: CLIPSxCROPS per video, 1x1 by default; 4x3, 1x3, 2x3; none."),
]
Streaming = Annotated[
    bool,
    typer.Option("--streaming", help="Of an action data set: also one pass over each whole video."),
]
Split = Annotated[str | None, typer.Option(help="Of an action data set: val by default, else test.")]
ClipFrames = Annotated[
    int | None, typer.Option("--frames", min=1, help="Frames of a clip; by default the head's window.")
]
ClipStride = Annotated[
    int | None,
    typer.Option("--stride", min=1, help="Dense clips: every so many frames; by default spread evenly."),
]

DEFAULT_CHUNK = 64
HEAD = 400
"""Bytes of a file that tell an action data set's index."""
REPORT = "report.html"


@dataclass(frozen=True)
class ActionRun:
    """What is run on what.

    Attributes:
        views, split, frames, stride: as given; None are the defaults.
        streaming: pass over whole videos too.
        checkpoint, device, precision, memory_bits: of the model.
        root: folder of the videos, where they are not where the index says.
        options: the rest of `svit.evaluate.action_run.ActionOptions`.
    """

    views: str | None
    streaming: bool
    split: str | None
    frames: int | None
    stride: int | None
    checkpoint: str | None
    device: str | None
    precision: str | None
    memory_bits: int | None
    root: Path | None
    options: dict[str, Any]

    def given(self) -> dict[str, object]:
        """What goes with an action data set alone, by the names of the options."""
        return {
            "--views": self.views, "--streaming": self.streaming, "--split": self.split,
            "--frames": self.frames, "--stride": self.stride,
        }  # fmt: skip


def is_action_index(name: str) -> bool:
    """Whether this is the file of an action data set, by its content.

    Raises:
        DataError: it is called .json but is not there.
    """
    if name.lower().endswith(".json") and not Path(name).exists():
        raise DataError(f"{name}: no such file; svit prepare makes the index of an action data set")
    try:
        with Path(name).open("rb") as file:
            return re.search(rb'"format":\s*"svit-actions', file.read(HEAD)) is not None
    except OSError:
        return False


def run_actions(
    path: Path, run: ActionRun, output: Path | None
) -> tuple[ActionEvaluation, list[Table]] | None:
    """Runs a model over an action data set, or goes on with a run that was stopped; writes its report.

    Returns:
        The scores and their tables; None where it was stopped, or this is not the main process.
    """
    from svit.data.actions import read_action_index
    from svit.evaluate.action_report import scores_table, seen_table, time_table
    from svit.evaluate.action_run import evaluate_actions
    from svit.evaluate.shards import is_main_process, local_device
    from svit.weights import DEFAULT_MODEL, load

    index = read_action_index(path, run.root)
    loading: Any = (local_device(run.device), run.precision, run.memory_bits)  # load says what it cannot take
    model = load(run.checkpoint or DEFAULT_MODEL, *loading)
    options, name = _options(model, index, run), Path(run.checkpoint or DEFAULT_MODEL).stem
    folder = output or Path("eval") / f"{name}_{index.name}_{options.split}"
    if options.overwrite:
        (folder / REPORT).unlink(missing_ok=True)  # of other settings: it must not stand beside new files
    evaluation = evaluate_actions(model, index, folder, options, progress_bar)
    if not is_main_process():
        return None
    _warn(evaluation)
    _report(evaluation, index, name)
    tables = [scores_table(evaluation)]
    if evaluation.streaming is not None:
        tables += [seen_table(evaluation.streaming), time_table(evaluation.streaming)]
    return evaluation, tables


def _options(model: VideoModel, index: ActionIndex, run: ActionRun) -> ActionOptions:
    """The run's options, with the model's own settings where nothing else was said."""
    from svit.data.actions import SamplingConfig
    from svit.evaluate.action_run import ActionOptions

    if model.config.action is None:
        raise UsageError(f"model '{model.config.name}' has no action head, so it recognises no actions")
    length, rate = run.frames or model.config.action.window, model.config.action.rate
    sampling = SamplingConfig(length=length)
    if run.stride is not None:
        sampling = SamplingConfig(kind="dense", length=length, stride=run.stride, rate=rate)
    views = _views(run.views or "1x1", model.config.input.short_side)
    return ActionOptions(_split(index, run.split), views, sampling, run.streaming, **run.options)


def _views(text: str, size: int) -> Any:  # noqa: ANN401 - ViewConfig, which is not imported yet
    from svit.config import validated
    from svit.data.actions import ViewConfig

    if text == "none":
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise UsageError(f"--views {text}: give CLIPSxCROPS, such as 4x3, or none")
    values = {"size": size, "clips": int(found[1]), "crops": int(found[2])}
    return validated(ViewConfig, values, f"--views {text}")


def _split(index: ActionIndex, wanted: str | None) -> str:
    """The split to look at; without a wish the one that is for testing."""
    if wanted is not None:
        return wanted
    for name in ("val", "test"):
        if name in index.splits:
            return name
    there = ", ".join(index.splits) or "no videos"
    raise DataError(f"{index.path}: has neither val nor test; there is {there}; choose with --split")


def _warn(evaluation: ActionEvaluation) -> None:
    """A line on stderr where videos are missing in the scores."""
    counts = evaluation.counts
    missing = counts["unreadable"] + counts["broken"]
    if missing or counts["damaged"]:
        total = len(evaluation.videos) + counts["broken"]
        print(
            f"svit: warning: {missing} of {total} videos are not in the scores because they cannot be read, "
            f"{counts['damaged']} in part; {evaluation.output / 'results.json'} lists them",
            file=sys.stderr,
        )


def _report(evaluation: ActionEvaluation, index: ActionIndex, model: str) -> None:
    from svit.evaluate.action_report import action_page
    from svit.evaluate.report import write_page

    page: Page = action_page(f"{model} on {index.name}", _facts(evaluation, index, model), evaluation)
    write_page(page, evaluation.output / REPORT)


def _facts(evaluation: ActionEvaluation, index: ActionIndex, model: str) -> list[tuple[str, str]]:
    settings = evaluation.settings
    data, sampling = settings["data"], settings["sampling"]
    clip = f"{sampling['length']} frames, {sampling['kind']}"
    if sampling["kind"] == "dense":
        clip += f", every {sampling['stride']} at {sampling['rate'] or 'its own'} frames/s"
    return [
        ("model", f"{model} ({evaluation.model}), {settings['precision']}, weights {settings['weights']}"),
        ("data set", f"{index.path}, {data['split']}, {data['videos']} videos, {len(index.classes)} classes"),
        ("clips", f"{clip}; {_views_said(settings['views'])}"),
        ("memory", f"{settings['memory']} frames"),
    ]


def _views_said(views: Mapping[str, Any] | None) -> str:
    if views is None:
        return "no views"
    return f"{views['clips']} clips x {views['crops']} crops of {views['size']} pixels"
