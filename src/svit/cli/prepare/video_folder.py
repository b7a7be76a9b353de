"""`svit prepare video-folder`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svit.cli.prepare.action_options import (
    Flip,
    Labels,
    Lists,
    Output,
    Pairs,
    Rate,
    Strict,
    Videos,
    Workers,
    tell_prepared,
)
from svit.cli.prepare.options import DryRun, SkipBad, tell_skipped
from svit.cli.progress import progress_bar


def video_folder(
    source: Annotated[
        Path, typer.Option("-i", "--input", help="The folder of the class folders, or of clips.csv.")
    ],
    output: Output,
    group_by: Annotated[
        str | None,
        typer.Option(
            help="What stays in one split: `folder`, or a regular expression for part of the path."
            "  [default: the list's group or source_video; else each video]"
        ),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option(help="Make the split anew: share for validation.  [default: as it is, else 0.2]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of a split that is made.")] = 0,
    lists: Lists = None,
    videos: Videos = None,
    labels: Labels = None,
    flip: Annotated[Flip, typer.Option(help="May videos be mirrored?")] = Flip.NEVER,
    pairs: Pairs = None,
    rate: Rate = 30.0,
    workers: Workers = None,
    strict: Strict = False,
    dry_run: DryRun = False,
    skip_bad: SkipBad = False,
) -> None:
    """Index any videos in folders of classes, or in a list; split by what they were cut from."""
    from svit.data.bad_rows import BadRows
    from svit.data.prepare.action_index import ActionOptions
    from svit.data.prepare.video_folder import SplitOptions, prepare_video_folder

    options = ActionOptions(
        tuple(lists or ()), videos, labels, flip.value, pairs, rate, workers, strict, dry_run
    )
    bad_rows = BadRows(skip_bad)
    split = SplitOptions(group_by, val, seed)
    prepared = prepare_video_folder(source, output, options, split, bad_rows, progress_bar)
    tell_skipped(bad_rows)
    tell_prepared(prepared, dry_run)
