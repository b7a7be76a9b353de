"""Options that the commands for action data sets share, and what they print."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from svit.data.prepare.action_index import PreparedActions

SHOWN = 5
"""So many broken videos are told one by one."""


class Flip(StrEnum):
    """What mirroring does to labels."""

    NEVER = "never"
    ANY = "any"
    SWAP = "swap"


Output = Annotated[Path, typer.Option("-o", "--output", help="The index to write, .json.")]
Lists = Annotated[
    list[str] | None,
    typer.Option(
        "--list", help="List of videos, FILE or train=FILE; again for others.  [default: looked for]"
    ),
]
Videos = Annotated[
    Path | None, typer.Option(help="Folder of the videos, or of folders of frames.  [default: the input]")
]
Labels = Annotated[
    Path | None, typer.Option(help="Label map: the order of the classes.  [default: alphabetical]")
]
Pairs = Annotated[
    Path | None,
    typer.Option(
        help="For --flip swap: pairs of classes, `one,other` in each line.  [default: left and right]"
    ),
]
Rate = Annotated[float, typer.Option(help="Frames per second of videos that are folders of images.")]
Workers = Annotated[
    int | None, typer.Option(help="Processes that look into videos.  [default: one per core]")
]
Strict = Annotated[bool, typer.Option("--strict", help="A broken video is an error; nothing is written.")]


def tell_prepared(prepared: PreparedActions, dry_run: bool) -> None:
    """Prints what was written, and warns of broken videos on stderr."""
    for note in prepared.notes:
        print(f"svit: warning: {note}", file=sys.stderr)
    broken = prepared.index.broken
    for video in broken[:SHOWN]:
        print(f"svit: warning: {video.reason}", file=sys.stderr)
    if broken:
        more = f"{len(broken)} videos cannot be used"
        print(f"svit: warning: {more}{'' if dry_run else '; the index lists them'}", file=sys.stderr)
    print(f"would write {prepared}" if dry_run else prepared)
