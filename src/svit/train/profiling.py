"""Where the time of a training step goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

SKIPPED, WARM_UP, MEASURED = 3, 2, 3
"""Steps: before anything (caches fill, workers start), with the profiler running in, and counted."""

SHOWN = 15
"""So many operations are in the table."""


class StepProfiler:
    """Watches some steps of a run, then wants it to stop.

    Attributes:
        trace: for chrome://tracing or ui.perfetto.dev; written when `done`.
        done: whether all steps were measured.
        table: the costliest operations, once `done`.

    Args:
        output: the run's folder.
    """

    def __init__(self, output: Path) -> None:
        self.trace = output / "trace.json.gz"
        self.done, self.table = False, ""
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it tells on stderr that it starts and stops
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        steps = schedule(wait=SKIPPED, warmup=WARM_UP, active=MEASURED, repeat=1)
        self._profile = profile(activities=activities, schedule=steps, on_trace_ready=self._finish)
        self._begun = False

    def next_step(self) -> bool:
        """To be called before every step; returns `done`."""
        if not self._begun:
            self._profile.start()
            self._begun = True
        elif not self.done:
            self._profile.step()
        return self.done

    def close(self) -> None:
        """Ends the measuring, also of a run that was too short for it."""
        if self._begun:
            self._begun = False
            self._profile.stop()

    def _finish(self, profiler: Any) -> None:  # noqa: ANN401 - torch hands on itself or its base class
        if self._begun:  # not where a run that was too short is closed
            profiler.export_chrome_trace(str(self.trace))
            self.table = costliest(profiler.key_averages(), MEASURED)
            self.done = True


def costliest(averages: Any, steps: int) -> str:  # noqa: ANN401 - torch's EventList is not exported
    """A table of the operations that take longest, by the device's own time, else by the CPU's.

    Args:
        averages: `torch.profiler.profile.key_averages()`.
        steps: that were measured.
    """
    rows = [
        (event.key, event.count, event.self_cpu_time_total, event.self_device_time_total)
        for event in averages
        if not event.key.startswith("ProfilerStep")
    ]
    cpu, device = (sum(row[column] for row in rows) or 1.0 for column in (2, 3))
    by_device = any(row[3] for row in rows)
    rows.sort(key=lambda row: row[3 if by_device else 2], reverse=True)
    lines = [_row("operation", "calls/step", ("CPU ms/step", "CPU"), ("GPU ms/step", "GPU"), by_device)]
    for name, count, on_cpu, on_device in rows[:SHOWN]:
        of_cpu = f"{on_cpu / steps / 1e3:.2f}", f"{on_cpu / cpu:.0%}"
        of_device = f"{on_device / steps / 1e3:.2f}", f"{on_device / device:.0%}"
        lines.append(_row(name, f"{count / steps:.1f}", of_cpu, of_device, by_device))
    return "\n".join(lines)


def _row(name: str, calls: str, cpu: tuple[str, str], device: tuple[str, str], by_device: bool) -> str:
    row = f"{name[:44]:<44} {calls:>10} {cpu[0]:>12} {cpu[1]:>5}"
    return f"{row} {device[0]:>12} {device[1]:>5}" if by_device else row
