"""`svit prepare`: one command per data set."""

from __future__ import annotations

import typer

from svit.cli.prepare.check import check
from svit.cli.prepare.crowdhuman import crowdhuman
from svit.cli.prepare.mot import mot
from svit.cli.prepare.motsynth import motsynth
from svit.cli.prepare.motsynth_frames import motsynth_frames

app = typer.Typer(rich_markup_mode=None)
app.command()(crowdhuman)
app.command()(mot)
app.command()(motsynth)
app.command("motsynth-frames")(motsynth_frames)
app.command()(check)


@app.callback(invoke_without_command=True)
def _prepare(context: typer.Context) -> None:
    """Turn a downloaded data set into one COCO-video JSON file."""
    if context.invoked_subcommand is None:
        print(context.get_help())
