"""The index of an action data set: its classes, and every video with its label and where its frames are.

One JSON file, one video per line; docs/data.md says what each field means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from svit.data.json_records import Batch, read_records
from svit.errors import DataError

FORMAT = "svit-actions-1"
"""What the file calls itself."""

FlipKind = Literal["never", "any", "swap"]
Times = npt.NDArray[np.float64]
"""(frames,): seconds since a video's first frame, rising."""


@dataclass(frozen=True)
class FlipRule:
    """What mirroring a video left to right does to its label; a property of the data set.

    Attributes:
        kind: "never": it must not be mirrored; "any": the label stays; "swap": the labels of `pairs` swap,
            all others stay.
        pairs: names of classes that are each other's mirror image; for "swap" alone.

    Raises:
        DataError: an unknown kind, no pairs where they are needed, or a class in two of them.
    """

    kind: FlipKind = "never"
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(FlipKind):
            raise DataError(f"flip rule '{self.kind}': must be never, any or swap")
        if (self.kind == "swap") != bool(self.pairs):
            raise DataError(f"flip rule {self.kind}: pairs of classes are for swap, which needs them")
        names = [name for pair in self.pairs for name in pair]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"flip rule swap: the class '{twice[0]}' is in two pairs")

    def mirrored(self, classes: Sequence[str]) -> list[int]:
        """The label of each class's mirror image.

        Raises:
            DataError: a pair names a class that is not there.
        """
        places = {name: number for number, name in enumerate(classes)}
        labels = list(range(len(classes)))
        for one, other in self.pairs:
            for name in (one, other):
                if name not in places:
                    raise DataError(f"flip rule swap: there is no class '{name}'")
            labels[places[one]], labels[places[other]] = places[other], places[one]
        return labels


@dataclass(frozen=True, slots=True)
class ActionVideo:
    """One labelled video.

    Attributes:
        path: of the file, or of the folder of its frames as images; from the index's `root`.
        label: class, from 0.
        split: "train", "val", "test".
        group: what it was cut from; videos of one group are in one split.
        frames: how many.
        rate: frames per second, on average.
        width, height: of a frame as shown, pixels.
        duration: seconds, the last frame's own included.
        keyframes: frames that decoding can start at, from 0; empty where the file must be searched, and for
            images.
        times: seconds since the first frame, where these are not evenly spaced; else None.
        start: the first frame's time in the container, seconds.
        bytes: size of the file; 0 for images.
        first: image in the folder that is the video's first frame, from 0.
    """

    path: str
    label: int
    split: str
    group: str
    frames: int
    rate: float
    width: int
    height: int
    duration: float
    keyframes: tuple[int, ...] = ()
    times: tuple[float, ...] | None = None
    start: float = 0.0
    bytes: int = 0
    first: int = 0

    def clock(self) -> Times:
        """(frames,) seconds since the first frame, of each frame."""
        return np.arange(self.frames) / self.rate if self.times is None else np.array(self.times)


UNSAID: dict[str, object] = {"keyframes": (), "times": None, "start": 0.0, "bytes": 0, "first": 0}
"""Values that are not written."""


@dataclass(frozen=True, slots=True)
class BrokenVideo:
    """A video of the lists that cannot be used.

    Attributes:
        path: as far as it is known; as the list has it.
        label, split: as for a good one.
        reason: why not, one line.
    """

    path: str
    label: int
    split: str
    reason: str


@dataclass(frozen=True)
class ActionIndex:
    """A data set.

    Attributes:
        path: of the index.
        name: of the data set.
        root: folder that the videos' paths start from.
        classes: their names, by label.
        flip: what mirroring does.
        videos: those that can be used, in the lists' order.
        broken: those that cannot.
    """

    path: Path
    name: str
    root: Path
    classes: list[str]
    flip: FlipRule
    videos: list[ActionVideo]
    broken: list[BrokenVideo] = field(default_factory=list)

    @cached_property
    def mirrored(self) -> list[int]:
        """The label of each class's mirror image; see `FlipRule`."""
        return self.flip.mirrored(self.classes)

    @property
    def splits(self) -> list[str]:
        """The splits that videos are in."""
        return sorted({video.split for video in self.videos})

    def of(self, split: str) -> list[ActionVideo]:
        """The videos of a split, in the lists' order.

        Raises:
            DataError: there are none.
        """
        found = [video for video in self.videos if video.split == split]
        if not found:
            there = ", ".join(self.splits) or "no videos"
            raise DataError(f"{self.path}: no videos of the split '{split}'; there is {there}")
        return found

    def path_of(self, video: ActionVideo) -> Path:
        """Where a video is."""
        return self.root / video.path


def write_action_index(file: IO[bytes], index: ActionIndex, root: str) -> None:
    """Writes an index, one video per line.

    Args:
        file: to write to.
        index: what is written; its `path` and `root` are not.
        root: folder of the videos as the file has it: from the file's own folder, or absolute.
    """
    flip = {"rule": index.flip.kind, "pairs": index.flip.pairs}
    head = {"format": FORMAT, "name": index.name, "root": root, "flip": flip, "classes": index.classes}
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    for key, records in (("videos", map(_brief, index.videos)), ("broken", map(asdict, index.broken))):
        rows = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
        lines.append(f'"{key}": [\n{rows}\n]')
    file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())


def _brief(video: ActionVideo) -> dict[str, Any]:
    """A video's fields without those that say nothing."""
    record = {name: getattr(video, name) for name in ActionVideo.__slots__}
    return {name: value for name, value in record.items() if value != UNSAID.get(name, UNSAID)}


def read_action_index(path: str | Path, root: str | Path | None = None) -> ActionIndex:
    """Reads what `svit prepare kinetics400`, `ssv2` or `video-folder` wrote.

    Args:
        path: the index.
        root: folder of the videos, where they are not where the index says.

    Raises:
        DataError: the file is missing, malformed, or no index; the message names the record.
    """
    path = Path(path)
    values: dict[str, Any] = {"videos": [], "broken": []}
    for batch in read_records(path):
        if batch.section in ("videos", "broken"):
            values[batch.section] += _records(path, batch)
        else:
            values[batch.section] = batch.records if batch.first else batch.records[0]
        if batch.section == "format" and values["format"] != FORMAT:
            raise DataError(f"{path}: is of the format '{values['format']}'; {FORMAT} is needed")
    if "format" not in values:
        raise DataError(f"{path}: is no index of an action data set; make one with svit prepare")
    try:
        index = _index(path, values, root)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: malformed ({type(error).__name__}: {error}); prepare it again") from None
    _check(index)
    return index


def _index(path: Path, values: dict[str, Any], root: str | Path | None) -> ActionIndex:
    pairs = tuple((str(one), str(other)) for one, other in values["flip"]["pairs"])
    return ActionIndex(
        path=path,
        name=str(values["name"]),
        root=Path(root) if root is not None else path.parent / values["root"],
        classes=[str(name) for name in values["classes"]],
        flip=FlipRule(values["flip"]["rule"], pairs),
        videos=values["videos"],
        broken=values["broken"],
    )


def _records(path: Path, batch: Batch) -> list[ActionVideo | BrokenVideo]:
    make = _video if batch.section == "videos" else _broken
    found: list[ActionVideo | BrokenVideo] = []
    for number, record in enumerate(batch.records, batch.first):
        try:
            found.append(make(record))
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(f"{path}: {batch.section} record {number}: {error}; prepare it again") from None
    return found


def _video(record: Mapping[str, Any]) -> ActionVideo:
    lists = {name: tuple(record[name]) for name in ("keyframes", "times") if record.get(name) is not None}
    video = ActionVideo(**{**record, **lists})
    if not (isinstance(video.frames, int) and video.frames > 0 and video.rate > 0):
        raise ValueError(f"{video.frames} frames at a rate of {video.rate}")
    if video.times is not None and len(video.times) != video.frames:
        raise ValueError(f"{len(video.times)} times of {video.frames} frames")
    return video


def _broken(record: Mapping[str, Any]) -> BrokenVideo:
    return BrokenVideo(**record)


def _check(index: ActionIndex) -> None:
    """Raises where labels and classes, or pairs and classes, do not fit."""
    if len(set(index.classes)) != len(index.classes):
        raise DataError(f"{index.path}: a class is there twice")
    for number, video in enumerate(index.videos, 1):
        if not (isinstance(video.label, int) and 0 <= video.label < len(index.classes)):
            where = f"{index.path}: videos record {number}"
            raise DataError(f"{where}: the label {video.label} is none of 0-{len(index.classes) - 1}")
    if index.mirrored:  # raises where a pair names no class
        return
    raise DataError(f"{index.path}: has no classes")
