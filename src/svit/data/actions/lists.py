"""Lists of labelled videos in every layout that action data sets come with, read row by row.

Layouts: `path label` and `path,label` (VideoMAE, mmaction2's videos), `path frames label` and `path offset
frames label` (mmaction2's raw frames), Kinetics' official CSV and JSON, Something-Something's JSON and its
`id;label` lists, and any CSV with the columns path and label.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svit.data.actions.labels import read_json, read_text
from svit.data.bad_rows import BadRows
from svit.errors import DataError

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".webm",
        ".avi",
        ".mkv",
        ".mov",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ts",
        ".ogv",
        ".mts",
        ".m2ts",
    ]
)
SPLITS = {"train": "train", "training": "train", "val": "val", "validation": "val", "validate": "val"}
SPLITS |= {"test": "test", "testing": "test"}
GROUP_COLUMNS = ("group", "source_video", "source")
"""Columns that name what a video was cut from."""

_SUFFIX = "|".join(re.escape(suffix) for suffix in sorted(VIDEO_SUFFIXES))
VIDEO_ROW = re.compile(rf"(?P<path>.+(?:{_SUFFIX}))\s*[\s,;]\s*(?P<label>\S.*?)\s*", re.IGNORECASE)
NUMBERS_ROW = re.compile(r"(?P<path>.+?)(?P<numbers>(?:\s*[\s,;]\s*-?\d+)+)\s*")
NAME_ROW = re.compile(r"(?P<path>[^,;\t]+?)\s*[,;\t]\s*(?P<label>\S.*?)\s*")


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled video of a list.

    Attributes:
        place: file and line, for messages.
        names: what the video may be called, the likeliest first: a path, or a name without suffix.
        label: the class's number, or its name.
        split: "train", "val", "test"; None where the list does not say.
        group: what it was cut from; None where the list does not say.
        frames: of a folder of images, how many count; None: all, or a video file.
        first: of a folder of images, the first that counts, from 0.
    """

    place: str
    names: tuple[str, ...]
    label: int | str
    split: str | None = None
    group: str | None = None
    frames: int | None = None
    first: int = 0


def split_named(name: str) -> str | None:
    """The split that a file's or folder's name speaks of: kinetics400_train_list.txt is of train."""
    words = re.split(r"[^a-z]+", name.lower())
    words += [word.removesuffix("list") for word in words]
    found = {SPLITS[word] for word in words if word in SPLITS}
    return found.pop() if len(found) == 1 else None


def read_list(path: Path, split: str | None, bad_rows: BadRows) -> list[Row]:
    """The rows of a list of any layout; see the module.

    Args:
        path: of the list.
        split: of rows that do not say theirs; None: what the file's name speaks of.
        bad_rows: what to do with malformed rows.

    Raises:
        DataError: the file is missing, empty, or of an unknown layout; names file and line.
    """
    split = split or split_named(path.stem)
    if path.suffix.lower() == ".json":
        rows = _json_rows(path, read_json(path), bad_rows)
    else:
        lines = read_text(path).splitlines()
        header = next(csv.reader(lines[:1]), [])
        columns = [name.strip().lower() for name in header]
        if "label" in columns and ("youtube_id" in columns or "path" in columns):
            rows = _csv_rows(path, lines, columns, bad_rows)
        elif "youtube_id" in columns:
            raise DataError(f"{path}: has no column label; take the list that has the labels")
        else:
            rows = _plain_rows(path, lines, bad_rows)
    found = [row if row.split else replace(row, split=split) for row in rows]
    if not found:
        raise DataError(f"{path}: lists no videos")
    return found


def _plain_rows(path: Path, lines: list[str], bad_rows: BadRows) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        place = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            yield _plain_row(place, line.strip())
        except ValueError as error:
            bad_rows.report(f"{place}: {error}")


def _plain_row(place: str, line: str) -> Row:
    video = VIDEO_ROW.fullmatch(line)
    if video:
        label = video["label"].strip('"')
        if re.fullmatch(r"-?\d+([\s,;]+-?\d+)+", label):
            raise ValueError("more than one label; only one per video is supported")
        return Row(place, (video["path"],), _label(label))
    numbered = NUMBERS_ROW.fullmatch(line)
    if numbered is None:
        named = NAME_ROW.fullmatch(line)
        if named is None:
            raise ValueError("must be `path label` or `path,label`")
        return Row(place, (named["path"],), named["label"].strip('"'))
    numbers = [int(text) for text in re.findall(r"-?\d+", numbered["numbers"])]
    if len(numbers) > 3 or min(numbers[:-1], default=0) < 0:
        raise ValueError("must be `path label`, `path frames label` or `path offset frames label`")
    first = numbers[0] if len(numbers) == 3 else 0
    frames = numbers[-2] if len(numbers) > 1 else None
    return Row(place, (numbered["path"],), numbers[-1], frames=frames, first=first)


def _label(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _csv_rows(path: Path, lines: list[str], columns: list[str], bad_rows: BadRows) -> Iterator[Row]:
    make: Callable[[str, Mapping[str, str]], Row] = _official_row if "youtube_id" in columns else _path_row
    reader = csv.reader(lines)
    next(reader)
    for fields in reader:
        place = f"{path}, line {reader.line_num}"
        if not fields:
            continue
        try:
            if len(fields) != len(columns):
                raise ValueError(f"{len(fields)} columns, expected {len(columns)}")
            yield make(place, {name: field.strip() for name, field in zip(columns, fields, strict=True)})
        except ValueError as error:
            bad_rows.report(f"{place}: {error}")


def _official_row(place: str, row: Mapping[str, str]) -> Row:
    """Of Kinetics' CSV: a clip is called by its id and times, or by its id alone."""
    start, end = (int(float(row[name])) for name in ("time_start", "time_end"))
    return _kinetics(place, row["youtube_id"], (start, end), row["label"], row.get("split"))


def _kinetics(place: str, video: str, cut: tuple[int, int], label: str, split: str | None) -> Row:
    if not label or not video:
        raise ValueError("a row needs an id and a label")
    if split and split.lower() not in SPLITS:
        raise ValueError(f"the split '{split}' is none of train, val, test")
    names = (f"{video}_{cut[0]:06d}_{cut[1]:06d}", video)
    return Row(place, names, label, SPLITS[split.lower()] if split else None, video)


def _path_row(place: str, row: Mapping[str, str]) -> Row:
    if not row["path"] or not row["label"]:
        raise ValueError("a row needs a path and a label")
    split, group = row.get("split"), next((row[name] for name in GROUP_COLUMNS if row.get(name)), None)
    if split and split.lower() not in SPLITS:
        raise ValueError(f"the split '{split}' is none of train, val, test")
    known = SPLITS[split.lower()] if split else None
    return Row(place, (row["path"],), _label(row["label"]), known, group)


def _json_rows(path: Path, value: Any, bad_rows: BadRows) -> Iterator[Row]:  # noqa: ANN401  (any JSON)
    if isinstance(value, dict):
        records, make = list(value.items()), _kinetics_record
    elif isinstance(value, list):
        records, make = list(enumerate(value, 1)), _something_record
    else:
        raise DataError(f"{path}: must be a list of videos, or videos by their id")
    for key, record in records:
        place = f"{path}, record {key}"
        try:
            yield make(place, str(key), record)
        except KeyError as error:
            bad_rows.report(f"{place}: has no {error}")
        except (TypeError, ValueError, AttributeError) as error:
            bad_rows.report(f"{place}: {error}")


def _kinetics_record(place: str, key: str, record: Any) -> Row:  # noqa: ANN401  (any JSON)
    """Of Kinetics' JSON: {id: {"annotations": {"label", "segment": [start, end]}, "subset"}}."""
    start, end = (int(float(seconds)) for seconds in record["annotations"]["segment"])
    return _kinetics(place, key, (start, end), record["annotations"]["label"], record.get("subset"))


def _something_record(place: str, key: str, record: Any) -> Row:  # noqa: ANN401  (any JSON)
    """Of Something-Something's JSON: [{"id", "template"}]; the rows of the test set have no template."""
    if not isinstance(record, dict):
        raise ValueError("must be {id, template}")
    video = str(record["id"])
    return Row(place, (video,), str(record["template"]), group=video)
