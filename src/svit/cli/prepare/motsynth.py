"""`svit prepare motsynth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svit.cli.prepare.options import DryRun, SkipBad, tell_skipped
from svit.cli.progress import progress_bar


def motsynth(
    annotations: Annotated[
        Path,
        typer.Option("--annotations", "--anns", "-i", help="Folder of MOTSynth's 000.json, 001.json ..."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "--out", "-o", help="The COCO-video file to write, .json.")
    ],
    videos: Annotated[
        Path | None,
        typer.Option(
            help="Folder of 000.mp4, 001.mp4 ...: read frames from the videos, without extracting them."
        ),
    ] = None,
    official_ids: Annotated[
        bool,
        typer.Option(
            "--official-ids", help="Instance ids that videos share, as the official script writes them."
        ),
    ] = False,
    dry_run: DryRun = False,
    skip_bad: SkipBad = False,
) -> None:
    """MOTSynth's annotations as one COCO-video file; extract its frames with motsynth-frames."""
    from svit.data.bad_rows import BadRows
    from svit.data.prepare.motsynth import MotSynthOptions, prepare_motsynth

    bad_rows = BadRows(skip_bad)
    options = MotSynthOptions(videos=videos, official_ids=official_ids, dry_run=dry_run)
    written = prepare_motsynth(annotations, output, options, bad_rows, progress_bar)
    tell_skipped(bad_rows)
    print(f"{'would write ' if dry_run else ''}{written}")
