"""Rows of CrowdHuman's odgt files: one JSON object per line, the people of one picture."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svit.data.bad_rows import BadRows
from svit.errors import DataError

Box = list[float]
"""x, y, w, h in pixels; may reach over the picture's border."""


@dataclass(frozen=True)
class Person:
    """One entry of `gtboxes`.

    Attributes:
        full: `fbox`, the whole body, also where it is hidden or outside the picture.
        visible: `vbox`, what can be seen of it.
        ignored: `extra.ignore` is 1: neither a target nor background.
    """

    full: Box
    visible: Box
    ignored: bool


@dataclass(frozen=True)
class OdgtRow:
    """One line: the picture's `ID`, its name without the ending, and the people in it."""

    number: int
    identity: str
    people: list[Person]


def read_odgt(path: Path, bad_rows: BadRows) -> Iterator[OdgtRow]:
    """Reads a file line by line; blank lines are passed over.

    Args:
        path: annotation_train.odgt or annotation_val.odgt.
        bad_rows: what to do with a line that is no such row, or whose picture was there before.

    Raises:
        DataError: the file cannot be read, or (unless they are skipped) a line is malformed; names file and
            line.
    """
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = _parse(number, line, seen)
                except ValueError as error:
                    bad_rows.report(f"{path}, line {number}: {error}")
                    continue
                seen.add(row.identity)
                yield row
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def count_lines(path: Path) -> int:
    """How many lines a file has, for showing how far its reading is.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(number: int, line: str, seen: set[str]) -> OdgtRow:
    """One row; ValueError says what is wrong with it."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"is no JSON ({error}); is the file whole?") from None
    except RecursionError:
        raise ValueError("is no JSON of this kind: nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("is no JSON object")
    identity, boxes = record.get("ID"), record.get("gtboxes")
    if not isinstance(identity, str) or not identity or set(identity) & set("/\\:\0"):
        raise ValueError(f"ID is {identity!r}; it must be the name of a picture")
    if identity in seen:
        raise ValueError(f"the picture {identity} was there before")
    if not isinstance(boxes, list):
        raise ValueError("gtboxes is missing or no list")
    return OdgtRow(number, identity, [_person(box, index) for index, box in enumerate(boxes)])


def _person(record: object, index: int) -> Person:
    if not isinstance(record, dict):
        raise ValueError(f"gtboxes[{index}] is no object")
    extra = record.get("extra", {})
    if not isinstance(extra, dict):
        raise ValueError(f"gtboxes[{index}].extra is no object")
    return Person(_box(record, "fbox", index), _box(record, "vbox", index), extra.get("ignore") == 1)


def _box(record: dict[str, Any], key: str, index: int) -> Box:
    box = record.get(key)
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise ValueError(f"gtboxes[{index}].{key} is {box!r}; it must be four numbers x, y, w, h")
    return box


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
