"""Small action data sets in every layout that they come in."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image
from tests.data.actions.videos import write_video

from svit.data.actions import ActionIndex

CLIPS = {
    ("train", "arm wrestling", "-3B32lodo2M", 59): 6,
    ("train", "abseiling", "_dbcJuKJQNs", 40): 7,
    ("val", "arm wrestling", "0wR5jVB-WPk", 0): 8,
}
"""Split, class, id and second of the cut of each clip: number of frames."""

CLASSES = ["abseiling", "arm wrestling"]


def video(path: Path, frames: int, cache: Path) -> None:
    """A video of so many frames; encoding is slow, so each is made once."""
    made = cache / f"{frames}.mp4"
    if not made.exists():
        write_video(made, frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(made, path)


def frames_folder(folder: Path, frames: int) -> None:
    folder.mkdir(parents=True)
    for number in range(1, frames + 1):
        Image.new("RGB", (96, 64)).save(folder / f"img_{number:05d}.jpg")


def told(index: ActionIndex) -> list[tuple[str, str, str, int]]:
    """Split, class, group and frames of each video, in a fixed order."""
    return sorted((v.split, index.classes[v.label], v.group, v.frames) for v in index.videos)


WANTED = sorted((split, label, name, frames) for (split, label, name, _), frames in CLIPS.items())
