"""Label maps: the names of the classes, by number, in every layout that data sets come with."""

from __future__ import annotations

import csv
import difflib
import json
import re
from pathlib import Path
from typing import Any

from svit.errors import DataError

NUMBERED = re.compile(r"(\d+)[\s,;]+(\S.*)")
HEADERS = {("id", "name"), ("index", "class"), ("id", "label")}
"""First lines of CSV label maps, such as kinetics_400_labels.csv."""


def spaced(name: str) -> str:
    """A class's name as Kinetics' CSV files have it: mmaction2 writes spaces as `_`, some add quotes."""
    return name.strip().strip('"').replace("_", " ")


def without_brackets(template: str) -> str:
    """A Something-Something template as the label map has it: Holding [something] is Holding something."""
    return template.strip().replace("[", "").replace("]", "")


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        DataError: it is missing, cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_json(path: Path) -> Any:  # noqa: ANN401  (any JSON value)
    """A JSON file.

    Raises:
        DataError: it is missing or no JSON; the message names the line.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{path}{line}: {what}") from None


def read_label_map(path: str | Path) -> list[str]:
    """The classes' names in the order of their numbers.

    Layouts: a name per line (mmaction2); `1 name` or `0,name` per line, from 0 or 1 (UCF101's classInd.txt,
    Kinetics' labels CSV); JSON of names to numbers, the numbers maybe as text (Something-Something's
    labels.json), or a JSON list.

    Raises:
        DataError: the file is missing or malformed, a number is missing or a name comes twice.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        names = _from_json(path, read_json(path))
    else:
        lines = [line.strip() for line in read_text(path).splitlines()]
        names = _from_lines(path, [line for line in lines if line])
    if not names:
        raise DataError(f"{path}: holds no classes")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the class '{twice[0]}' comes twice")
    return names


def _from_json(path: Path, value: object) -> list[str]:
    if isinstance(value, list):
        return [str(name) for name in value]
    if not isinstance(value, dict):
        raise DataError(f"{path}: must be names with their numbers, or a list of names")
    try:
        return _by_number(path, {str(name).strip('"'): int(number) for name, number in value.items()})
    except (TypeError, ValueError):
        raise DataError(f"{path}: not every name has a whole number") from None


def _from_lines(path: Path, lines: list[str]) -> list[str]:
    if lines and tuple(next(csv.reader([lines[0].lower()]))) in HEADERS:
        lines = lines[1:]
    matches = [NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(match[1]) for match in matches if match]
    first = min(numbers, default=0)
    # "4 square" may be a class: only whole, gapless counts are numbers.
    if first > 1 or sorted(numbers) != list(range(first, first + len(lines))):
        return [line.strip('"') for line in lines]
    found = {match[2].strip().strip('"'): int(match[1]) - first for match in matches if match}
    return _by_number(path, found)


def _by_number(path: Path, numbers: dict[str, int]) -> list[str]:
    names = sorted(numbers, key=numbers.__getitem__)
    for place, name in enumerate(names):
        if numbers[name] != place:
            raise DataError(f"{path}: the class '{name}' has number {numbers[name]}; expected {place}")
    return names


def unknown_class(name: str, classes: list[str]) -> str:
    """Says that a class is none of the known, and which is nearest."""
    near = difflib.get_close_matches(name, classes, 1)
    hint = f"did you mean '{near[0]}'?" if near else "give the label map that has it (--labels)"
    return f"the label '{name}' is none of the {len(classes)} classes; {hint}"
