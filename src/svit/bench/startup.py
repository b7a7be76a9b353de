"""How long until svit answers: its help, and the first frame of a video."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace

from svit.bench.alone import alone
from svit.bench.commands import Ran, run_command, sample_clip
from svit.bench.rows import Row, Say, Settings, timed_row


def rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`startup`: seconds of `svit --help`, and until the first frame of `svit track` with `tiny-person`."""
    help_repeats, track_repeats = (1, 1) if settings.quick else (9, 5)
    say("svit --help")
    helped = [_run(["--help"], settings.threads) for _ in range(1 + help_repeats)]
    helped = helped[1:]  # what comes from the disk once is not svit's
    say("svit track to its first frame")
    with sample_clip() as clip:
        words = ["track", str(clip), "--no-video", "--jsonl", "-"]
        first = [_run(words, settings.threads, first_line=True) for _ in range(track_repeats)]
    yield replace(
        timed_row("startup", "svit --help, by the clock", [ran.seconds for ran in helped]),
        peak_bytes=max(ran.peak_bytes for ran in helped),
        details={
            "help_processor_seconds": statistics.median(ran.processor_seconds for ran in helped),
            "first_frame_seconds": statistics.median(ran.seconds for ran in first),
            "first_frame_peak_bytes": float(max(ran.peak_bytes for ran in first)),
        },
    )


def _run(words: list[str], threads: int, first_line: bool = False) -> Ran:
    return alone(run_command, words, threads, first_line).result
