"""What clips are cut from: videos and stills with their labels, of one or many data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from svit.config import Settings
from svit.data.augment.clip import FrameLabels, LabelledClip
from svit.data.coco_types import CocoVideo
from svit.data.coco_video import read_coco_video
from svit.data.datasets import EvalSequence, Part, frame_range, load_dataset
from svit.data.images_root import find_images
from svit.data.people import corners, ignored_rows, people_rows
from svit.data.video_frames import open_frames
from svit.errors import DataError
from svit.types import Image, Progress, no_progress
from svit.video.images import read_image

Positions = npt.NDArray[np.int64]

KEPT = 8
"""Decoded frames of a video that are kept: a clip's frames lie close together."""


class SourceConfig(Settings):
    """One data set and how much of it an epoch sees."""

    annotations: Path | None = Field(
        None, description="COCO-video or COCO file, as `svit prepare` writes it, from the data's root"
    )
    images: Path | None = Field(
        None, description="folder of the annotations' images, from the data's root; none: looked for"
    )
    sequences: Path | None = Field(
        None, description="instead of annotations: folder of sequences (or of one) in MOTChallenge's layout"
    )
    pattern: str = Field("*", description="of the sequences' or videos' names, as in MOT17-*-FRCNN")
    part: Part = Field("all", description="of each sequence: all frames, a half, or FIRST-LAST, from 1")
    every: int = Field(1, gt=0, description="clips start at every n-th of these frames")
    share: float = Field(
        1.0, gt=0, description="passes over the frames per epoch; 0.1 is a new tenth each time"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.annotations is None) == (self.sequences is None):
            raise ValueError("a source has either annotations or sequences")
        return self


class Pictures(Protocol):
    """Frames by position, from 0."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Image: ...

    def close(self) -> None:
        """Gives back what is held open; reading again opens it again."""
        ...


@dataclass(frozen=True)
class Stills:
    """Images of a folder by name; nothing is kept open."""

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image:
        return read_image(self.root / self.names[index])

    def close(self) -> None:
        """Nothing is held open."""


@dataclass(frozen=True)
class Scene:
    """One video, or one still.

    Attributes:
        name: of the video or image.
        pictures: what holds the frames.
        positions: (T,) where the frames are in `pictures`, in order.
        starts: (S,) the frames (from 0) that clips start with.
        labels: what is in frame t (from 0); made when asked for, because millions of frames would not fit.
    """

    name: str
    pictures: Pictures
    positions: Positions
    starts: Positions
    labels: Callable[[int], FrameLabels]

    def __len__(self) -> int:
        return len(self.positions)

    def clip(self, frames: Sequence[int]) -> LabelledClip:
        """The frames at these places (from 0) as a clip.

        Raises:
            SvitError: one cannot be read, or they differ in size.
        """
        pictures = [self.pictures[int(self.positions[frame])] for frame in frames]
        if len({picture.shape for picture in pictures}) > 1:
            raise DataError(f"{self.name}: frames {min(frames)}-{max(frames)} differ in size")
        return LabelledClip.of(pictures, [self.labels(frame) for frame in frames])


def load_scenes(
    config: SourceConfig, root: Path, progress: Progress = no_progress, classes: int | None = None
) -> list[Scene]:
    """All videos and stills of a source.

    Args:
        config: which, and what of them.
        root: what its paths start from.
        progress: told how far the reading is.
        classes: that a model can learn, the first ones of the annotations' categories; None is any.

    Raises:
        DataError: files are missing or malformed, nothing is in them, or boxes are of further classes.
    """
    if config.annotations is not None:
        scenes = _annotated(config, root, progress, classes)
    else:
        assert config.sequences is not None
        found = load_dataset(root / config.sequences, part=config.part, pattern=config.pattern)
        scenes = [_sequence(sequence, config) for sequence in found]
    scenes = [scene for scene in scenes if len(scene.starts)]
    if not scenes:
        raise DataError(f"{root / (config.annotations or config.sequences or '')}: no frames to train on")
    return scenes


def _sequence(sequence: EvalSequence, config: SourceConfig) -> Scene:
    """A sequence in MOTChallenge's layout; a row's place is its frame's place."""
    first, last = sequence.first, sequence.last
    rows = sequence.ground_truth
    people, ignored = rows[people_rows(rows)], rows[ignored_rows(rows)]

    def labels(frame: int) -> FrameLabels:
        here = people[people[:, 0] == first + frame]
        not_judged = ignored[ignored[:, 0] == first + frame]
        ids = here[:, 1].astype(np.int64)
        return FrameLabels(
            _boxes(here[:, 2:6]), ids, np.zeros(len(ids), np.int64), _boxes(not_judged[:, 2:6])
        )

    positions = np.arange(first - 1, last, dtype=np.int64)
    starts = np.arange(0, len(positions), config.every)
    return Scene(sequence.name, open_frames(sequence.source, cache=KEPT), positions, starts, labels)


def _annotated(config: SourceConfig, root: Path, progress: Progress, classes: int | None) -> list[Scene]:
    """The videos of a COCO-video file, then its stills."""
    assert config.annotations is not None
    coco = read_coco_video(root / config.annotations, progress=progress)
    _check_classes(coco, classes)
    images = find_images(coco, None if config.images is None else root / config.images)
    scenes = []
    stills = Stills(images, coco.images.file_name)
    for video, name in enumerate(coco.videos.name):
        frames = coco.video_frames[video]
        numbers = coco.images.mot_frame_id[frames]
        if len(frames) and fnmatch(name, config.pattern):
            first, last = frame_range(config.part, int(numbers.max()), f"{coco.path}, video {name}")
            used = (numbers >= first) & (numbers <= last)
            frames, numbers = frames[used], numbers[used]
            file = coco.videos.video_file[video]
            pictures: Pictures = stills if file is None else open_frames(images / file, cache=KEPT)
            positions = frames if file is None else numbers.astype(np.int64) - 1
            starts = np.arange(0, len(frames), config.every)
            scenes.append(Scene(name, pictures, positions, starts, _CocoLabels(coco, frames)))
    for image in coco.stills:
        one, start = np.array([image]), np.zeros(1, np.int64)
        scenes.append(Scene(coco.images.file_name[image], stills, one, start, _CocoLabels(coco, one)))
    return scenes


def _check_classes(coco: CocoVideo, classes: int | None) -> None:
    """That no box to be learnt is of a class that the model does not have."""
    last = int(coco.boxes.category[~coco.boxes.iscrowd].max(initial=0))
    if classes is not None and last >= classes:
        name = list(coco.categories.values())[last]
        raise DataError(
            f"{coco.path}: boxes of class '{name}', number {last + 1} of its categories, but the model has "
            f"{classes}; name them in model.settings.detector.class_names, or leave those boxes out"
        )


@dataclass(frozen=True)
class _CocoLabels:
    """The labels of some images of a file."""

    coco: CocoVideo
    images: Positions

    def __call__(self, frame: int) -> FrameLabels:
        boxes, rows = self.coco.boxes, self.coco.boxes_of(int(self.images[frame]))
        xyxy = _boxes(boxes.xywh[rows])
        ignore = boxes.iscrowd[rows]
        if boxes.mot_conf is not None:
            ignore = ignore | (boxes.mot_conf[rows] == 0)
        learn = ~ignore
        ids, classes = boxes.instance_id[rows][learn], boxes.category[rows][learn].astype(np.int64)
        return FrameLabels(xyxy[learn], ids, classes, xyxy[ignore])


def _boxes(xywh: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return corners(xywh).astype(np.float32)
