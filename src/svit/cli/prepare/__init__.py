"""`svit prepare`: one command per data set."""

from __future__ import annotations

import typer

from svit.cli.prepare.check import check
from svit.cli.prepare.crowdhuman import crowdhuman
from svit.cli.prepare.kinetics400 import kinetics400
from svit.cli.prepare.mot import mot
from svit.cli.prepare.motsynth import motsynth
from svit.cli.prepare.motsynth_frames import motsynth_frames
from svit.cli.prepare.ssv2 import ssv2
from svit.cli.prepare.video_folder import video_folder

app = typer.Typer(rich_markup_mode=None)
app.command()(crowdhuman)
app.command()(mot)
app.command()(motsynth)
app.command("motsynth-frames")(motsynth_frames)
app.command()(kinetics400)
app.command()(ssv2)
app.command("video-folder")(video_folder)
app.command()(check)


@app.callback(invoke_without_command=True)
def _prepare(context: typer.Context) -> None:
    """Turn a downloaded data set into one file: COCO-video JSON of boxes, or an index of labelled videos."""
    if context.invoked_subcommand is None:
        print(context.get_help())
