"""A safetensors file that grows row by row: any length in bounded memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from svit.video.output import PartFile, output_error

BLOCK = 1 << 22
"""Bytes copied at once."""

KINDS = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64"}
"""numpy's types and safetensors' names of them."""


@dataclass
class _Column:
    """A tensor on its way: its rows, one after the other, in a file of their own."""

    path: Path
    file: IO[bytes]
    kind: str
    shape: tuple[int, ...]
    rows: int = 0


class TensorWriter:
    """Writes tensors (T, ...) of which the rows come one at a time; the file appears whole or not at all.

    Rows wait in files beside the target, one per tensor, which `close` puts together: until then the target
    needs its space on the disk twice, and memory never holds more than a row.

    Args:
        path: ends in .safetensors.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._place = PartFile(Path(path), (".safetensors",))
        self._columns: dict[str, _Column] = {}
        self._finished = False

    def add(self, name: str, row: npt.NDArray[np.generic], kind: str | None = None) -> None:
        """Adds a row to a tensor.

        Args:
            name: of the tensor.
            row: of the shape and type that its first row had.
            kind: safetensors' name of the type where numpy has none, as "BF16" in an int16 array.

        Raises:
            OutputError: it cannot be written.
            ValueError: another shape or type than before.
        """
        kind = kind or KINDS[row.dtype.name]
        try:
            column = self._columns.get(name) or self._begin(name, kind, row.shape)
            if (column.kind, column.shape) != (kind, row.shape):
                raise ValueError(
                    f"{name} has rows {column.shape} of {column.kind}, not {row.shape} of {kind}"
                )
            column.file.write(np.ascontiguousarray(row).data)
        except OSError as error:
            raise output_error(self._place.target, error) from error
        column.rows += 1

    def close(self, metadata: Mapping[str, str]) -> None:
        """Puts the file together. Closing twice is fine.

        Raises:
            OutputError: it cannot be written; nothing is left then.
        """
        if self._finished:
            return
        try:
            with self._place.part.open("wb") as target:
                target.write(self._header(metadata))
                for column in self._columns.values():
                    column.file.close()
                    with column.path.open("rb") as rows:
                        shutil.copyfileobj(rows, target, BLOCK)
        except OSError as error:
            self.discard()
            raise output_error(self._place.target, error) from error
        self._finished = True
        self._place.commit()
        self._clear()

    def discard(self) -> None:
        """Leaves nothing behind."""
        if not self._finished:
            self._finished = True
            self._place.discard()
            self._clear()

    def _begin(self, name: str, kind: str, shape: tuple[int, ...]) -> _Column:
        path = self._place.part.with_name(f".{self._place.target.name}.{name}.part")
        column = self._columns[name] = _Column(path, path.open("wb"), kind, shape)
        return column

    def _header(self, metadata: Mapping[str, str]) -> bytes:
        """The length of what follows in 8 bytes, then names, types, shapes and places as JSON."""
        records: dict[str, object] = {"__metadata__": dict(metadata)}
        end = 0
        for name, column in self._columns.items():
            start, end = end, end + column.file.tell()
            shape = [column.rows, *column.shape]
            records[name] = {"dtype": column.kind, "shape": shape, "data_offsets": [start, end]}
        header = json.dumps(records).encode()
        header += b" " * (-len(header) % 8)  # so that the numbers lie where processors like them
        return len(header).to_bytes(8, "little") + header

    def _clear(self) -> None:
        for column in self._columns.values():
            column.file.close()
            column.path.unlink(missing_ok=True)
