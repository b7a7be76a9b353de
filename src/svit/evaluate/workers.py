"""The pieces of a run (sequences, videos) shared among processes of one machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from svit.errors import SvitError
from svit.evaluate.shards import P, Piece
from svit.model.video_model import VideoModel
from svit.weights import load, save

Taken = TypeVar("Taken", bound=Piece, contravariant=True)


class Job(Protocol[Taken]):
    """What is done to every piece of a run; it travels to the processes."""

    def run(self, model: VideoModel, piece: Taken) -> Iterator[None]:
        """Computes a piece and writes its files; yields where progress is to be told."""
        ...


def run_alone(model: VideoModel, pieces: Sequence[P], job: Job[P]) -> Generator[None]:
    """Takes the pieces one after the other; yields as the job does."""
    for piece in pieces:
        yield from job.run(model, piece)


def run_in_workers(model: VideoModel, pieces: Sequence[P], job: Job[P], workers: int) -> Generator[None]:
    """Takes the pieces in several processes, the longest first; yields as the job does.

    Each process has a copy of the model and its share of the threads; with several GPUs they take turns from
    the model's own on.

    Raises:
        SvitError: what went wrong in a process, or that it ended without a word. The others are ended too;
            pieces finished by then stay.
    """
    waiting = sorted(pieces, key=lambda piece: piece.frames)
    with tempfile.TemporaryDirectory(prefix="svit-") as folder:
        weights = Path(folder) / "model.safetensors"
        save(model, weights)
        crew = [_Worker(model, weights, job, number, workers) for number in range(min(workers, len(waiting)))]
        try:
            busy = {each.connection: each for each in crew}
            for each in crew:
                each.take(waiting.pop())
            while busy:
                for connection in wait(list(busy)):
                    each = busy[connection]  # type: ignore[index]
                    if each.hear():
                        yield
                    elif waiting:
                        each.take(waiting.pop())
                    else:
                        del busy[each.connection]
        finally:
            for each in crew:
                each.end()


class _Worker(Generic[P]):
    """The parent's end of a process that takes one piece after the other."""

    def __init__(self, model: VideoModel, weights: Path, job: Job[P], number: int, workers: int) -> None:
        context = multiprocessing.get_context("spawn")  # forked processes cannot use CUDA
        self.connection, theirs = context.Pipe()
        self.piece = ""
        threads = max(1, torch.get_num_threads() // workers)
        weight = model.encoder.positions
        where = _device(weight.device, number)
        arguments = (theirs, weights, where, weight.dtype, threads, job)
        self._process: BaseProcess = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # or the end of the process would not be heard

    def take(self, piece: P) -> None:
        """Gives the process a piece."""
        self.piece = piece.name
        with suppress(ConnectionError):  # it is gone: the next `hear` says so
            self.connection.send(piece)

    def hear(self) -> bool:
        """Waits for the process: True for progress, False for the end of its piece."""
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join(5)
            raise SvitError(
                f"{self.piece}: the process that worked on it ended (exit code {self._process.exitcode}),"
                " perhaps for lack of memory; start again, what is finished is kept"
            ) from None
        if isinstance(message, SvitError):
            raise message
        return bool(message)

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self.connection.close()
        self._process.terminate()
        self._process.join()


def _serve(
    connection: Connection, weights: Path, device: str, dtype: torch.dtype, threads: int, job: Job[P]
) -> None:
    """The process: pieces come in; out go True for progress, False per piece, or an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    torch.set_num_threads(threads)
    model: VideoModel | None = None
    while True:
        try:
            piece: P = connection.recv()
        except (EOFError, ConnectionError):
            return  # the parent has gone
        try:
            model = model or load(weights, device).to(dtype)
            for _ in job.run(model, piece):
                connection.send(True)
            connection.send(False)
        except ConnectionError:
            return
        except Exception as error:  # whatever it is, the parent has to hear of it
            with suppress(ConnectionError):
                connection.send(_portable(error, piece.name))
            return


def _portable(error: Exception, name: str) -> SvitError:
    """The error as one line that can travel; where it came from goes along as a note."""
    if isinstance(error, SvitError):
        told = error
    else:
        first = (str(error).splitlines() or [""])[0]
        told = SvitError(f"{name}: {type(error).__name__}: {first}")
    told.add_note(f"in process {os.getpid()}:\n{''.join(traceback.format_exception(error))}")
    return told


def _device(device: torch.device, number: int) -> str:
    """The device of a process."""
    if device.type != "cuda":
        return str(device)
    return f"cuda:{((device.index or 0) + number) % torch.cuda.device_count()}"
