"""`svit prepare ssv2`."""

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


def ssv2(
    source: Annotated[Path, typer.Option("-i", "--input", help="The folder of the JSON files and videos.")],
    output: Output,
    lists: Lists = None,
    videos: Videos = None,
    labels: Labels = None,
    flip: Annotated[
        Flip, typer.Option(help="May videos be mirrored? swap: then left and right swap labels.")
    ] = Flip.NEVER,
    pairs: Pairs = None,
    rate: Rate = 12.0,
    workers: Workers = None,
    strict: Strict = False,
    dry_run: DryRun = False,
    skip_bad: SkipBad = False,
) -> None:
    """Index Something-Something v2: official JSON or lists, .webm or folders of frames."""
    from svit.data.bad_rows import BadRows
    from svit.data.prepare.action_index import ActionOptions
    from svit.data.prepare.ssv2 import prepare_ssv2

    options = ActionOptions(
        tuple(lists or ()), videos, labels, flip.value, pairs, rate, workers, strict, dry_run
    )
    bad_rows = BadRows(skip_bad)
    prepared = prepare_ssv2(source, output, options, bad_rows, progress_bar)
    tell_skipped(bad_rows)
    tell_prepared(prepared, dry_run)
