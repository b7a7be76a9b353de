"""`svit prepare mot`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from svit.cli.prepare.options import DryRun, SkipBad, tell_skipped
from svit.cli.progress import progress_bar


class DetectionFormat(StrEnum):
    """Of the detections' files."""

    JSON = "json"
    NPZ = "npz"


def mot(
    source: Annotated[Path, typer.Option("-i", "--input", help="The folder that holds train, val or test.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    split_train: Annotated[
        bool, typer.Option("--split-train", help="Also half-train and half-val, cut from train.")
    ] = False,
    convert_det: Annotated[
        bool, typer.Option("--convert-det", help="Also the public detections, det/det.txt.")
    ] = False,
    det_format: Annotated[
        DetectionFormat, typer.Option(help="Of the detections' files.")
    ] = DetectionFormat.JSON,
    no_write_gt: Annotated[
        bool, typer.Option("--no-write-gt", help="Write no gt_half-*.txt beside gt.txt.")
    ] = False,
    drop_ignored: Annotated[
        bool,
        typer.Option("--drop-ignored", help="Leave out pedestrians with confidence 0 (officially kept)."),
    ] = False,
    dry_run: DryRun = False,
    skip_bad: SkipBad = False,
) -> None:
    """Prepare MOT15, MOT16, MOT17, MOT20, DanceTrack or SportsMOT."""
    from svit.data.bad_rows import BadRows
    from svit.data.prepare.mot import MotOptions, prepare_mot

    options = MotOptions(split_train, convert_det, det_format.value, not no_write_gt, drop_ignored, dry_run)
    bad_rows = BadRows(skip_bad)
    for prepared in prepare_mot(source, output, options, bad_rows, progress_bar):
        print(f"would write {prepared}" if dry_run else prepared)
    tell_skipped(bad_rows)
