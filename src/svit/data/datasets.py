"""Data sets to evaluate on: by name, or any folder of sequences in MOTChallenge's layout.

A name is one YAML file in `svit/configs/datasets/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from pydantic import AfterValidator, Field

from svit.config import Settings, nearest, validated
from svit.data.mot_files import Rows, read_rows, read_sequence_info
from svit.errors import DataError, SourceError, UsageError
from svit.types import Frame
from svit.video import open_source
from svit.video.images import image_paths, read_image

PARTS = ("all", "half-train", "half-val")


def check_part(part: str) -> str:
    """A part's name as it is.

    Raises:
        ValueError: it is none, or ends before it begins.
    """
    numbers = re.fullmatch(r"([1-9]\d*)-(\d+)", part)
    if part in PARTS or (numbers and int(numbers[1]) <= int(numbers[2])):
        return part
    raise ValueError(f"unknown part '{part}'; it is all, half-train, half-val, or frames as in 281-397")


Part = Annotated[str, AfterValidator(check_part)]
"""Which frames of a sequence: all of them, a half, or those from the first to the last number, from 1."""


class DatasetConfig(Settings):
    """Where a data set's sequences are, and which of them and of their frames count."""

    name: str = Field("custom", description="name of the data set")
    root: Path = Field(Path(), description="folder the data set was unpacked to; `sample`: comes with svit")
    folder: str = Field("train", description="folder of the sequences inside the root")
    sequences: str = Field("*", description="pattern of the sequences' names")
    part: Part = Field(
        "all", description="all; half-train: the first N//2 + 1 frames; half-val: the rest; or FIRST-LAST"
    )


@dataclass(frozen=True)
class EvalSequence:
    """A sequence to evaluate on.

    Attributes:
        name: what its results are called.
        source: folder of its images, or a video file.
        first, last: the frames to look at, counted from 1 in the whole sequence; both belong to it. Result
            files count the same way, so those of a half can be scored with `gt_half-val.txt`.
        rate: frames per second.
        width, height: of a frame, pixels.
        ground_truth: rows (N, C) of `gt.txt` with first <= frame <= last; see `svit.data.mot_files.Rows`.
        part: which part of the sequence that is.
    """

    name: str
    source: Path
    first: int
    last: int
    rate: float
    width: int
    height: int
    ground_truth: Rows = field(repr=False, compare=False)
    part: str = "all"

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1


def data_root(root: Path) -> Path:
    """The folder data sets were unpacked to; `sample` stands for that of the clip that comes with svit."""
    return Path(str(resources.files("svit") / "assets")) if root == Path("sample") else root


def dataset_names() -> list[str]:
    """Names of the data sets, from the YAML files shipped with svit."""
    files = resources.files("svit").joinpath("configs/datasets").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def dataset_config(name: str) -> DatasetConfig:
    """The settings of a data set.

    Raises:
        UsageError: unknown name; the nearest is suggested.
    """
    known = dataset_names()
    if name not in known:
        suggestion = nearest(name, known)
        raise UsageError(f"no data set or folder '{name}'; {suggestion}")
    text = resources.files("svit").joinpath(f"configs/datasets/{name}.yaml").read_text(encoding="utf-8")
    return validated(DatasetConfig, {"name": name, **yaml.safe_load(text)}, name)


def load_dataset(
    name_or_path: str | Path, root: str | Path | None = None, part: str | None = None, pattern: str = "*"
) -> list[EvalSequence]:
    """The sequences of a data set, with their ground truth, sorted by name.

    Args:
        name_or_path: one of `dataset_names()`; or a folder of sequences in MOTChallenge's layout
            (SEQ/seqinfo.ini, SEQ/gt/gt.txt, SEQ/img1/000001.jpg ... or the `videoFile` that seqinfo.ini
            names), or the folder of one such sequence.
        root: of a data set given by its name, the folder it was unpacked to; None is `data/...` as in
            `svit prepare`.
        part: of each sequence, the frames to look at; None is the data set's own, all for a folder.
        pattern: of the names of the sequences to take, as in a shell.

    Raises:
        UsageError: unknown name or part.
        DataError: a folder, an image or a ground truth is missing, or a ground truth does not fit.
    """
    try:
        part = None if part is None else check_part(part)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if str(name_or_path) in dataset_names():
        config = dataset_config(str(name_or_path))
        folders = _preset_folders(config, data_root(config.root if root is None else Path(root)))
        return [load_sequence(f, part or config.part) for f in folders if fnmatch(f.name, pattern)]
    if root is not None:
        raise UsageError(f"--root goes with a data set's name, not with the folder {name_or_path}")
    folders = _own_folders(Path(name_or_path))
    return [load_sequence(f, part or "all") for f in folders if fnmatch(f.name, pattern)]


def load_sequence(folder: Path, part: str = "all") -> EvalSequence:
    """One sequence in MOTChallenge's layout; every frame of the part is looked for, none is opened.

    Raises:
        DataError: seqinfo.ini, an image or gt.txt is missing or does not fit; the message names it.
    """
    info = read_sequence_info(folder)
    first, last = frame_range(part, info.length, folder)
    if info.video is None:
        source = info.images or folder / "img1"
        _image_files(source, first, last)
    else:
        source = info.video
        if not source.is_file():
            raise DataError(f"{source}: not found; {folder / 'seqinfo.ini'} names it as videoFile")
    truth = _ground_truth(folder / "gt" / "gt.txt", info.length)
    kept = truth[(truth[:, 0] >= first) & (truth[:, 0] <= last)]
    return EvalSequence(info.name, source, first, last, info.rate, info.width, info.height, kept, part)


def read_frames(sequence: EvalSequence) -> Iterator[Frame]:
    """The pictures of a sequence's part in order; `Frame.index` counts from 0 in the whole sequence.

    Raises:
        DataError: a frame is missing: the video ends early, or a damaged one was left out.
        SourceError: a picture or the video cannot be read.
    """
    if sequence.source.is_dir():
        paths = _image_files(sequence.source, sequence.first, sequence.last)
        for number, path in enumerate(paths, start=sequence.first):
            yield Frame(read_image(path), number - 1, (number - 1) / sequence.rate)
        return
    expected = sequence.first - 1
    with open_source(sequence.source) as video:
        for frame in islice(video, expected, sequence.last):
            if frame.index != expected:
                raise DataError(f"{sequence.source}: frame {expected + 1} is damaged; repair the video")
            expected += 1
            yield frame
    if expected != sequence.last:
        raise DataError(
            f"{sequence.source}: ends after {expected} frames, frame {sequence.last} is needed;"
            " correct seqLength or the video"
        )


def frame_range(part: str, length: int, where: object) -> tuple[int, int]:
    """First and last frame of a part, from 1; the halves are the official converter's.

    Args:
        part: see `Part`.
        length: frames of the sequence.
        where: what an error calls it.

    Raises:
        DataError: the sequence has no such frames.
    """
    middle = length // 2 + 1
    halves = {"all": (1, length), "half-train": (1, min(middle, length)), "half-val": (middle + 1, length)}
    first, last = halves[part] if part in halves else (int(number) for number in part.split("-"))
    if not first <= last <= length:
        raise DataError(f"{where}: has {length} frames, too few for {part}")
    return first, last


def _image_files(folder: Path, first: int, last: int) -> list[Path]:
    """The images of frames first..last, by the number that is their name, whatever its zeros."""
    try:
        numbered = {int(path.stem): path for path in image_paths(folder) if path.stem.isdecimal()}
    except SourceError:
        raise DataError(f"{folder}: not found; the images of a sequence belong there") from None
    if not numbered:
        raise DataError(f"{folder}: holds no numbered images (000001.jpg ...)")
    missing = [number for number in range(first, last + 1) if number not in numbered]
    if missing:
        example = next(iter(numbered.values()))
        path = folder / f"{missing[0]:0{len(example.stem)}d}{example.suffix}"
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{path}: this frame is missing{more}; get it again or correct seqLength")
    return [numbered[number] for number in range(first, last + 1)]


def _ground_truth(path: Path, length: int) -> Rows:
    if not path.is_file():
        raise DataError(f"{path}: not found; a sequence without ground truth cannot be evaluated")
    rows = read_rows(path)
    beyond = rows[:, 0] > length
    if beyond.any():
        frame = int(rows[beyond, 0].max())
        raise DataError(f"{path}: speaks of frame {frame}, but seqinfo.ini says seqLength={length}")
    if not len(rows):
        raise DataError(f"{path}: is empty; a sequence without ground truth cannot be evaluated")
    pairs, counts = np.unique(rows[:, :2], axis=0, return_counts=True)
    if (counts > 1).any():
        frame, identity = pairs[np.argmax(counts > 1)].astype(int)
        raise DataError(f"{path}: id {identity} is twice in frame {frame}")
    return rows


def _preset_folders(config: DatasetConfig, root: Path) -> list[Path]:
    """The sequences of a data set that was unpacked to `root`."""
    inside = root / config.folder
    if not inside.is_dir():
        raise DataError(
            f"{inside}: not found; the sequences of {config.name} belong there; {_advice(config, root)}"
        )
    found = [folder for folder in _sequences(inside) if folder.match(config.sequences)]
    if not found:
        raise DataError(f"{inside}: no sequence {config.sequences} with a seqinfo.ini; get {config.name}")
    return found


def _advice(config: DatasetConfig, root: Path) -> str:
    """Where the sequences seem to be, if the root is one level too high or too low."""
    if _sequences(root) and root.resolve().name == config.folder:
        return f"the root is one level too low, give --root {root.resolve().parent}"
    below = [child for child in _children(root) if _sequences(child / config.folder)]
    if below:
        return f"the root is one level too high, give --root {_one_of(below)}"
    return f"give the folder that holds {config.folder}/ with --root"


def _own_folders(path: Path) -> list[Path]:
    """The sequences that a folder of somebody's own means."""
    if not path.is_dir():
        if path.name == str(path) and not path.suffix:
            dataset_config(str(path))  # a misspelt name, most likely: it says which are known
        raise DataError(f"{path}: no such folder; give a folder of sequences or a data set's name")
    if (path / "seqinfo.ini").is_file():
        return [path]
    found = _sequences(path)
    if found:
        return found
    if (path.parent / "seqinfo.ini").is_file():
        raise DataError(f"{path}: is inside a sequence, one level too low; give {path.parent}")
    below = [child for child in _children(path) if _sequences(child)]
    if below:
        raise DataError(f"{path}: holds no sequences itself, one level too high; give {_one_of(below)}")
    raise DataError(
        f"{path}: no sequences here; a sequence is a folder with seqinfo.ini, gt/gt.txt and img1/"
    )


def _one_of(folders: list[Path]) -> str:
    return " or ".join(str(folder) for folder in folders[:3])


def _sequences(folder: Path) -> list[Path]:
    return [child for child in _children(folder) if (child / "seqinfo.ini").is_file()]


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []
