"""Where MOTChallenge, DanceTrack and SportsMOT keep their sequences and frames."""

from __future__ import annotations

from pathlib import Path

from svit.data.bad_rows import BadRows
from svit.data.mot_files import SequenceInfo
from svit.errors import DataError
from svit.video.images import image_paths

SUBSETS = ("train", "val", "test")
"""Folders of a data set, in the order their ids are given. MOTChallenge has no `val`."""

Frames = list[tuple[int, str]]
"""Frame number (from 1) and file name beside the sequences (SEQ/img1/000001.jpg), in order."""


def find_subsets(root: Path) -> dict[str, list[Path]]:
    """The sequences of each subset that is there, sorted by name; files and hidden folders are passed over.

    Raises:
        DataError: `root` is missing, at the wrong level, or a subset has no sequences.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds train and test")
    subsets = {name: _folders(root / name) for name in SUBSETS if (root / name).is_dir()}
    if not subsets:
        raise DataError(f"{root}: no train, val or test folder in it; {_hint(root)}")
    for name, sequences in subsets.items():
        if not sequences:
            raise DataError(f"{root / name}: no sequences in it (folders with a seqinfo.ini)")
    return subsets


def list_frames(info: SequenceInfo, bad_rows: BadRows) -> Frames:
    """The frames of a sequence, from its picture folder; those of a video are numbered as if it had one.

    Numbers may have any width (DanceTrack: 00000001.jpg). A frame that is missing, or a picture that is no
    frame, is told to `bad_rows`.

    Raises:
        DataError: no picture folder, no video, or (unless bad rows are skipped) the frames are not
            1 ... seqLength.
    """
    if info.video:
        if not info.video.is_file():
            raise DataError(f"{info.video}: not found, but seqinfo.ini names it as videoFile")
        return [(number, info.image(number)) for number in range(1, info.length + 1)]
    assert info.images is not None  # a sequence without a video has a picture folder
    if not info.images.is_dir():
        raise DataError(f"{info.images}: no such folder; the sequence's pictures belong there (imDir)")
    names = _numbered_pictures(info, bad_rows)
    _report_missing(info, names, bad_rows)
    return [(number, names[number]) for number in sorted(names)]


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _hint(root: Path) -> str:
    """Whether the right folder is one level down or up."""
    folders = _folders(root)
    below = next((path for path in folders if any((path / name).is_dir() for name in SUBSETS)), None)
    if below:
        return f"{below} has one, so this is one level too high: give {below}"
    if any((path / "seqinfo.ini").is_file() for path in folders):
        return f"it holds sequences, so this is one level too low: give {root.resolve().parent}"
    return "expected train/SEQUENCE/seqinfo.ini below it"


def _numbered_pictures(info: SequenceInfo, bad_rows: BadRows) -> dict[int, str]:
    """File names by frame number; pictures of another kind than imExt are passed over."""
    assert info.images is not None
    names: dict[int, str] = {}
    for path in image_paths(info.images):
        if path.suffix.lower() != info.extension.lower():
            continue
        number = int(path.stem) if path.stem.isdecimal() else 0
        if not 1 <= number <= info.length:
            bad_rows.report(f"{path}: is none of the {info.length} frames that seqinfo.ini tells (seqLength)")
        elif number in names:
            bad_rows.report(f"{path}: is frame {number}, and so is {names[number]}")
        else:
            names[number] = f"{info.folder.name}/{info.images.name}/{path.name}"
    return names


def _report_missing(info: SequenceInfo, names: dict[int, str], bad_rows: BadRows) -> None:
    missing = [number for number in range(1, info.length + 1) if number not in names]
    if not missing:
        return
    digits = len(Path(next(iter(names.values()), "000000")).stem)
    first = f"{missing[0]:0{digits}d}{info.extension}"
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    bad_rows.report(
        f"{info.images}: {first} is missing{more}; seqinfo.ini tells {info.length} frames (seqLength), "
        f"{len(names)} are there"
    )
