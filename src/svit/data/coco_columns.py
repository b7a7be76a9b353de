"""The records of a COCO or COCO-video file as columns, checked one by one but not yet against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svit.data.bad_rows import BadRows
from svit.data.json_records import Batch, read_records
from svit.errors import DataError
from svit.types import Progress, no_progress

Column = npt.NDArray[Any]
"""One value per record. Texts are of dtype object."""

Columns = dict[str, Column]
"""The columns of a section by the name of their field."""

NEEDED = object()
"""The default of a field that must be there."""


class _WrongValueError(Exception):
    """A value is not what its field needs."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record.

    Attributes:
        convert: makes a column of a batch's values; raises an error where one of them does not fit.
        needs: what a value must be, for the message.
        default: of a record without it, or with null; `NEEDED` makes that an error.
    """

    convert: Callable[[Sequence[Any]], Column]
    needs: str
    default: object = NEEDED

    def column(self, name: str, records: Sequence[Any]) -> Column:
        """The field's values in `records`, in their order.

        Raises:
            _WrongValueError: a value is missing or wrong.
        """
        values = [record.get(name) for record in records]
        missing = values.count(None)
        if missing and self.default is NEEDED:
            raise _WrongValueError(f"{name} is missing; it must be {self.needs}")
        if missing == len(values) > 0:
            return _constant(self.convert([self.default]), missing)
        if missing:
            values = [self.default if value is None else value for value in values]
        try:
            return self.convert(values)
        except (TypeError, ValueError, OverflowError):
            raise _WrongValueError(f"{name} must be {self.needs}, is {str(values[0])[:60]}") from None


def _constant(value: Column, count: int) -> Column:
    """The one value (1,) `count` times over, in the memory of one."""
    return np.broadcast_to(value, (count,))


def _is_constant(column: Column) -> bool:
    return column.strides == (0,)


def _numbers(values: Sequence[Any], kinds: str) -> Column:
    column = np.array(values)
    if values and column.dtype.kind not in kinds:
        raise ValueError
    return column


def _whole(values: Sequence[Any]) -> Column:
    return _numbers(values, "i").astype(np.int64).reshape(len(values))


def _from(lowest: int) -> Callable[[Sequence[Any]], Column]:
    """A converter to whole numbers of 32 bits, none below `lowest`."""

    def convert(values: Sequence[Any]) -> Column:
        column = _whole(values)
        if ((column < lowest) | (column >= 1 << 31)).any():
            raise ValueError
        return column.astype(np.int32)

    return convert


def _real(values: Sequence[Any]) -> Column:
    return _numbers(values, "if").astype(np.float32).reshape(len(values))


def _flag(values: Sequence[Any]) -> Column:
    column = _numbers(values, "bi").reshape(len(values))
    if ((column != 0) & (column != 1)).any():
        raise ValueError
    return column.astype(bool)


def _text(values: Sequence[Any]) -> Column:
    if not all(isinstance(value, str) for value in values):
        raise ValueError
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _box(values: Sequence[Any]) -> Column:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is found below
        column = _numbers(values, "if").astype(np.float32).reshape(-1, 4)
    if len(column) != len(values) or not np.isfinite(column).all():
        raise ValueError
    return column


ID = Field(_whole, "a whole number")
SIZE = Field(_from(1), "a whole number from 1")
OPTIONAL_SIZE = Field(_from(0), "a whole number", 0)
NAME = Field(_text, "a text")
OPTIONAL_REAL = Field(_real, "a number", np.nan)
FLAG = Field(_flag, "true or false", False)

FIELDS: dict[str, dict[str, Field]] = {
    "categories": {"id": ID, "name": NAME},
    "videos": {
        "id": ID,
        "name": NAME,
        "fps": OPTIONAL_REAL,
        "width": OPTIONAL_SIZE,
        "height": OPTIONAL_SIZE,
        "video_file": Field(_text, "a text", ""),
    },
    "images": {
        "id": ID,
        "file_name": NAME,
        "width": SIZE,
        "height": SIZE,
        "video_id": Field(_whole, "a whole number", -1),
        "frame_id": Field(_from(-1), "a whole number from 0", -1),
        "mot_frame_id": Field(_from(-1), "a whole number from 1", -1),
    },
    "annotations": {
        "id": ID,
        "image_id": ID,
        "category_id": ID,
        "instance_id": Field(_whole, "a whole number", -1),
        "bbox": Field(_box, "four finite numbers x, y, width, height"),
        "iscrowd": FLAG,
        "ignore": FLAG,
        "visibility": OPTIONAL_REAL,
        "mot_conf": OPTIONAL_REAL,
        "score": OPTIONAL_REAL,
    },
}
"""What is read of each section, and so what a record must have."""


def read_columns(
    path: Path, bad_rows: BadRows | None = None, progress: Progress = no_progress
) -> dict[str, Columns]:
    """Reads a COCO or COCO-video file into one array per field, in the file's order.

    Args:
        path: of the JSON file; other sections and fields than those of `FIELDS` are passed over.
        bad_rows: what to do with a malformed record; None raises.
        progress: watches the batches of records go by.

    Returns:
        The columns of every section that is in the file; `categories` and `images` always are.

    Raises:
        DataError: a missing, truncated or malformed file, or a malformed record; the message names the
            section and the record.
    """
    bad_rows = bad_rows or BadRows()
    pieces: dict[str, list[Columns]] = {}
    for batch in progress(read_records(path), f"reading {path.name}"):
        if batch.section in FIELDS:
            if batch.first == 0:
                raise DataError(f"{path}: {batch.section}: must be a list of records")
            pieces.setdefault(batch.section, []).append(_columns(path, batch, bad_rows))
    for section in ("images", "categories"):
        if section not in pieces:
            raise DataError(f'{path}: has no "{section}"; is it a COCO or COCO-video file?')
    return {section: _join(pieces.pop(section)) for section in list(pieces)}


def no_records(section: str) -> Columns:
    """The columns of a section that is not there."""
    return _convert(section, [])


def _columns(path: Path, batch: Batch, bad_rows: BadRows) -> Columns:
    """The columns of a batch; only where that fails are its records looked at one by one."""
    try:
        return _convert(batch.section, batch.records)
    except _WrongValueError:
        good = []
        for number, record in enumerate(batch.records, batch.first):
            try:
                _convert(batch.section, [record])
            except _WrongValueError as error:
                bad_rows.report(f"{path}: {batch.section} record {number}: {error}")
            else:
                good.append(record)
        return _convert(batch.section, good)


def _convert(section: str, records: Sequence[Any]) -> Columns:
    if not all(isinstance(record, dict) for record in records):
        raise _WrongValueError("must be an object { }")
    return {name: field.column(name, records) for name, field in FIELDS[section].items()}


def _join(pieces: list[Columns]) -> Columns:
    """The pieces as one; they are let go one column at a time, so that not all is there twice."""
    return {name: _concatenate([piece.pop(name) for piece in pieces]) for name in list(pieces[0])}


def _concatenate(parts: list[Column]) -> Column:
    """The parts as one; constant where all are, which can only be by the field's default."""
    if all(map(_is_constant, parts)):
        return _constant(parts[0][:1], sum(map(len, parts)))
    return np.concatenate(parts)
