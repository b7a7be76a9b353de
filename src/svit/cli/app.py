"""The command line: parse, call, print. Results go to stdout or the named files, progress to stderr."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from typing import Annotated

import typer

from svit import __version__
from svit.cli import prepare
from svit.cli.bench import bench
from svit.cli.classify import classify
from svit.cli.evaluate import evaluate
from svit.cli.features import features
from svit.cli.models import convert_checkpoint, models
from svit.cli.track import demo, track
from svit.cli.train import train
from svit.errors import SvitError, UsageError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(track)
app.command()(demo)
app.command()(classify)
app.command()(features)
app.add_typer(prepare.app, name="prepare")
app.command()(train)
app.command("eval")(evaluate)
app.command()(bench)
app.command()(models)
app.command("convert-checkpoint")(convert_checkpoint)

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
    # Waiting threads of torch that spin for long take the cores from decoding and encoding; those that sleep
    # at once wake up late, hundreds of times a frame. Some microseconds are in between.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
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
