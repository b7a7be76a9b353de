"""`svit prepare motsynth-frames`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svit.cli.prepare.options import DryRun, SkipBad, tell_skipped
from svit.cli.progress import progress_bar

QUALITY = 75


def motsynth_frames(
    videos: Annotated[
        Path, typer.Option("--videos", "--input", "-i", help="Folder of MOTSynth's 000.mp4, 001.mp4 ...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for 000/img1/000001.jpg and so on.")],
    workers: Annotated[
        int | None, typer.Option(help="Videos at a time, each in its own process.  [default: one per core]")
    ] = None,
    quality: Annotated[
        int, typer.Option(help="JPEG quality, 1 to 95. That of the official script is 75.")
    ] = QUALITY,
    dry_run: DryRun = False,
    skip_bad: SkipBad = False,
) -> None:
    """MOTSynth's videos as folders of images. Goes on where an earlier run was stopped."""
    from svit.data.bad_rows import BadRows
    from svit.data.prepare.motsynth_frames import ExtractOptions, extract_frames

    bad_rows = BadRows(skip_bad)
    options = ExtractOptions(workers=workers, quality=quality, dry_run=dry_run)
    extracted = extract_frames(videos, output, options, bad_rows, progress_bar)
    tell_skipped(bad_rows)
    print(f"{'would extract to ' if dry_run else ''}{extracted}")
