"""Trainings of seconds: a sequence of drawn pictures, a model of a few thousand weights, and runs of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from svit.train.experiment import Experiment, load_experiment
from svit.train.loop import Event, Training

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 96, 64
MODEL = {
    "encoder__width": 12,
    "encoder__depth": 3,
    "encoder__residual_blocks": [0, 1, 2],
    "encoder__outputs": [0, 1, 2],
    "encoder__window": 3,
    "encoder__position_grid": 5,
    "encoder__memory": 2,
    "encoder__drop_path": 0.3,
    "pyramid_width": None,
    "detector__width": 8,
    "input__short_side": HEIGHT,
    "input__long_side": WIDTH,
}
"""A reduced `tiny`: batch norms in its stem, dropped paths, and a memory that clips of three overflow."""


def write_sequence(folder: Path, frames: int = 12, people: int = 2) -> Path:
    """A sequence in MOTChallenge's layout: bright boxes that walk over noise. Returns its folder."""
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    random, rows = np.random.default_rng(0), []
    for frame in range(frames):
        picture = random.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for person in range(people):
            x, y = 6 + 36 * person + 2 * frame, 8 + 6 * person
            picture[y : y + 40, x : x + 16] = 120 + 60 * person
            rows.append(f"{frame + 1},{person + 1},{x + 1},{y + 1},16,40,1,1,1")
        Image.fromarray(picture).save(folder / "img1" / f"{frame + 1:06d}.png")
    (folder / "gt" / "gt.txt").write_text("\n".join(rows) + "\n")
    info = {"name": folder.name, "imDir": "img1", "frameRate": 10, "seqLength": frames}
    info |= {"imWidth": WIDTH, "imHeight": HEIGHT, "imExt": ".png"}
    text = "".join(f"{key}={value}\n" for key, value in info.items())
    (folder / "seqinfo.ini").write_text(f"[Sequence]\n{text}")
    return folder


def write_experiment(folder: Path, **changes: Any) -> Path:
    """An experiment on a sequence in `folder`: 12 clips of 3 frames, 6 steps of 4, mosaics. Returns its file.

    Args:
        folder: for both.
        changes: settings, nested by a double underscore.
    """
    write_sequence(folder / "walk")
    values: dict[str, Any] = {
        "name": "small",
        "model": {"preset": "tiny", "settings": MODEL},
        "data": {
            "root": str(folder),
            "sources": [{"sequences": "walk"}],
            "clip": {"length": 3, "strides": [1, 2]},
            "augment": {"height": HEIGHT, "width": WIDTH, "mosaic": 0.5},
            "workers": 0,
        },
        "optimiser": {"rate": 1e-3, "encoder_factor": 1.0},
        "schedule": {"epochs": 2, "warm_up_epochs": 0.5, "constant_epochs": 0.5, "plain_epochs": 1},
        "multi_scale": {"smallest": 2, "largest": 3},
        "batch": 2,
        "accumulate": 2,
        "precision": "fp32",
        "average": 0.1,
        "average_warm_up": 2,
        "log_steps": 1,
        "log_to": [],
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(_changed(values, changes)))
    return path


def _changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        *groups, last = key.split("__", 2) if key.startswith("data__") else key.split("__", 1)
        target = values
        for group in groups:
            target = target.setdefault(group, {})
        target[last] = value
    return values


def small_experiment(folder: Path, **changes: Any) -> Experiment:
    """As `write_experiment`, read."""
    return load_experiment(str(write_experiment(folder, **changes)))


def run_steps(training: Training, steps: int | None = None) -> list[Event]:
    """Runs to the end, or stops after so many steps of the whole run as a signal would."""
    return list(training.run(lambda: steps is not None and training.state.step + 1 >= steps))


def losses_of(output: Path) -> list[float]:
    """The total loss of every step in a run's log."""
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    return [record["losses"]["total"] for record in records]


def start_processes(
    count: int, *arguments: object, environment: dict[str, str] | None = None
) -> list[subprocess.Popen[str]]:
    """Starts `python -m tests.train.run ARGUMENTS` as torchrun starts processes (one: as it is)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.train.run", *map(str, arguments)]
    common = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    common |= environment or {}
    processes = []
    for rank in range(count):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        own = {key: str(value) for key, value in place.items()} if count > 1 else {}
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(command, cwd=ROOT, env=common | own, **pipes))
    return processes


def finish_processes(processes: list[subprocess.Popen[str]], seconds: float = 240) -> None:
    """Waits for them; all must end well, and none is left behind."""
    deadline, outputs = time.monotonic() + seconds, []
    try:
        for process in processes:
            outputs.append(process.communicate(timeout=max(1, deadline - time.monotonic()))[0])
    finally:
        for process in processes:
            process.kill()
            process.wait()
    codes = [process.returncode for process in processes]
    assert codes == [0] * len(processes), "\n".join(outputs)
