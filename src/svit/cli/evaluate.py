"""`svit eval`: scores of result files, of several trackers, or of a model on a data set of any kind."""

from __future__ import annotations

import fnmatch
import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from svit.cli.evaluate_actions import DEFAULT_CHUNK as ACTION_CHUNK
from svit.cli.evaluate_actions import (
    ActionRun,
    ClipFrames,
    ClipStride,
    Split,
    Streaming,
    Views,
    is_action_index,
    run_actions,
)
from svit.cli.options import PRECISIONS
from svit.cli.progress import progress_bar
from svit.errors import OutputError, UsageError

if TYPE_CHECKING:
    from svit.data.datasets import EvalSequence
    from svit.evaluate.evaluation import Evaluation
    from svit.evaluate.report import Page
    from svit.evaluate.table import Table

DEFAULT_CHUNK = 8
RESULTS, REPORT = "results.json", "report.html"
WIDTH = 120
"""Characters of a line where stdout is no terminal."""


def evaluate(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA SET] | [TRACKER ...]",
            help="A data set's name, folder of sequences or action index; after --compare the trackers.",
            show_default=False,
        ),
    ] = None,
    gt: Annotated[
        Path | None, typer.Option(help="Ground truth of result files: folder of sequences, or a gt.txt.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="A tracker's files: folder of SEQUENCE.txt, or one file.")
    ] = None,
    gt_file: Annotated[
        str | None, typer.Option(help="Name of the file in SEQUENCE/gt/, gt.txt by default.")
    ] = None,
    sequence: Annotated[
        list[str] | None,
        typer.Option(help="Score only this one of --gt; may be given again, and a pattern: '*-FRCNN'."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="Rules of the ground truth: MOT15 to MOT20, DanceTrack, SportsMOT. Told from it."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Several trackers side by side: --gt DIR --compare A B ...")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="Bundled weights or a checkpoint, tiny-person by default.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--data", "--root", help="Folder that the data set was unpacked to.")
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="Frames of each sequence: all, half-train, half-val or FIRST-LAST.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for results.json, report.html and a run's files."),
    ] = None,
    step: Annotated[bool, typer.Option("--step", help="One frame at a time through the model.")] = False,
    chunk: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Frames at once through the model; {DEFAULT_CHUNK}, for clips {ACTION_CHUNK}."
        ),
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=1, help="Frames remembered; the default is the model's.")
    ] = None,
    memory_bits: Annotated[
        int | None, typer.Option(help="8 stores the memory in 8 bits; the default is the model's setting.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the sequences, 1 by default.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 ...; the default is a GPU if there is one.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help=PRECISIONS)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew: throw away what an earlier run left in -o.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all numbers, unrounded, as JSON instead of a table.")
    ] = False,
    views: Views = None,
    streaming: Streaming = False,
    split: Split = None,
    frames: ClipFrames = None,
    stride: ClipStride = None,
) -> int:
    """Score tracking results, or a model on a data set.

    svit eval mot17-half --checkpoint X.safetensors runs a model;
    svit eval INDEX.json --checkpoint X.safetensors scores its action recognition;
    svit eval --gt DIR --results DIR scores files; svit eval --gt DIR --compare A B compares trackers.
    """
    given = list(names or [])
    of_files = {"--results": results, "--gt-file": gt_file, "--sequence": sequence, "--benchmark": benchmark}
    of_model = {
        "--checkpoint": checkpoint, "--data": root, "--part": part, "--step": step, "--chunk": chunk,
        "--memory": memory, "--memory-bits": memory_bits, "--workers": workers, "--device": device,
        "--precision": precision, "--overwrite": overwrite,
    }  # fmt: skip
    options = {"memory": memory, "workers": workers or 1, "overwrite": overwrite}
    loading = (checkpoint, device, precision, memory_bits)
    actions = ActionRun(views, streaming, split, frames, stride, *loading, root, options)
    if gt is None:
        _refuse({**of_files, "--compare": compare}, "needs --gt")
        if is_action_index(_data_set(given)):
            _refuse({"--part": part}, "goes with sequences; an action data set has a --split")
            options["chunk"] = _chunk(step, chunk, ACTION_CHUNK)
            return _run_actions(Path(given[0]), actions, output, as_json)
        _refuse(actions.given(), "goes with an action data set's index")
        options["chunk"] = _chunk(step, chunk, DEFAULT_CHUNK)
        run = ModelRun(_data_set(given), root, part, *loading, options)
        return _run_model(run, output, as_json)
    _refuse({**of_model, **actions.given()}, "goes with a data set and a model, not with --gt")
    truth = Truth(gt, gt_file or "gt.txt", benchmark, sequence or ())
    if compare:
        _refuse({"--results": results}, "and --compare exclude each other; name all trackers after --compare")
        _compare(truth, _trackers(given), output, as_json)
    else:
        _score(truth, _results(given, results), output, as_json)
    return 0


def _refuse(options: Mapping[str, object], why: str) -> None:
    """UsageError for the first of the options that was given."""
    for name, value in options.items():
        if value:
            raise UsageError(f"{name} {why}")


def _data_set(given: Sequence[str]) -> str:
    if not given:
        raise UsageError(
            "nothing to evaluate; give a data set (svit eval mot17-half), or files (--gt DIR --results DIR)"
        )
    if len(given) > 1:
        raise UsageError(f"one data set at a time; {given[1]} is too many")
    return given[0]


def _chunk(step: bool, chunk: int | None, default: int) -> int:
    if step and chunk is not None:
        raise UsageError("--step and --chunk exclude each other; --step is --chunk 1")
    return 1 if step else chunk or default


def _trackers(given: Sequence[str]) -> dict[str, Path]:
    """The trackers' folders or files, by the names they have in tables."""
    if len(given) < 2:
        raise UsageError("--compare needs two trackers or more: svit eval --gt DIR --compare A B")
    paths = [Path(word) for word in given]
    names = [_name(path) for path in paths]
    if len(set(names)) < len(names):
        names = list(given)
    if len(set(names)) < len(names):
        raise UsageError("--compare: a tracker is named twice")
    return dict(zip(names, paths, strict=True))


def _results(given: Sequence[str], results: Path | None) -> Path:
    if given:
        raise UsageError(
            f"{given[0]}: a data set and --gt exclude each other; several trackers need --compare"
        )
    if results is None:
        raise UsageError("--gt needs --results, or --compare and the trackers")
    return results


@dataclass(frozen=True)
class Truth:
    """What result files are scored against."""

    path: Path
    file: str
    benchmark: str | None
    patterns: Sequence[str]

    def sequences(self) -> list[str] | None:
        """The chosen sequences' names; None is all of them."""
        if not self.patterns:
            return None
        there = sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []
        found = {pattern: fnmatch.filter(there, pattern) for pattern in self.patterns}
        for pattern, names in found.items():
            if not names:
                raise UsageError(f"--sequence {pattern}: no such sequence in {self.path}")
        return sorted({name for names in found.values() for name in names})

    def facts(self) -> list[tuple[str, str]]:
        """For the report."""
        return [("ground truth", f"{self.path} ({self.file})"), ("benchmark", self.benchmark or "automatic")]


def _score(truth: Truth, results: Path, output: Path | None, as_json: bool) -> None:
    """Scores one tracker's files."""
    from svit.evaluate.mot import combine, score_files
    from svit.evaluate.table import ALL, scores_table

    sequences = truth.sequences()
    scores = score_files(truth.path, results, truth.file, truth.benchmark, sequences)
    combined = combine(scores)
    rows = [*scores, combined]
    numbers = {score.name: score.metrics for score in rows}
    if output is not None:
        from svit.evaluate.mot_input import pair_up
        from svit.evaluate.pages import recordings_of, scores_page

        facts = [*truth.facts(), ("results", str(results))]
        recordings = recordings_of(scores, pair_up(truth.path, results, truth.file, sequences))
        title = f"Scores of {_name(results)}"
        _write(output, numbers, scores_page(title, facts, [scores_table(rows, ALL)], recordings, combined))
    _print(numbers if as_json else None, [scores_table(rows)], output)


def _compare(truth: Truth, trackers: Mapping[str, Path], output: Path | None, as_json: bool) -> None:
    """Scores several trackers' files."""
    from svit.evaluate.mot import combine, score_files
    from svit.evaluate.table import ALL, hota_table, rivals_table

    sequences = truth.sequences()
    scores = {
        name: score_files(truth.path, path, truth.file, truth.benchmark, sequences)
        for name, path in trackers.items()
    }
    combined = {name: combine(of_tracker) for name, of_tracker in scores.items()}
    numbers = {
        name: {score.name: score.metrics for score in (*scores[name], combined[name])} for name in trackers
    }
    hota = hota_table(scores)
    if output is not None:
        from svit.evaluate.pages import rivals_page

        facts = [*truth.facts(), *((name, str(path)) for name, path in trackers.items())]
        page = rivals_page("Trackers compared", facts, [rivals_table(combined, ALL), hota], scores, combined)
        _write(output, numbers, page)
    _print(numbers if as_json else None, [rivals_table(combined), hota], output)


@dataclass(frozen=True)
class ModelRun:
    """What is run on what; `options` are those of `svit.evaluate.run.RunOptions`."""

    data_set: str
    root: Path | None
    part: str | None
    checkpoint: str | None
    device: str | None
    precision: str | None
    memory_bits: int | None
    options: dict[str, Any]

    @property
    def model(self) -> str:
        """What the checkpoint is called."""
        from svit.weights import DEFAULT_MODEL

        return _name(Path(self.checkpoint or DEFAULT_MODEL))

    @property
    def folder(self) -> Path:
        """Where the results go unless told otherwise."""
        return Path("eval") / "_".join(filter(None, [self.model, _name(Path(self.data_set)), self.part]))


def _run_model(run: ModelRun, output: Path | None, as_json: bool) -> int:
    """Runs a model over a data set, or goes on with a run that was stopped."""
    from svit.data.datasets import load_dataset
    from svit.evaluate.run import RunOptions, evaluate_model, is_main_process, local_device
    from svit.evaluate.table import run_table
    from svit.weights import DEFAULT_MODEL, load

    sequences = load_dataset(run.data_set, run.root, run.part)
    loading: Any = (local_device(run.device), run.precision, run.memory_bits)  # load says what it cannot take
    model = load(run.checkpoint or DEFAULT_MODEL, *loading)
    folder = output or run.folder
    if run.options["overwrite"]:
        (folder / REPORT).unlink(missing_ok=True)  # of other settings: it must not stand beside new files
    try:
        evaluation = evaluate_model(model, sequences, folder, RunOptions(**run.options), progress_bar)
    except KeyboardInterrupt:
        return _stopped()
    if is_main_process():
        _report(evaluation, sequences, run)
        numbers = evaluation.as_json() if as_json else None
        _print(numbers, [run_table([*evaluation.sequences, evaluation.combined])], folder)
    return 0


def _run_actions(path: Path, run: ActionRun, output: Path | None, as_json: bool) -> int:
    """Runs a model over an action data set, or goes on with a run that was stopped."""
    try:
        found = run_actions(path, run, output)
    except KeyboardInterrupt:
        return _stopped()
    if found is not None:
        evaluation, tables = found
        _print(evaluation.as_json() if as_json else None, tables, evaluation.output)
    return 0


def _stopped() -> int:
    print("stopped; the same command goes on from here", file=sys.stderr)
    return 1


def _report(evaluation: Evaluation, sequences: Sequence[EvalSequence], run: ModelRun) -> None:
    from svit.evaluate.pages import run_page
    from svit.evaluate.report import write_page

    settings = evaluation.settings
    facts = [
        (
            "model",
            f"{run.model} ({evaluation.model}), {settings['precision']}, weights {settings['weights']}",
        ),
        ("data set", f"{run.data_set}, {len(sequences)} sequences, frames: {settings['part']}"),
        ("memory", f"{settings['memory']} frames, {settings['chunk']} at once"),
    ]
    title = f"{run.model} on {_name(Path(run.data_set))}"
    write_page(run_page(title, facts, evaluation, sequences), evaluation.output / REPORT)


def _write(folder: Path, numbers: Mapping[str, Any], page: Page) -> None:
    """Writes results.json and report.html."""
    from svit.evaluate.report import write_page, write_text

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}: {error.strerror}; choose another with -o"
        ) from None
    write_text(_json(numbers) + "\n", folder / RESULTS)
    write_page(page, folder / REPORT)


def _print(numbers: Mapping[str, Any] | None, tables: Sequence[Table], output: Path | None) -> None:
    """Prints the numbers as JSON, or else the tables and where the report is."""
    if numbers is not None:
        print(_json(numbers))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    print("\n\n".join(table.text(width) for table in tables))
    if output is not None:
        print(f"\nreport: {output / REPORT}")


def _json(numbers: object) -> str:
    return json.dumps(_plain(numbers), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """What is not a number is null: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name(path: Path) -> str:
    """What a tracker or data set is called: its folder's name, or the file's; data is no name (TrackEval)."""
    path = path.resolve()
    path = path.parent if path.name == "data" else path
    return path.name if path.is_dir() else path.stem
