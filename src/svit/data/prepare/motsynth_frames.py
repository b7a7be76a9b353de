"""MOTSynth's videos as folders of images: 000.mp4 becomes 000/img1/000001.jpg and so on.

File n is the n-th decoded frame, counted from 1, as in the S-ViT official settings. (The data set's own tools
leave out the first frames; its authors have since said not to: dvl-tum/motsynth-baselines, issue 14.) Source
and licence of the data set: see `svit.data.prepare.motsynth`.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Event
from pathlib import Path

from PIL import Image as PillowImage

from svit.data.bad_rows import BadRows
from svit.data.prepare.motsynth import numbered_files
from svit.data.prepare.outputs import make_folder
from svit.data.video_frames import VideoFrames
from svit.errors import DataError, SourceError, SvitError, UsageError
from svit.types import Progress, no_progress
from svit.video import open_source
from svit.video.output import output_error

QUALITY = 75
"""Of the JPEG files, as the official script writes them."""


@dataclass(frozen=True)
class ExtractOptions:
    """How `extract_frames` works.

    Attributes:
        workers: videos at a time, each in its own process; None is one per core. 1 works in this process.
        quality: of the JPEG files, 1 to 95 (4:2:0 chroma); 75 is that of the official script.
        dry_run: only say which videos are still to be done.

    Raises:
        UsageError: a number out of range.
    """

    workers: int | None = None
    quality: int = QUALITY
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers: {self.workers}; at least 1 is needed")
        if not 1 <= self.quality <= 95:
            raise UsageError(f"quality: {self.quality}; JPEG quality goes from 1 to 95")


@dataclass(frozen=True)
class Extracted:
    """What `extract_frames` did, or in a dry run would do.

    Attributes:
        output: the folder of the image folders.
        videos: extracted now.
        frames: in these; 0 in a dry run, which does not count them.
        finished: videos that were there already.
    """

    output: Path
    videos: int
    frames: int
    finished: int

    def __str__(self) -> str:
        frames = f", {self.frames} frames" if self.frames else ""
        return f"{self.output}: {self.videos} videos{frames}; {self.finished} were there already"


@dataclass(frozen=True)
class _Job:
    """A video, the folder that its frames are to have, and how."""

    video: Path
    folder: Path
    quality: int
    threads: int

    @property
    def part(self) -> Path:
        """The folder while it is not complete."""
        return self.folder.with_name(f".{self.folder.name}.part")


def extract_frames(
    videos: str | Path,
    output: str | Path,
    options: ExtractOptions = ExtractOptions(),
    bad_rows: BadRows | None = None,
    progress: Progress = no_progress,
) -> Extracted:
    """Writes the frames of 000.mp4, 001.mp4 ... to OUTPUT/000/img1/000001.jpg ...

    A video's folder gets its name when all its frames are there, so a run that was stopped or killed goes on
    where it was: videos that are complete are passed over. A folder with other frames than its video's is
    left as it is, and told as an error. Several workers are processes: in a script, call this below
    `if __name__ == "__main__":`.

    Args:
        videos: the folder of MOTSynth's videos.
        output: the folder for the results; made where it is missing.
        options: see `ExtractOptions`.
        bad_rows: what to do with videos that cannot be read; None raises at the first.
        progress: told of every video.

    Raises:
        DataError: no such folder, no videos in it, or a video is broken; the message names it.
        OutputError: the output cannot be written.
    """
    output = Path(output)
    bad_rows = bad_rows or BadRows()
    workers = options.workers or os.cpu_count() or 1
    jobs = [
        _Job(path, output / path.stem, options.quality, 1 if workers > 1 else 0)
        for path in numbered_files(Path(videos), ".mp4")
    ]
    unfinished, finished = _sort_out(jobs, bad_rows)
    if options.dry_run:
        return Extracted(output, len(unfinished), 0, finished)
    make_folder(output)
    counts = []
    with closing(_run(unfinished, min(workers, len(unfinished)))) as outcomes:
        for outcome in progress(outcomes, "videos", len(unfinished)):
            if isinstance(outcome, DataError | SourceError):
                bad_rows.report(str(outcome))
            elif isinstance(outcome, SvitError):
                raise outcome
            else:
                counts.append(outcome)
    return Extracted(output, len(counts), sum(counts), finished)


def _sort_out(jobs: list[_Job], bad_rows: BadRows) -> tuple[list[_Job], int]:
    """The jobs that are still to be done, and how many are finished."""
    unfinished, finished = [], 0
    for job in jobs:
        if not job.folder.exists():
            unfinished.append(job)
            continue
        try:
            _check_finished(job)
            finished += 1
        except (DataError, SourceError) as error:
            bad_rows.report(str(error))
    return unfinished, finished


def _check_finished(job: _Job) -> None:
    """Raises unless the folder holds as many frames as the video."""
    there = sum(path.suffix == ".jpg" for path in (job.folder / "img1").glob("*"))
    with open_source(job.video) as source:
        if source.frames == there:
            return
    with VideoFrames(job.video) as frames:  # slower, but counts what is really decoded
        if len(frames) != there:
            raise DataError(
                f"{job.folder}: holds {there} frames, but {job.video} has {len(frames)}; remove the folder"
            )


def _run(jobs: list[_Job], workers: int) -> Generator[int | SvitError]:
    """What comes of each job, in the order in which they end: its number of frames, or an error."""
    if workers <= 1:
        for job in jobs:
            try:
                yield _extract(job, lambda: False)
            except SvitError as error:
                yield error
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads that wait for the others
    stop = context.Event()
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_in_process, job, context, stop) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _in_process(job: _Job, context: SpawnContext, stop: Event) -> int | SvitError:
    """Runs one job in a process of its own, so that a video that crashes the decoder is just a bad video."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job, sender, stop), daemon=True)
    process.start()
    sender.close()
    try:
        outcome: int | SvitError = receiver.recv()
    except EOFError:
        outcome = SourceError(f"{job.video}: the process that decodes it died; out of memory, or damaged?")
        shutil.rmtree(job.part, ignore_errors=True)
    process.join()
    receiver.close()
    return outcome


def _child(job: _Job, sender: Connection, stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent says what to do
    parent = multiprocessing.parent_process()

    def stopped() -> bool:
        return stop.is_set() or parent is None or not parent.is_alive()

    try:
        sender.send(_extract(job, stopped))
    except SvitError as error:
        sender.send(error)


def _extract(job: _Job, stopped: Callable[[], bool]) -> int:
    """Writes all frames of a video and gives their folder its name; leaves nothing on an error.

    Raises:
        SourceError: the video is broken, or the work was stopped.
        OutputError: the disk is full or cannot be written.
    """
    try:
        shutil.rmtree(job.part, ignore_errors=True)  # of a run that was killed
        images = job.part / "img1"
        images.mkdir(parents=True)
        with VideoFrames(job.video, cache=1, threads=job.threads) as frames:
            for number in range(len(frames)):
                if stopped():
                    raise SourceError(f"{job.video}: stopped before it was complete")
                image = PillowImage.fromarray(frames[number])
                image.save(images / f"{number + 1:06d}.jpg", quality=job.quality)
            count = len(frames)
        job.part.rename(job.folder)
    except OSError as error:
        raise output_error(job.folder, error) from error
    finally:
        shutil.rmtree(job.part, ignore_errors=True)
    return count
