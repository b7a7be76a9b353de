"""The command line: parse, call, print. Results go to stdout or the named files, progress to stderr."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from svit import __version__
from svit.errors import OutputError, SvitError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from svit.types import FrameResult
    from svit.video import Source

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SAMPLE = "one-by-one.mp4"

INTERRUPTED = 130
"""What typer makes of Ctrl-C."""

OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")
"""How torch says it, by device and system."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0 success, 2 usage error, 1 anything else.

    An error is one line on stderr; `--debug` anywhere shows where it came from.
    """
    words = sys.argv[1:] if arguments is None else arguments
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            status = _run(app, [word for word in words if word != "--debug"])
        except Exception as error:
            if "--debug" in words:
                traceback.print_exc()
            line, status = _explain(error)
            enough = isinstance(error.__cause__, BrokenPipeError)  # as in `| head -1`: no news to anybody
            if not enough:
                print(f"svit: {line}", file=sys.stderr)
    return _flush(status)


def run() -> None:
    """Entry point of the `svit` command."""
    logging.basicConfig(format="svit: warning: %(message)s")
    sys.exit(main())


def _run(command: typer.Typer, words: list[str]) -> int:
    """The command's exit status; Ctrl-C where nothing was begun yet is said and counts as a failure."""
    try:
        status = int(command(args=words, prog_name="svit", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status != INTERRUPTED:
        return status
    print("stopped", file=sys.stderr)
    return 1


def _explain(error: Exception) -> tuple[str, int]:
    """An error as one line, and the exit status."""
    text = (str(error).splitlines() or ["no reason given"])[0]
    if isinstance(error, SvitError | OSError):
        return f"error: {text}", 2 if isinstance(error, UsageError) else 1
    if hasattr(error, "format_message"):  # of the parser, whose classes typer keeps to itself
        return f"error: {error.format_message()}", 2
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in OUT_OF_MEMORY):
        return "error: out of memory; remember fewer frames (--memory) or use --precision bf16", 1
    return f"internal error: {type(error).__name__}: {text}; run again with --debug and report it", 1


def _flush(status: int) -> int:
    """Writes out what was printed. Python would do so at exit, and complain at length where it cannot."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not (status or isinstance(error, BrokenPipeError)):
            print(f"svit: error: cannot write to stdout: {error.strerror}", file=sys.stderr)
        return status or 1
    return status


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"svit: warning: {message}", file=sys.stderr)


@app.callback(
    invoke_without_command=True, epilog="Add --debug to any command to see where an error came from."
)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Streaming video model: finds and tracks people in videos and cameras."""
    if version:
        print(f"svit {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@dataclass
class Outputs:
    """The files a run writes; None where one is not wanted."""

    video: Path | None = None
    mot: Path | None = None
    jsonl: Path | None = None
    contact_sheet: Path | None = None

    def named(self) -> dict[str, Path]:
        """The wanted ones by what they are, in the order they are printed."""
        names = {
            "video": self.video,
            "MOT file": self.mot,
            "JSON lines": self.jsonl,
            "contact sheet": self.contact_sheet,
        }
        return {name: path for name, path in names.items() if path is not None}


@app.command()
def track(
    source: Annotated[
        str, typer.Argument(help="Video file, folder of images, camera number (0), rtsp:// or http://.")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Annotated video, .mp4.")] = None,
    mot: Annotated[Path | None, typer.Option(help="Tracks as MOTChallenge text, .txt.")] = None,
    jsonl: Annotated[
        Path | None, typer.Option(help="One JSON object per frame, .jsonl; - is stdout.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Contact sheet of the video, .png.")] = None,
    model: Annotated[
        str, typer.Option(help="Bundled weights or a checkpoint; see `svit models`.")
    ] = "tiny-person",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 ...; the default is a GPU if there is one.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 (default), bf16 or fp16.")] = None,
    memory: Annotated[int | None, typer.Option(help="Frames remembered; the default is the model's.")] = None,
    no_video: Annotated[
        bool, typer.Option("--no-video", help="Write no video, only what else is asked for.")
    ] = False,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Of a camera: drop no frame, even if slow.")
    ] = False,
) -> int:
    """Track people: writes an annotated video and the tracks.

    Without -o, --mot, --jsonl or --sheet it writes NAME_tracks.mp4 and NAME_tracks.txt here.
    """
    outputs = _choose_outputs(source, Outputs(output, mot, jsonl, sheet), no_video)
    options = {"model": model, "device": device, "precision": precision, "memory": memory}
    return _track(source, outputs, options, every_frame)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("demo"),
) -> int:
    """Track the people in the sample clip that comes with svit."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {output}: {error.strerror}; choose another with -o"
        ) from None
    outputs = Outputs(
        output / "tracks.mp4", output / "tracks.txt", output / "tracks.jsonl", output / "contact_sheet.png"
    )
    with resources.as_file(resources.files("svit") / "assets" / SAMPLE) as clip:
        return _track(str(clip), outputs, {}, every_frame=False)


@app.command()
def models() -> None:
    """List the models: those with weights, and the presets to train."""
    from rich.console import Console
    from rich.table import Table

    from svit.weights import describe_models

    table = Table("model", "parameters", "input", "memory", "finds", "weights", box=None, pad_edge=False)
    for row in describe_models():
        size = f"{row.long_side}x{row.short_side}"
        weights = row.weights or "none: train them, or convert a checkpoint"
        table.add_row(
            row.name, f"{row.parameters / 1e6:.1f} M", size, str(row.memory), ", ".join(row.classes), weights
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


@app.command("convert-checkpoint")
def convert_checkpoint(
    source: Annotated[Path, typer.Argument(help="Official S-ViT .pth, or CLIP .pt / .bin / .safetensors.")],
    target: Annotated[Path, typer.Argument(help="The checkpoint to write, .safetensors.")],
    half: Annotated[bool, typer.Option("--half", help="Store in fp16: half the size.")] = False,
) -> None:
    """Rewrite an official checkpoint as one of svit."""
    from svit.weights import convert

    print(convert(source, target, half))
    print(f"checkpoint: {target}")


def _choose_outputs(source: str, outputs: Outputs, no_video: bool) -> Outputs:
    if no_video and outputs.video:
        raise UsageError("-o asks for a video and --no-video for none; leave one of them away")
    if not outputs.named():
        stem = _stem(source)
        outputs = Outputs(None if no_video else Path(f"{stem}_tracks.mp4"), Path(f"{stem}_tracks.txt"))
    return outputs


def _stem(source: str) -> str:
    from svit.video.sources import without_password

    if source.isdecimal():
        return f"camera{source}"
    name = Path(without_password(source).rstrip("/").split("?")[0]).stem
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name) or "stream"


@dataclass
class Tally:
    """What a run has done so far."""

    started: float = field(default_factory=time.monotonic)
    frames: int = 0
    ids: set[int] = field(default_factory=set)

    def add(self, result: FrameResult) -> None:
        """Counts one frame. Ids are counted one by one: a set of them grows with people, not with frames."""
        self.frames += 1
        self.ids.update(() if result.tracks.tracker_id is None else result.tracks.tracker_id.tolist())

    @property
    def rate(self) -> float:
        """Frames per second since the start."""
        return self.frames / max(time.monotonic() - self.started, 1e-9)

    def __str__(self) -> str:
        return f"{self.frames} frames, {self.rate:.1f} frames/s, {len(self.ids)} tracks"


class StopSignals:
    """Makes Ctrl-C and SIGTERM end a run between two results, so that all outputs end with the same frame.

    The first signal raises KeyboardInterrupt while the next result is awaited. Later ones are ignored: they
    cannot disturb the finishing of files.
    """

    def __init__(self) -> None:
        self._received = self._awaiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` and background jobs have it
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def between(self, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Hands on the results; KeyboardInterrupt comes from here only."""
        iterator = iter(results)
        while True:
            self._awaiting = True
            try:
                if self._received:
                    raise KeyboardInterrupt
                result = next(iterator)
            except StopIteration:
                return
            finally:
                self._awaiting = False
            yield result

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first, self._received = not self._received, True
        if first and self._awaiting:
            raise KeyboardInterrupt


def _track(source: str, outputs: Outputs, options: dict[str, Any], every_frame: bool) -> int:
    """Tracks a source into files. Whatever ends it, what was written is finished and the summary printed."""
    from svit.stream import track as results
    from svit.video import open_source, open_writers
    from svit.weights import load

    if "model" in options:
        options["model"] = load(options["model"], options.pop("device"), options.pop("precision"))
    tally, status = Tally(), 0
    with open_source(source, every_frame=every_frame) as frames, StopSignals() as stop:
        try:
            with open_writers(frames, **vars(outputs)) as writers, _progress(frames) as advance:
                for result in stop.between(results(frames, **options)):
                    writers.write(result)
                    tally.add(result)
                    advance()
        except KeyboardInterrupt:
            # Ctrl-C is how a camera is stopped, but a file was cut short.
            status = 0 if frames.live else 1
            print("stopped; what was written so far is complete", file=sys.stderr)
        finally:
            if tally.frames:
                _summarise(tally, outputs)
    return status


def _summarise(tally: Tally, outputs: Outputs) -> None:
    stream = sys.stderr if outputs.jsonl == Path("-") else sys.stdout
    for name, path in outputs.named().items():
        if path.is_file():  # not where it failed, nor where it is no file
            print(f"{name + ':':<15}{path}", file=stream)
    print(f"{'summary:':<15}{tally}", file=stream)


@contextmanager
def _progress(source: Source) -> Iterator[Any]:
    """A bar with frames/s on stderr, or nothing where stderr is no terminal; call it once per frame."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task, tally = progress.add_task(source.name, total=source.frames), Tally()
        yield lambda: _advance(progress, task, tally)


def _advance(progress: Progress, task: TaskID, tally: Tally) -> None:
    tally.frames += 1
    progress.update(task, advance=1, description=f"{tally.rate:5.1f} frames/s")


if __name__ == "__main__":
    run()
