"""The command line as a user runs it, with its time and memory.

Light to import: a process hands the memory that it has at the start of a command down to the command's peak.
So call these in a process of their own, see `svit.bench.alone`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from svit.bench.rows import CannotMeasureError

COMMAND = (sys.executable, "-m", "svit.cli")


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    Attributes:
        seconds: by the clock.
        processor_seconds: on all cores.
        peak_bytes: resident memory.
        stdout: what it printed.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int
    stdout: str


def run_command(words: Sequence[str], threads: int, first_line: bool = False) -> Ran:
    """Runs `svit WORDS` to its end, or until its first line on stdout.

    Raises:
        CannotMeasureError: it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    with subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        printed = process.stdout.readline()
        seconds = time.perf_counter() - start
        if first_line and printed:
            process.kill()
        printed += process.stdout.read()
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = seconds if first_line else time.perf_counter() - start
    if process.returncode != 0 and not (first_line and printed):
        reason = (said.splitlines() or ["no reason given"])[-1]
        raise CannotMeasureError(f"svit {words[0]} failed: {reason}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Ran(seconds, usage.ru_utime + usage.ru_stime, peak, printed)


@contextmanager
def sample_clip() -> Iterator[Path]:
    """The file of the clip that comes with svit: 700 frames of 768x432 at 10 frames/s."""
    with resources.as_file(resources.files("svit") / "assets" / "one-by-one.mp4") as path:
        yield path
