"""Work in a process of its own, so that its peak memory and its thread pools are its own."""

from __future__ import annotations

import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

from svit.bench.rows import CannotMeasureError

P = ParamSpec("P")
T = TypeVar("T")

GIB = 1024**3


@dataclass(frozen=True)
class Alone(Generic[T]):
    """What work in a process of its own gave.

    Attributes:
        result: its return value.
        peak_bytes: peak resident memory of the process.
    """

    result: T
    peak_bytes: int


def alone(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Alone[T]:
    """Does `work`, a function of a module, in a fresh process.

    Raises:
        CannotMeasureError: the process was killed, or as `work` says.
    """
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(there, partial(work, *args, **kwargs)), daemon=True)
    process.start()
    there.close()
    try:
        outcome: Alone[T] | Exception = here.recv()
    except EOFError:
        raise CannotMeasureError("its process was killed, most likely for lack of memory") from None
    except BaseException:  # Ctrl-C: nothing is left behind
        process.kill()
        raise
    finally:
        process.join()
        here.close()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _report(there: Connection, work: Callable[[], object]) -> None:
    """Does the work in this process and hands its outcome over."""
    try:
        outcome: Alone[object] | Exception = Alone(work(), peak_bytes())
    except Exception as error:
        error.add_note(f"In a process of its own:\n{traceback.format_exc()}")  # what --debug shows
        outcome = error
    there.send(outcome)


def peak_bytes() -> int:
    """Peak resident memory of this process.

    Linux counts a parent's peak into its child's `ru_maxrss`, so its own counter is read where it exists.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Resident memory of this process: now where Linux tells it, else the most it ever was."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return peak_bytes()


def require_memory(needed: int) -> None:
    """Ends the measurement before the system ends other people's work.

    Raises:
        CannotMeasureError: less than `needed` bytes are free, where Linux tells it.
    """
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return
    line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable"))
    free = int(line.split()[1]) * 1024
    if free < needed:
        raise CannotMeasureError(
            f"it needs about {needed / GIB:.0f} GiB of memory, {free / GIB:.1f} GiB are free"
        )


def in_turn(
    works: Mapping[str, Callable[[], object]],
    repeats: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each of several works, done one after the other, `repeats` times round.

    Whatever else the machine does then falls on all of them alike. The first `warm_up` rounds do not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(warm_up + repeats):
        for name, work in works.items():
            start = clock()
            work()
            seconds[name].append(clock() - start)
    return {name: values[warm_up:] for name, values in seconds.items()}


def percentile(values: list[float], share: float) -> float:
    """The value below which a share (0-1) of at least two values lies."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]
