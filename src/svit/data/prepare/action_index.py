"""What the preparation of every action data set has in common: options, looking into videos, the index."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from svit.data.actions.find import VideoFinder, walk_videos
from svit.data.actions.index import (
    ActionIndex,
    ActionVideo,
    BrokenVideo,
    FlipKind,
    FlipRule,
    write_action_index,
)
from svit.data.actions.labels import read_json, read_label_map, read_text
from svit.data.actions.lists import Row
from svit.data.actions.scan import Job, scan_videos
from svit.data.bad_rows import BadRows
from svit.data.prepare.action_rows import Entry, class_names, find_entries, group_of, set_labels
from svit.data.prepare.outputs import whole_file
from svit.errors import DataError, UsageError
from svit.types import Progress, no_progress
from svit.video.output import PartFile

OTHER_SIDE = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
SIDE = re.compile(r"\b([Ll]eft|[Rr]ight)\b(?! out\b)")
"""A side in a class's name. "Pulling it right out", a class of Something-Something, means none."""


@dataclass(frozen=True)
class ActionOptions:
    """How an action data set is prepared.

    Attributes:
        lists: FILE or SPLIT=FILE, instead of the lists in the data set's folder.
        videos: folder of the videos; None is the data set's.
        labels: label map; None: alphabetical.
        flip: the flip rule's kind; None is the data set's default.
        pairs: file of pairs of classes that are each other's mirror image, for "swap".
        rate: frames per second of videos that are folders of images.
        workers: processes that look into videos; None is one per core.
        strict: a broken video is an error.
        dry_run: write nothing, and do not look into the videos.

    Raises:
        UsageError: a number out of range.
    """

    lists: tuple[str, ...] = ()
    videos: Path | None = None
    labels: Path | None = None
    flip: FlipKind | None = None
    pairs: Path | None = None
    rate: float = 30.0
    workers: int | None = None
    strict: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers}: at least 1 is needed")
        if self.rate <= 0:
            raise UsageError(f"--rate {self.rate}: must be above 0")
        if self.pairs and self.flip != "swap":
            raise UsageError("--pairs is for --flip swap")


@dataclass(frozen=True)
class PreparedActions:
    """An index, written or (in a dry run) only planned.

    Attributes:
        index: as written; in a dry run without videos.
        counts: videos by split.
        broken: how many cannot be used; they stand in the index with the reason.
        notes: what may not be as it should.
    """

    index: ActionIndex
    counts: dict[str, int]
    broken: int
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        splits = ", ".join(f"{count} {split}" for split, count in sorted(self.counts.items()))
        total, classes = sum(self.counts.values()), len(self.index.classes)
        broken = f", {self.broken} broken" if self.broken else ""
        flip = f"flip: {self.index.flip.kind}"
        return f"{self.index.path}: {classes} classes, {total} videos ({splits}){broken}; {flip}"


@dataclass(frozen=True)
class DataSet:
    """What tells one data set from another.

    Attributes:
        name: of the data set.
        root: folder of the videos.
        rows: of its lists or folders.
        canonical: the spelling of a class's name.
        flip: default rule.
        unique: videos' names are unique, in whatever folder.
        classes: how many there should be; None: any.
        labels: label map that came with it.
        split: gives every entry its split, after labels are set; None: rows have it.
    """

    name: str
    root: Path
    rows: Sequence[Row]
    canonical: Callable[[str], str]
    flip: FlipKind
    unique: bool
    classes: int | None = None
    labels: Path | None = None
    split: Callable[[list[Entry]], list[Entry]] | None = None


def source_folder(source: Path, options: ActionOptions) -> tuple[Path, Path]:
    """The data set's folder, and that of its videos.

    Raises:
        DataError: the input is no folder.
    """
    if not source.is_dir():
        raise DataError(f"{source}: no such folder; give the data set's (lists with --list)")
    return source, options.videos or source


def prepare_actions(
    data: DataSet,
    output: Path,
    options: ActionOptions,
    bad_rows: BadRows,
    progress: Progress = no_progress,
    paths: Sequence[str] | None = None,
) -> PreparedActions:
    """Finds and looks into the videos of a data set and writes its index.

    Args:
        data: the data set.
        output: the index to write, .json.
        options: see `ActionOptions`.
        bad_rows: what to do with malformed rows.
        progress: told of every video.
        paths: all videos below `data.root`, where they are known already.

    Raises:
        DataError: a row or label map is malformed, no video can be used, or one is broken and `strict` set.
        OutputError: the index cannot be written.
    """
    if not data.rows:
        raise DataError(f"{data.root}: no lists, and no videos in class folders below it")
    finder = VideoFinder(data.root, walk_videos(data.root) if paths is None else paths, data.unique)
    entries, missing = find_entries(data.rows, finder, bad_rows)
    label_map = options.labels or data.labels
    if label_map:
        classes = [data.canonical(name) for name in read_label_map(label_map)]
    else:
        classes = class_names(entries, data.canonical)
    entries = set_labels(entries, classes, data.canonical, bad_rows)
    entries = _with_split(data.split(entries) if data.split else entries)
    flip = flip_rule(options.flip or data.flip, options.pairs, classes, data.canonical)
    index = ActionIndex(output, data.name, data.root, classes, flip, [], missing)
    notes = []
    if data.classes and len(classes) != data.classes and not label_map:
        notes.append(
            f"{len(classes)} classes, {data.name} has {data.classes}: their numbers fit no other's without "
            "the whole label map (--labels)"
        )
    if options.dry_run:
        counts = Counter(str(entry.row.split) for entry in entries)
        return PreparedActions(index, dict(counts), len(missing), notes)
    index = _write(index, entries, options, progress)
    counts = Counter(video.split for video in index.videos)
    return PreparedActions(index, dict(counts), len(index.broken), notes)


def _with_split(entries: list[Entry]) -> list[Entry]:
    for entry in entries:
        if entry.row.split is None:
            raise DataError(f"{entry.row.place}: cannot tell its split; give the list as --list train=FILE")
    return entries


def _write(
    index: ActionIndex, entries: list[Entry], options: ActionOptions, progress: Progress
) -> ActionIndex:
    """Looks into the videos, and writes the index when all are done."""
    journal = index.path.with_name(f".{index.path.name}.scan")
    PartFile(index.path, (".json",)).discard()  # says what is wrong with the path before hours of work
    jobs = {
        entry.path + f"|{entry.row.first}": Job(
            index.root / entry.path, options.rate, entry.row.first, entry.row.frames
        )
        for entry in entries
    }
    facts = scan_videos(list(jobs.values()), journal, options.workers or os.cpu_count() or 1, progress)
    videos, broken = [], list(index.broken)
    for entry, job in zip(entries, jobs.values(), strict=True):
        found, split = facts[job], str(entry.row.split)
        if "reason" in found:
            broken.append(BrokenVideo(entry.path, entry.label, split, found["reason"]))
        else:
            videos.append(ActionVideo(entry.path, entry.label, split, group_of(entry), **found))
    index = replace(index, videos=videos, broken=broken)
    if broken and options.strict:
        raise DataError(f"{broken[0].reason}; {len(broken)} of {len(videos) + len(broken)} videos are broken")
    if not videos:
        raise DataError(f"{broken[0].reason}; none of {len(broken)} videos can be used")
    with whole_file(index.path) as file:
        write_action_index(file, index, _root_in(index))
    journal.unlink(missing_ok=True)
    return index


def _root_in(index: ActionIndex) -> str:
    """The videos' folder as the index has it: from its own folder, so that both can move together."""
    try:
        root = os.path.relpath(index.root.resolve(), index.path.resolve().parent)
    except ValueError:  # on another drive
        return str(index.root.resolve())
    return Path(root).as_posix()


def flip_rule(
    kind: FlipKind, pairs: Path | None, classes: Sequence[str], canonical: Callable[[str], str]
) -> FlipRule:
    """The rule asked for; for "swap" with pairs from a file, or by the words left and right in the names.

    Raises:
        DataError: the file is malformed, or a class has no counterpart.
    """
    if kind != "swap":
        return FlipRule(kind)
    found = _read_pairs(pairs) if pairs else mirrored_pairs(classes)
    rule = FlipRule("swap", tuple((canonical(one), canonical(other)) for one, other in found))
    rule.mirrored(classes)
    return rule


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    if path.suffix.lower() == ".json":
        rows = read_json(path)
    else:
        rows = [row for row in csv.reader(read_text(path).splitlines()) if row]
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):
        raise DataError(f"{path}: must be pairs of classes, `one,other` in each line")
    return [(str(one).strip(), str(other).strip()) for one, other in rows]


def mirrored_pairs(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of classes whose names differ in left and right alone.

    Raises:
        DataError: there are none, or a class that speaks of a side has no counterpart.
    """
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for name in classes:
        other = SIDE.sub(lambda side: OTHER_SIDE[side[1]], name)
        if other == name:
            continue
        if other not in classes:
            raise DataError(f"flip rule swap: '{name}' has no counterpart '{other}'; give pairs (--pairs)")
        pairs.setdefault(frozenset((name, other)), (name, other))
    if not pairs:
        raise DataError("flip rule swap: no class speaks of left or right; give pairs (--pairs)")
    return list(pairs.values())
