"""`svit prepare crowdhuman`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svit.cli.prepare.options import DryRun, SkipBad, tell_skipped
from svit.cli.progress import progress_bar


def crowdhuman(
    source: Annotated[
        Path, typer.Option("-i", "--input", help="The folder of annotation_train.odgt, with the pictures.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    extract: Annotated[
        bool, typer.Option("--extract", help="First unpack CrowdHuman_*.zip to train/Images and val/Images.")
    ] = False,
    dry_run: DryRun = False,
    skip_bad: SkipBad = False,
) -> None:
    """Prepare CrowdHuman, its pictures in folders or still in the official zips."""
    from svit.data.bad_rows import BadRows
    from svit.data.prepare.crowdhuman import prepare_crowdhuman

    bad_rows = BadRows(skip_bad)
    for prepared in prepare_crowdhuman(source, output, extract, dry_run, bad_rows, progress_bar):
        print(f"would write {prepared}" if dry_run else prepared)
    tell_skipped(bad_rows)
