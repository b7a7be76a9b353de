"""Options that every `svit prepare` command has."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from svit.data.bad_rows import BadRows

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written; write nothing.")]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Go on past rows that cannot be read; their number is told at the end."),
]

SHOWN = 5
"""So many skipped rows are told one by one."""


def tell_skipped(bad_rows: BadRows) -> None:
    """Says on stderr which rows were passed over, and how many."""
    for message in bad_rows.messages[:SHOWN]:
        print(f"svit: warning: skipped {message}", file=sys.stderr)
    if len(bad_rows.messages) > SHOWN:
        print(f"svit: warning: ... and {len(bad_rows.messages) - SHOWN} more", file=sys.stderr)
    if bad_rows.messages:
        print(f"svit: warning: {len(bad_rows.messages)} bad rows skipped", file=sys.stderr)
