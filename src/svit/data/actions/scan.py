"""Looking into videos once: frames, rate, size, keyframes; in several processes, and with a journal.

A run that is killed leaves its journal, and the next one goes on from there.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from svit.data.actions.index import Times
from svit.data.video_frames import ImageFrames
from svit.data.video_index import build_index, file_stamp, open_stream
from svit.errors import SourceError, SvitError
from svit.types import Progress, no_progress
from svit.video import open_source
from svit.video.images import DECODING_ERRORS, image_paths
from svit.video.output import output_error

UNEVEN = 0.25
"""Frames this far from their even place, in frame intervals, make a video's times worth writing down."""

FEW = 16
"""Videos per process below which starting it takes longer than it saves."""

DIED_ADVICE = "out of memory, or damaged? Prepare again, with fewer --workers"

Facts = dict[str, Any]
"""What is found out of a video: fields of `ActionVideo`; or {"reason": why it cannot be used}."""


@dataclass(frozen=True)
class Job:
    """A video to look into.

    Attributes:
        path: of the file, or of a folder of images.
        rate: frames per second of images, which do not say.
        first: of a folder: its first image that counts, from 0.
        frames: of a folder: how many images count; None is all.
    """

    path: Path
    rate: float
    first: int = 0
    frames: int | None = None

    @property
    def key(self) -> str:
        """What the journal calls it."""
        return f"{self.path}|{self.rate}|{self.first}|{self.frames}"


def scan_videos(
    jobs: list[Job], journal: Path | None, workers: int, progress: Progress = no_progress
) -> dict[Job, Facts]:
    """Looks into every video.

    Args:
        jobs: the videos.
        journal: what was found is noted here as it comes, and what stands here already, of a video that has
            not changed since, is not looked for again. The caller removes it. None: no journal.
        workers: processes; 1 works in this one.
        progress: told of every video.

    Raises:
        OutputError: the journal cannot be written.
    """
    stamps = {job: _stamp(job.path) for job in jobs}
    known = _read_journal(journal) if journal else {}
    found = {job: known[job.key][1] for job in jobs if known.get(job.key, (0, 0))[0] == stamps[job]}
    left = [job for job in stamps if job not in found]
    workers = min(workers, 1 + len(left) // FEW)
    with closing(_run(left, workers)) as outcomes:
        for job, facts in _noted(progress(outcomes, "videos", len(left)), stamps, journal):
            found[job] = facts or {"reason": f"{job.path}: the process that read it died; {DIED_ADVICE}"}
    return found


def _noted(
    outcomes: Iterable[tuple[Job, Facts | None]], stamps: dict[Job, list[int]], journal: Path | None
) -> Iterator[tuple[Job, Facts | None]]:
    """Hands on what is found, after writing it down.

    That a process died is not written down: the video need not have been the reason.
    """
    if journal is None:
        yield from outcomes
        return
    try:
        with journal.open("a", encoding="utf-8") as file:
            file.write("\n")  # ends what a killed run did not
            for job, facts in outcomes:
                if facts is not None:
                    file.write(json.dumps([job.key, stamps[job], facts]) + "\n")
                    file.flush()
                yield job, facts
    except OSError as error:
        raise output_error(journal, error) from error


def _read_journal(path: Path) -> dict[str, tuple[list[int], Facts]]:
    known = {}
    with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):  # the line at which an earlier run was killed
                key, stamp, facts = json.loads(line)
                known[key] = (stamp, facts)
    return known


def _stamp(path: Path) -> list[int]:
    try:
        return list(file_stamp(path))
    except SourceError:
        return []


def scan_video(job: Job) -> Facts:
    """Looks into one video, or one folder of images.

    Returns:
        Fields of `ActionVideo`, or {"reason": ...} where it cannot be used.
    """
    try:
        return _scan_images(job) if job.path.is_dir() else _scan_file(job.path)
    except SvitError as error:
        return {"reason": str(error)}
    except Exception as error:  # whatever a broken file makes a decoder do, the other videos still count
        return {"reason": f"{job.path}: cannot be read ({type(error).__name__}: {error})"}


def _scan_file(path: Path) -> Facts:
    size = path.stat().st_size if path.exists() else 1
    if size == 0:
        return {"reason": f"{path}: is empty (0 bytes)"}
    with open_source(path) as source:
        facts: Facts = {"rate": source.rate, "width": source.width, "height": source.height, "bytes": size}
    index = build_index(path)
    facts["frames"] = count = len(index.packets)
    if count == 0:
        return {"reason": f"{path}: holds no frames"}
    if index.by_time:
        container, stream = open_stream(path, 1)
        with container:
            seconds = np.asarray(index.identities * float(stream.time_base or 0), np.float64)
        facts["keyframes"] = sorted(keyframe.frame for keyframe in index.keyframes)
        facts |= _timing(seconds, facts["rate"])
    if facts.get("keyframes", [0])[:1] != [0]:
        del facts["keyframes"]  # its beginning needs a search
    return facts | {"duration": facts.get("duration", count / facts["rate"])}


def _timing(seconds: Times, rate: float) -> Facts:
    """Start, rate and duration, and the times themselves where they are uneven."""
    since = seconds - seconds[0]
    if len(since) < 2 or since[-1] <= 0:
        return {"start": float(seconds[0]), "duration": 1 / rate}
    mean = len(since) - 1
    rate = float(mean / since[-1])
    facts = {
        "start": float(seconds[0]),
        "rate": rate,
        "duration": float(since[-1] + np.median(np.diff(since))),
    }
    if np.abs(since * rate - np.arange(len(since))).max() > UNEVEN:
        facts["times"] = since.round(6).tolist()
    return facts


def _scan_images(job: Job) -> Facts:
    paths = image_paths(job.path)
    kinds = sorted({path.stem.rstrip("0123456789") for path in paths})
    numbered = all(path.stem[-1:].isdigit() for path in paths)
    if numbered and len(kinds) > 1:
        return {"reason": f"{job.path}: images of several kinds ({', '.join(kinds[:3])}); keep one"}
    there = len(ImageFrames(job.path)) - job.first
    count = there if job.frames is None else job.frames
    if not 0 < count <= there:
        return {"reason": f"{job.path}: the list says {count} frames, there are {max(there, 0)}"}
    try:
        with PillowImage.open(paths[job.first]) as image:
            width, height = image.size
    except DECODING_ERRORS:
        return {"reason": f"{paths[job.first]}: cannot be read; replace or remove it"}
    facts = {"frames": count, "rate": job.rate, "duration": count / job.rate, "first": job.first}
    return facts | {"width": width, "height": height}


def _run(jobs: list[Job], workers: int) -> Generator[tuple[Job, Facts | None]]:
    """What is found in each video, in the order in which they are done; None where the process died."""
    if workers <= 1:
        for job in jobs:
            yield job, scan_video(job)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads that wait for the others
    idle: SimpleQueue[_Worker] = SimpleQueue()
    pool = [_Worker(context) for _ in range(workers)]
    for worker in pool:
        idle.put(worker)
    with ThreadPoolExecutor(workers) as threads:
        futures = {threads.submit(_ask_idle, idle, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures.pop(future), future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for worker in pool:
                worker.end()


def _ask_idle(idle: SimpleQueue[_Worker], job: Job) -> Facts | None:
    worker = idle.get()
    try:
        return worker.ask(job)
    finally:
        idle.put(worker)


class _Worker:
    """A process that looks into video after video; where one kills it, another takes its place."""

    def __init__(self, context: SpawnContext) -> None:
        self._context = context
        self._ended = False
        self._start()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process: BaseProcess = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, job: Job) -> Facts | None:
        try:
            self._connection.send(job)
            facts: Facts = self._connection.recv()
            return facts
        except (EOFError, OSError):
            if not self._ended:
                self._start()
            return None

    def end(self) -> None:
        self._ended = True
        self._process.terminate()  # it writes nothing
        self._process.join()


def _serve(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent says what to do
    with suppress(EOFError, OSError):
        while True:
            connection.send(scan_video(connection.recv()))
