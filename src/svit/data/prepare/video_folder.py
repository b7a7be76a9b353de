"""Any videos with a class each as an index: folders called by their class, or a list.

What belongs together, such as clips cut from one video, is a group, and all of a group is in one split: a
model would otherwise be tested on what it has seen.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from svit.data.actions.find import walk_videos
from svit.data.bad_rows import BadRows
from svit.data.prepare.action_index import (
    ActionOptions,
    DataSet,
    PreparedActions,
    prepare_actions,
    source_folder,
)
from svit.data.prepare.action_rows import Entry, folder_rows, group_of, read_lists
from svit.errors import DataError, UsageError
from svit.types import Progress, no_progress

LIST = "clips.csv"
"""A list of this name in the folder is read: columns path, label, and maybe split and group."""

SHARE = 0.2
"""Of the videos that are for validation, where nothing says which."""


@dataclass(frozen=True)
class SplitOptions:
    """How videos are split.

    Attributes:
        group_by: "folder": videos of one folder belong together; else a regular expression, looked for in
            the path: what it matches (its first group, if it has one) names the group. None: as the list
            says, or each video is by itself.
        val: share of each class's videos for validation; None keeps the splits that are there, or is
            `SHARE` where there are none.
        seed: another seed, another split.

    Raises:
        UsageError: no regular expression, or a share out of range.
    """

    group_by: str | None = None
    val: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.val is not None and not 0 <= self.val < 1:
            raise UsageError(f"--val {self.val}: must be a share from 0 to below 1")
        try:
            re.compile(self.group_by or "")
        except re.error as error:
            raise UsageError(f"--group-by {self.group_by}: no regular expression ({error})") from None


def prepare_video_folder(
    source: str | Path,
    output: str | Path,
    options: ActionOptions | None = None,
    split: SplitOptions | None = None,
    bad_rows: BadRows | None = None,
    progress: Progress = no_progress,
) -> PreparedActions:
    """Writes the index of a folder of videos.

    Args:
        source: CLASS/*.mp4, or SPLIT/CLASS/*.mp4, or a list, clips.csv. A folder of images is a video, too.
        output: the index, .json.
        options: see `ActionOptions`; None is its defaults. Mirroring is forbidden by default.
        split: see `SplitOptions`.
        bad_rows: what to do with malformed rows; None raises.
        progress: told of every video.

    Raises:
        DataError: a list is malformed, no video is there, or a group is in several splits.
        OutputError: the index cannot be written.
    """
    options, bad_rows = options or ActionOptions(), bad_rows or BadRows()
    root, videos = source_folder(Path(source), options)
    paths = walk_videos(videos)
    lists = options.lists or ((str(root / LIST),) if (root / LIST).is_file() else ())
    rows = read_lists(lists, bad_rows) if lists else folder_rows(videos, paths)
    data = DataSet(
        name=root.resolve().name,
        root=videos,
        rows=rows,
        canonical=str.strip,
        flip="never",
        unique=False,
        split=lambda entries: split_by_group(entries, split or SplitOptions()),
    )
    return prepare_actions(data, Path(output), options, bad_rows, progress, paths)


def split_by_group(entries: Sequence[Entry], options: SplitOptions) -> list[Entry]:
    """Sets group and split of each entry.

    A group goes as a whole, with the class that most of its videos have. The choice depends on names and seed
    alone: not on the order of files, and it is the same on every machine.

    Raises:
        DataError: a group is in two of the splits that were there, or only some videos have a split.
    """
    grouped = [_with_group(entry, options.group_by) for entry in entries]
    splits = {entry.row.split for entry in grouped}
    if options.val is None and None not in splits:
        _check_apart(grouped)
        return grouped
    if options.val is None and len(splits) > 1:
        lacking = next(entry for entry in grouped if entry.row.split is None)
        raise DataError(f"{lacking.row.place}: has no split, others have; make all anew with --val")
    chosen = _validation_groups(grouped, SHARE if options.val is None else options.val, options.seed)
    return [_with_split(entry, "val" if entry.row.group in chosen else "train") for entry in grouped]


def _with_group(entry: Entry, group_by: str | None) -> Entry:
    if group_by is None:
        group = group_of(entry)
    elif group_by == "folder":
        group = Path(entry.path).parent.as_posix()
    else:
        found = re.search(group_by, entry.path)
        if found is None:
            raise DataError(f"{entry.path}: --group-by {group_by} matches nothing in it")
        group = (found[1] if found.re.groups else found[0]) or ""
    return replace(entry, row=replace(entry.row, group=group))


def _with_split(entry: Entry, split: str) -> Entry:
    return replace(entry, row=replace(entry.row, split=split))


def _check_apart(entries: Sequence[Entry]) -> None:
    seen: dict[str, Entry] = {}
    for entry in entries:
        other = seen.setdefault(str(entry.row.group), entry)
        if other.row.split != entry.row.split:
            raise DataError(
                f"{entry.row.place}: '{entry.row.group}' is in {other.row.split} and in {entry.row.split}; "
                "what is cut from one video must be in one split: make it anew with --val"
            )


def _validation_groups(entries: Sequence[Entry], share: float, seed: int) -> set[str]:
    """Groups for validation: of each class about its share, at least one group, never all."""
    labels: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for entry in entries:
        labels[str(entry.row.group)][entry.label] += 1
    by_class: defaultdict[int, list[str]] = defaultdict(list)
    for group, counts in labels.items():
        by_class[min(counts, key=lambda label: (-counts[label], label))].append(group)
    chosen: set[str] = set()
    for groups in by_class.values():
        groups.sort(key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
        wanted = share * sum(labels[group].total() for group in groups)
        taken = 0
        for group in groups[: len(groups) - 1] if wanted else ():
            size = labels[group].total()
            if taken and abs(taken + size - wanted) >= abs(taken - wanted):
                continue
            chosen.add(group)
            taken += size
    return chosen
