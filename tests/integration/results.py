"""Reading what a run wrote and printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from svit.video import open_source


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def one_line(text: str, says: str, kind: str = "error") -> None:
    assert text.startswith(f"svit: {kind}: ")
    assert text.count("\n") == 1, text
    assert text.endswith("\n")
    assert re.search(says, text), text


def counts(folder: Path) -> dict[str, int]:
    """Frames in each of a run's outputs a.mp4, a.txt, a.jsonl."""
    with open_source(folder / "a.mp4") as video:
        frames = sum(1 for _ in video)
    rows = np.loadtxt(folder / "a.txt", delimiter=",")
    return {"mp4": frames, "txt": len(set(rows[:, 0])), "jsonl": len(records(folder / "a.jsonl"))}


OUTPUTS = ("-o", "a.mp4", "--mot", "a.txt", "--jsonl", "a.jsonl", "--sheet", "a.png")


def truncated(path: Path, source: Path, share: float) -> Path:
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
