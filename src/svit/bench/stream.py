"""The rows of streams: many at once, and one without an end."""

from __future__ import annotations

from collections.abc import Iterator

from svit.bench.cameras import camera_rows
from svit.bench.endless import endless_row
from svit.bench.rows import Row, Say, Settings


def rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`cameras_1`, `cameras_4`, `cameras_16`, `endless`."""
    yield from camera_rows(settings, say)
    yield endless_row(settings, say)
