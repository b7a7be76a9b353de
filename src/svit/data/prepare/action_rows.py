"""From rows of lists to videos that are there, with a label, a split and a group."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from svit.data.actions.find import VideoFinder
from svit.data.actions.index import BrokenVideo
from svit.data.actions.labels import unknown_class
from svit.data.actions.lists import SPLITS, Row, read_list, split_named
from svit.data.bad_rows import BadRows
from svit.errors import DataError, UsageError

LIST_SUFFIXES = (".csv", ".txt", ".json")
LIST_FOLDERS = (".", "annotations", "labels")
"""Where lists are looked for, from the data set's folder."""

CUT_NAME = re.compile(r"(.+)_\d{6}_\d{6}")
"""Kinetics' clips are called by their source's id and their times."""


@dataclass(frozen=True)
class Entry:
    """A row whose video is there.

    Attributes:
        row: with `split` set.
        path: of the video, from the folder of the videos; absolute where it lies outside.
        label: class, from 0.
    """

    row: Row
    path: str
    label: int = -1


def read_lists(lists: Sequence[str], bad_rows: BadRows) -> list[Row]:
    """The rows of lists given as FILE, or as SPLIT=FILE where the name does not speak of its split.

    Raises:
        UsageError: the split is none of train, val, test.
        DataError: a list is malformed.
    """
    rows = []
    for given in lists:
        name, equals, file = given.partition("=")
        if equals and name.lower() not in SPLITS:
            raise UsageError(f"--list {given}: must be FILE, or train=FILE, val=FILE, test=FILE")
        rows += read_list(
            Path(file if equals else given), SPLITS.get(name.lower()) if equals else None, bad_rows
        )
    return rows


def find_lists(root: Path, passed_over: Callable[[Path], bool]) -> list[str]:
    """The lists in a data set's folder, or in its `annotations` or `labels`: those named after a split.

    Args:
        root: the data set's folder.
        passed_over: files that are none though they are called so.

    Raises:
        DataError: several for one split.
    """
    found: dict[str, Path] = {}
    for folder in (root / name for name in LIST_FOLDERS):
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in files:
            split = split_named(path.stem)
            if split is None or path.suffix.lower() not in LIST_SUFFIXES or passed_over(path):
                continue
            if split in found:
                raise DataError(
                    f"{root}: {found[split].name} and {path.name} both list {split}; choose with --list"
                )
            found[split] = path
    return [f"{split}={path}" for split, path in found.items()]


def folder_rows(root: Path, paths: Sequence[str]) -> list[Row]:
    """Rows of videos in folders that are called by their class, maybe below folders called by their split."""
    rows = []
    for path in paths:
        *above, folder, _ = ["", *path.split("/")]
        if folder in ("", *SPLITS):
            raise DataError(f"{root / path}: lies in no class folder; give a list with labels (--list)")
        splits = [SPLITS[name.lower()] for name in (root.name, *above) if name.lower() in SPLITS]
        rows.append(Row(str(root / path), (path,), folder, splits[-1] if splits else None))
    return rows


def find_entries(
    rows: Sequence[Row], finder: VideoFinder, bad_rows: BadRows
) -> tuple[list[Entry], list[BrokenVideo]]:
    """Finds each row's video; one that is not there, or more than once, is broken.

    Raises:
        DataError: a video is listed twice, if bad rows are not to be skipped.
    """
    entries: dict[str, Entry] = {}
    broken = []
    for row in rows:
        hints = [word for word in (row.split, row.label) if isinstance(word, str)]
        try:
            path = finder.find(row.names, hints)
        except DataError as error:
            broken.append(BrokenVideo(row.names[0], -1, row.split or "", f"{row.place}: {error}"))
            continue
        key = f"{path}|{row.first}"
        if key in entries:
            bad_rows.report(f"{row.place}: {path} is listed twice, first in {entries[key].row.place}")
        else:
            entries[key] = Entry(row, path)
    if not entries and rows:
        raise DataError(f"{broken[0].reason}; none of {len(rows)} videos is: give their folder (--videos)")
    return list(entries.values()), broken


def class_names(entries: Sequence[Entry], canonical: Callable[[str], str]) -> list[str]:
    """The classes in alphabetical order, where no label map gives another.

    They are the names that the rows give; where these give numbers only, the folders that the videos are in.

    Raises:
        DataError: neither tells.
    """
    names = {canonical(entry.row.label) for entry in entries if isinstance(entry.row.label, str)}
    if names:
        return sorted(names)
    names = {canonical(Path(entry.path).parent.name) for entry in entries}
    labels = {entry.row.label for entry in entries if isinstance(entry.row.label, int)}
    if names & {"", *SPLITS} or len(names) <= max(labels, default=0):
        place = entries[0].row.place
        raise DataError(f"{place}: labels are numbers without names; give the label map (--labels)")
    return sorted(names)


def set_labels(
    entries: Sequence[Entry], classes: list[str], canonical: Callable[[str], str], bad_rows: BadRows
) -> list[Entry]:
    """Sets the label of each entry.

    Raises:
        DataError: a label is none of the classes, or is not that of the class folder that the video is in, if
            bad rows are not to be skipped.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    labelled = []
    for entry in entries:
        given = entry.row.label
        label = given if isinstance(given, int) else numbers.get(canonical(given), -1)
        folder = canonical(Path(entry.path).parent.name)
        if not 0 <= label < len(classes):
            told = f"the label {given} is none of 0-{len(classes) - 1}"
            told = told if isinstance(given, int) else unknown_class(canonical(given), classes)
            bad_rows.report(f"{entry.row.place}: {told}")
        elif numbers.get(folder, label) != label:
            bad_rows.report(
                f"{entry.row.place}: is labelled '{classes[label]}' but lies in the folder '{folder}'; "
                "the list's label map is needed (--labels)"
            )
        else:
            labelled.append(replace(entry, label=label))
    return labelled


def group_of(entry: Entry) -> str:
    """What a video was cut from: as the list says, or its name without the times of the cut."""
    stem = Path(entry.path).name.rpartition(".")[0] or Path(entry.path).name
    cut = CUT_NAME.fullmatch(stem)
    return entry.row.group or (cut[1] if cut else entry.path)
