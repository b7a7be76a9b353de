"""`log.jsonl`: what a run told, one JSON record per line; a run that goes on has each step once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from svit.video.output import output_error


class Log:
    """A file of records, each with its `step`.

    Args:
        path: of the file; made with the first record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: dict[str, Any]) -> None:
        """Writes a record.

        Raises:
            OutputError: it cannot be written; the file is as it was.
        """
        whole: int | None = None
        try:
            with self.path.open("a") as file:
                whole = file.tell()
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            if whole is not None:
                os.truncate(self.path, whole)
            raise output_error(self.path, error) from None

    def forget_after(self, step: int) -> None:
        """Takes out records of steps that will be done again, and a last line that was broken off.

        Raises:
            OutputError: the file cannot be written.
        """
        if not self.path.is_file():
            return
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            kept = [line for line in self.path.read_text().splitlines() if _step_of(line) <= step]
            part.write_text("".join(f"{line}\n" for line in kept))
            part.replace(self.path)
        except OSError as error:
            raise output_error(self.path, error) from None


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
