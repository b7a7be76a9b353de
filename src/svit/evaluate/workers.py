"""The sequences of a run shared among processes of one machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from svit.data.datasets import EvalSequence
from svit.errors import SvitError
from svit.evaluate.passes import run_sequence
from svit.evaluate.run_folder import RunFolder
from svit.model.video_model import VideoModel
from svit.weights import load, save


@dataclass(frozen=True)
class Job:
    """What all sequences of a run have in common; see `svit.evaluate.passes.run_sequence`."""

    folder: RunFolder
    chunk: int
    memory: int


def run_alone(model: VideoModel, sequences: Sequence[EvalSequence], job: Job) -> Generator[None]:
    """Takes the sequences one after the other; yields once per frame."""
    for sequence in sequences:
        yield from run_sequence(model, sequence, job.folder, job.chunk, job.memory)


def run_in_workers(
    model: VideoModel, sequences: Sequence[EvalSequence], job: Job, workers: int
) -> Generator[None]:
    """Takes the sequences in several processes, the longest first; yields once per frame.

    Each process has a copy of the model and its share of the threads; with several GPUs they take turns from
    the model's own on.

    Raises:
        SvitError: what went wrong in a process, or that it ended without a word. The others are ended too;
            sequences finished by then stay.
    """
    waiting = sorted(sequences, key=lambda sequence: sequence.frames)
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


class _Worker:
    """The parent's end of a process that takes one sequence after the other."""

    def __init__(self, model: VideoModel, weights: Path, job: Job, number: int, workers: int) -> None:
        context = multiprocessing.get_context("spawn")  # forked processes cannot use CUDA
        self.connection, theirs = context.Pipe()
        self.sequence = ""
        threads = max(1, torch.get_num_threads() // workers)
        weight = model.encoder.positions
        where = _device(weight.device, number)
        arguments = (theirs, weights, where, weight.dtype, threads, job)
        self._process: BaseProcess = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # or the end of the process would not be heard

    def take(self, sequence: EvalSequence) -> None:
        """Gives the process a sequence."""
        self.sequence = sequence.name
        with suppress(ConnectionError):  # it is gone: the next `hear` says so
            self.connection.send(sequence)

    def hear(self) -> bool:
        """Waits for the process: True for a frame, False for the end of its sequence."""
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join(5)
            raise SvitError(
                f"{self.sequence}: the process that worked on it ended (exit code {self._process.exitcode}),"
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
    connection: Connection, weights: Path, device: str, dtype: torch.dtype, threads: int, job: Job
) -> None:
    """The process: sequences come in; out go True per frame, False per sequence, or an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    torch.set_num_threads(threads)
    model: VideoModel | None = None
    while True:
        try:
            sequence: EvalSequence = connection.recv()
        except (EOFError, ConnectionError):
            return  # the parent has gone
        try:
            model = model or load(weights, device).to(dtype)
            for _ in run_sequence(model, sequence, job.folder, job.chunk, job.memory):
                connection.send(True)
            connection.send(False)
        except ConnectionError:
            return
        except Exception as error:  # whatever it is, the parent has to hear of it
            with suppress(ConnectionError):
                connection.send(_portable(error, sequence.name))
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
