"""Small data sets in the layouts of MOTChallenge and CrowdHuman."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

GT = ("1,7,10,20,30,40,1,1,0.5", "2,7,11,20,30,40,0,1,0.25", "1,9,0,0,5,5,0,3,1", "3,4,1,2,3,4,1,1,1")
"""A pedestrian of two frames, ignored in the second; a car; another pedestrian."""

DET = ("1,-1,10,20,30,40,0.9", "3,-1,1.5,2,3,4,-0.25,-1,-1,-1")


def jpeg(width: int = 40, height: int = 30) -> bytes:
    """A grey picture."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(buffer, "jpeg")
    return buffer.getvalue()


def write_sequence(
    folder: Path,
    frames: int = 5,
    gt: Sequence[str] | None = GT,
    det: Sequence[str] | None = DET,
    digits: int = 6,
    video: str = "",
) -> Path:
    """A sequence: with pictures called by numbers of so many digits, or (a file's name) with a video."""
    place = f"videoFile={video}" if video else "imDir=img1"
    (folder / "img1").mkdir(parents=True)
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\n{place}\nframeRate=25\nseqLength={frames}\n"
        "imWidth=40\nimHeight=30\nimExt=.jpg\n"
    )
    if video:
        (folder / video).write_bytes(b"never opened")
    for number in range(1, 0 if video else frames + 1):
        (folder / "img1" / f"{number:0{digits}d}.jpg").write_bytes(b"never opened")
    for name, lines in (("gt", gt), ("det", det)):
        if lines is not None:
            (folder / name).mkdir()
            (folder / name / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def write_mot(root: Path) -> Path:
    """Two training sequences and a test sequence."""
    for name in ("SEQ-01", "SEQ-02"):
        write_sequence(root / "train" / name)
    write_sequence(root / "test" / "SEQ-03", frames=3, gt=None)
    return root


def person(box: Sequence[float] = (1, 2, 3, 4), ignore: int | None = None) -> dict:
    """One entry of gtboxes."""
    extra = {"box_id": 0, "occ": 1} | ({} if ignore is None else {"ignore": ignore})
    head = {"ignore": 0, "occ": 0, "unsure": 0}
    shape = {"fbox": list(box), "vbox": [1, 2, 2, 2], "hbox": [0, 0, 1, 1]}
    return {"tag": "person", "head_attr": head, "extra": extra, **shape}


def write_crowdhuman(root: Path, zipped: bool = False) -> Path:
    """Three training pictures (the third without people) and one for validation, in folders or zips."""
    rows = {
        "train": {"1,a": [person((-3, 2, 9, 8)), person(ignore=1)], "2,b": [person(ignore=0)], "3,c": []},
        "val": {"4,d": [person()]},
    }
    root.mkdir(parents=True, exist_ok=True)
    for split, pictures in rows.items():
        lines = [json.dumps({"ID": name, "gtboxes": people}) for name, people in pictures.items()]
        (root / f"annotation_{split}.odgt").write_text("\n".join(lines) + "\n")
        for index, name in enumerate(pictures):
            part = f"{index % 2 + 1:02d}" if split == "train" else ""
            if zipped:
                with zipfile.ZipFile(root / f"CrowdHuman_{split}{part}.zip", "a") as archive:
                    archive.writestr(f"Images/{name}.jpg", jpeg(40 + index, 30))
            else:
                (root / split / "Images").mkdir(parents=True, exist_ok=True)
                (root / split / "Images" / f"{name}.jpg").write_bytes(jpeg(40 + index, 30))
    return root


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, with its contents."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
