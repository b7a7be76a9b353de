"""Reading a large JSON file record by record: an object of lists, of which none is held whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from svit.errors import DataError

CHUNK = 1 << 20
"""Characters read at a time."""

BATCH = 4096
"""Records handed on at a time: enough to make columns of, few enough to forget."""

NEAR_END = 16
"""An error this close to the end of what was read may only mean that the rest is still to come.

Longer than any number's or word's unfinished end (`-Infinit`, `12.`, `1e+`) and escape (`\\ud83d\\ude0`).
"""

WHITESPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of one section, in the file's order.

    Attributes:
        section: the key of the list in the file.
        first: number of the first record, counted from 1; 0 where the value is no list.
        records: up to `BATCH` values; the value itself, alone, where it is no list.
    """

    section: str
    first: int
    records: list[Any]


def read_records(path: Path) -> Iterator[Batch]:
    """Reads a JSON object's values piece by piece; memory does not grow with the file.

    An empty list gives one batch without records, so that it is known to be there.

    Raises:
        DataError: the file is missing, is no JSON object, or breaks off; the message names the section and
            the record.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from _Reader(path, file).batches()
    except FileNotFoundError:
        raise DataError(f"{path}: not found") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Reader:
    """A place in a file, and the text around it."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file
        self._text, self._at = "", 0
        self._place = "start"
        self._decode = json.JSONDecoder().raw_decode

    def batches(self) -> Iterator[Batch]:
        if self._peek() != "{":
            raise self._error("a JSON object { } is needed")
        self._at += 1
        more = self._peek() != "}"
        self._at += not more
        while more:
            section = self._value()
            if not isinstance(section, str) or self._peek() != ":":
                raise self._error('a "key": is needed')
            self._at += 1
            yield from self._section(section)
            more = self._goes_on("}")
        if self._any_left():
            raise self._error("the JSON object ends, but the file goes on")

    def _section(self, section: str) -> Iterator[Batch]:
        self._place = section
        if self._peek() != "[":
            yield Batch(section, 0, [self._value()])
            return
        self._at += 1
        count = 0
        more = self._peek() != "]"
        if not more:
            self._at += 1
            yield Batch(section, 1, [])
        while more:
            records: list[Any] = []
            first = count + 1
            while more and len(records) < BATCH:
                count += 1
                self._place = f"{section} record {count}"
                records.append(self._value())
                more = self._goes_on("]")
            yield Batch(section, first, records)

    def _goes_on(self, end: str) -> bool:
        """Passes over a comma (True) or the closing bracket (False)."""
        character = self._peek()
        if character not in (",", end):
            raise self._error(f"a comma or {end} is needed after it")
        self._at += 1
        return character == ","

    def _peek(self) -> str:
        """The next character that is no white space; it stays the next."""
        if not self._any_left():
            raise self._error("the file breaks off")
        return self._text[self._at]

    def _any_left(self) -> bool:
        """Passes over white space; False at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in WHITESPACE:
                self._at += 1
            if self._at < len(self._text):
                return True
            if not self._read():
                return False

    def _value(self) -> Any:  # noqa: ANN401  (any JSON value)
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                unfinished = error.pos >= len(self._text) - NEAR_END or error.msg.startswith("Unterminated")
                if not (unfinished and self._read()):
                    whole = not unfinished or self._text.rstrip().endswith("}")
                    raise self._error(error.msg if whole else "the file breaks off") from None
                continue
            except (RecursionError, ValueError) as error:  # nested too deeply; a number of 5000 digits
                raise self._error(str(error)) from None
            # A number may go on in the next chunk; anything else says itself where it ends.
            if isinstance(value, int | float) and end >= len(self._text) - NEAR_END and self._read():
                continue
            self._at = end
            return value

    def _read(self) -> bool:
        """Takes in more text and lets go of what was passed; False at the end of the file."""
        # As much again as there is, so that a value of any length is tried only a few times.
        chunk = self._file.read(max(CHUNK, len(self._text) - self._at))
        if chunk:
            self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)

    def _error(self, problem: str) -> DataError:
        return DataError(f"{self._path}: {self._place}: {problem}")
