"""`svit prepare kinetics400`."""

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


def kinetics400(
    source: Annotated[Path, typer.Option("-i", "--input", help="The folder of the lists and videos.")],
    output: Output,
    lists: Lists = None,
    videos: Videos = None,
    labels: Labels = None,
    flip: Annotated[Flip, typer.Option(help="May videos be mirrored?")] = Flip.ANY,
    pairs: Pairs = None,
    rate: Rate = 30.0,
    workers: Workers = None,
    strict: Strict = False,
    dry_run: DryRun = False,
    skip_bad: SkipBad = False,
) -> None:
    """Index Kinetics-400 (or 600, 700): lists in any layout, or folders of classes."""
    from svit.data.bad_rows import BadRows
    from svit.data.prepare.action_index import ActionOptions
    from svit.data.prepare.kinetics400 import prepare_kinetics400

    options = ActionOptions(
        tuple(lists or ()), videos, labels, flip.value, pairs, rate, workers, strict, dry_run
    )
    bad_rows = BadRows(skip_bad)
    prepared = prepare_kinetics400(source, output, options, bad_rows, progress_bar)
    tell_skipped(bad_rows)
    tell_prepared(prepared, dry_run)
