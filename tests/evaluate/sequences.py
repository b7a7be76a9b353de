"""Small sequences in MOTChallenge's layout, made by the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image as PillowImage
from tests.integration.samples import SIZE, moving
from tests.video.clips import write_clip

from svit.types import Image

RATE = 10

INFO = """[Sequence]
name={name}
frameRate={rate}
seqLength={length}
imWidth={width}
imHeight={height}
"""

Row = Sequence[float]


def person(
    identity: int, frames: Sequence[int], box: Row = (10, 10, 20, 40), rest: Row = (1, 1, 1)
) -> list[Row]:
    """Rows of somebody who stands still; `rest` is confidence, class, visibility."""
    return [(frame, identity, *box, *rest) for frame in frames]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(f"{value:g}" for value in row) + "\n" for row in rows))
    return path


def make_sequence(
    folder: Path, frames: int = 6, rows: Sequence[Row] | None = None, seed: int = 0, *, video: bool = False
) -> Path:
    """FOLDER/{seqinfo.ini,gt/gt.txt,img1/000001.png ...}, or a video instead of the images."""
    folder.mkdir(parents=True)
    images = moving(frames, seed)
    info = INFO.format(name=folder.name, rate=RATE, length=frames, width=SIZE[0], height=SIZE[1])
    if video:
        write_clip(folder / "video.mp4", images, rate=RATE)
        info += "videoFile=video.mp4\n"
    else:
        write_numbered(folder / "img1", images)
        info += "imDir=img1\nimExt=.png\n"
    (folder / "seqinfo.ini").write_text(info)
    write_rows(folder / "gt" / "gt.txt", person(1, range(1, frames + 1)) if rows is None else rows)
    return folder


def write_numbered(folder: Path, images: Sequence[Image], digits: int = 6) -> None:
    """Images that are called by their number, from 1."""
    folder.mkdir()
    for number, image in enumerate(images, start=1):
        PillowImage.fromarray(image).save(folder / f"{number:0{digits}d}.png")
