"""Small labelled videos for the tests of action data."""

from __future__ import annotations

from pathlib import Path

from tests.video.clips import flat, write_clip

from svit.data.actions.index import ActionIndex, ActionVideo, FlipRule
from svit.data.actions.scan import Job, scan_video


def write_video(path: Path, frames: int = 8, level: int = 20) -> Path:
    """Frame n is grey of `level` + 8 n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, [flat(level + 8 * number) for number in range(frames)])


def look_into(path: Path, label: int = 0, split: str = "train") -> ActionVideo:
    """What the index says of a video; the index's root is the video's folder."""
    facts = scan_video(Job(path, 10.0))
    assert "reason" not in facts, facts
    return ActionVideo(path.name, label, split, path.stem, **facts)


def index_of(root: Path, *videos: ActionVideo, flip: FlipRule | None = None) -> ActionIndex:
    classes = ["left", "right", "still"]
    return ActionIndex(root / "index.json", "test", root, classes, flip or FlipRule(), list(videos))
