"""`svit prepare check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svit.cli.progress import progress_bar


def check(
    file: Annotated[Path, typer.Argument(help="A COCO-video or plain COCO file.")],
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder that file names start from; else looked for beside FILE."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Look at so many image files only, evenly spaced.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="Draw some frames with their boxes and ids: a PNG.")
    ] = None,
) -> None:
    """Say what is in a file and what is wrong with it; exit status 1 if anything is."""
    from svit.data.check import check_coco_video
    from svit.data.preview import draw_preview
    from svit.data.summary import summarise

    report = check_coco_video(file, images, sample, progress_bar)
    print(summarise(report.coco))
    if report.root:
        print(f"\n{report.files_checked} of {report.files} files looked at in {report.root}")
    print("\n".join(map(str, report.problems)) or "nothing is wrong")
    if preview:
        drawn = report.root and draw_preview(report.coco, report.root, preview)
        print(f"preview: {preview if drawn else 'none, no image can be read'}")
    if report.problems:
        raise typer.Exit(1)
