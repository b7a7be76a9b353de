"""A run shared among the processes that torchrun starts, on one machine or on several with common files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist

from svit.errors import SvitError, UsageError


class Piece(Protocol):
    """A part of a run that is computed as a whole: a sequence, a video."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def frames(self) -> int:
        """How long it is, roughly: longer ones are begun earlier."""
        ...


T = TypeVar("T")
P = TypeVar("P", bound=Piece)

PATIENCE = timedelta(days=30)
"""How long processes wait for each other. torchrun ends all of them as soon as one fails, so this is not
what guards against a failure; it only has to be longer than the longest run."""


def is_main_process() -> bool:
    """Whether this is the process that prints and writes what belongs to the whole run."""
    return int(os.environ.get("RANK", "0")) == 0


def local_device(device: str | None) -> str | None:
    """The device of this process: under torchrun with GPUs, that of its number on this machine.

    Args:
        device: what the user asked for; only None, "auto" and "cuda" leave a choice.
    """
    rank = os.environ.get("LOCAL_RANK")
    if rank is None or device not in (None, "auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{int(rank) % torch.cuda.device_count()}"


@dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Attributes:
        rank: this process, from 0.
        count: how many there are; 1 without torchrun.
    """

    rank: int = 0
    count: int = 1
    _group: dist.ProcessGroup | None = None

    def agree(self, decide: Callable[[], T]) -> T:
        """What the first process decides, in all of them; so is the SvitError that it raises."""
        answer: list[T | SvitError | None] = [None]
        if self.rank == 0:
            try:
                answer[0] = decide()
            except SvitError as error:
                answer[0] = error
        if self._group is not None:
            self._together(lambda: dist.broadcast_object_list(answer, src=0, group=self._group))
        if isinstance(answer[0], SvitError):
            raise answer[0]
        return answer[0]  # type: ignore[return-value]

    def share(self, pieces: Sequence[P]) -> list[P]:
        """This process' part: the longest first, to whom has the fewest frames; alone, all in their order."""
        if self.count == 1:
            return list(pieces)
        frames = [0] * self.count
        shares: list[list[P]] = [[] for _ in range(self.count)]
        for piece in sorted(pieces, key=lambda each: (-each.frames, each.name)):
            least = frames.index(min(frames))
            frames[least] += piece.frames
            shares[least].append(piece)
        return shares[self.rank]

    def meet(self) -> None:
        """Waits until all processes are here."""
        if self._group is not None:
            self._together(lambda: dist.barrier(self._group))

    def _together(self, action: Callable[[], object]) -> None:
        try:
            action()
        except RuntimeError as error:
            raise SvitError(
                f"process {self.rank} of {self.count} lost the others ({str(error).splitlines()[0]});"
                " start again, what is finished is kept"
            ) from None


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """The processes that torchrun started this one with, by its environment; only this one without.

    Raises:
        UsageError: RANK or WORLD_SIZE are there but the rest of torchrun's environment is not.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    inside = dist.is_initialized()  # a training run that evaluates
    try:
        if not inside:
            dist.init_process_group("gloo", timeout=PATIENCE)
        group = dist.new_group(backend="gloo", timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"WORLD_SIZE is {count} but the processes do not find each other"
            f" ({str(error).splitlines()[0]}); start with torchrun, or unset WORLD_SIZE"
        ) from None
    try:
        yield Ranks(dist.get_rank(), count, group)
    finally:
        if not inside:
            dist.destroy_process_group()
