"""A small labelled data set of videos, and a model that says something about each."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.data.actions.videos import look_into
from tests.integration.samples import moving, write_images
from tests.model.action_models import action_model
from tests.video.clips import write_clip

from svit.data.actions import ActionIndex, ActionVideo, FlipRule, read_action_index
from svit.data.actions.index import BrokenVideo, write_action_index
from svit.data.actions.scan import Job, scan_video
from svit.model.preprocess import preprocess
from svit.model.video_model import VideoModel

CLASSES = ("walk", "run", "fall")
SIZE = (64, 48)
SPLIT = "val"


def model_of(classes: tuple[str, ...] = CLASSES, **overrides: object) -> VideoModel:
    """Untrained, but its answers differ from video to video."""
    settings = {"input__short_side": 32, "input__long_side": 64, "action__window": 4, "encoder__memory": 4}
    model = action_model(**{**settings, "action__class_names": classes, **overrides})
    clips = [
        torch.stack(
            [preprocess(image, model.config.input, model.config.stride) for image in moving(4, n, SIZE)]
        )
        for n in range(4)
    ]
    with torch.no_grad():
        classifier = model.action.classifier
        classifier.weight.mul_(20)
        classifier.bias.sub_(model.classify(torch.stack(clips), at=[-1])[0].mean((0, 1)))
    return model


def make_index(root: Path, frames: tuple[int, ...] = (8, 3, 12, 1), broken: int = 1) -> Path:
    """Videos of so many frames, 10 a second, and a folder of images; the index's path."""
    videos = []
    for number, count in enumerate(frames):
        path = write_clip(root / f"v{number}.mp4", moving(count, number, SIZE), rate=10)
        videos.append(look_into(path, number % len(CLASSES), SPLIT))
    write_images(root / "pictures", moving(9, 50, SIZE))
    facts = scan_video(Job(root / "pictures", 10.0, first=2, frames=6))
    videos.append(ActionVideo("pictures", 1, SPLIT, "pictures", **facts))
    lost = [BrokenVideo(f"lost{n}.mp4", 0, SPLIT, "is empty") for n in range(broken)]
    index = ActionIndex(root / "index.json", "small", root, list(CLASSES), FlipRule(), videos, lost)
    with index.path.open("wb") as file:
        write_action_index(file, index, ".")
    return index.path


def read(path: Path) -> ActionIndex:
    return read_action_index(path)
