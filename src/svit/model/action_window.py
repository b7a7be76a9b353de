"""The window of the last frame tokens: part of a stream's memory, and what its frames may see of it.

Entries are right-aligned, the newest last, so windows of any filling lie in tensors of one shape. An entry is
counted by its age: 0 is the newest, whatever the frame's number or time.

Shapes: B streams, T new frames, R of them that are asked for, J new entries, N entries of a full window,
A ages that somebody has filled, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from svit.errors import UsageError


@dataclass(frozen=True, eq=False)
class TokenWindow:
    """What an action head remembers of each stream of a batch. Never written in place.

    Attributes:
        entries: one or more tensors (B, N, C): frame tokens, or a causal decoder's keys and values. Rows
            before the first entry are zeros.
        counts: entries of each stream, up to N.
    """

    entries: tuple[Tensor, ...]
    counts: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(entry.numel() * entry.element_size() for entry in self.entries)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of the entries of one stream: what tells one model from another."""
        return tuple(tuple(entry.shape[1:]) for entry in self.entries)

    def map(self, change: Callable[[Tensor], Tensor]) -> TokenWindow:
        """The same window with changed tensors."""
        return TokenWindow(tuple(change(entry) for entry in self.entries), self.counts)

    def stream(self, b: int) -> TokenWindow:
        """Stream `b` alone, copied."""
        return TokenWindow(tuple(entry[b : b + 1].clone() for entry in self.entries), self.counts[b : b + 1])

    def state_dict(self) -> dict[str, Any]:
        """`counts`, and `entries.{i}` tensors, copied."""
        return {"counts": list(self.counts)} | {f"entries.{i}": e.clone() for i, e in enumerate(self.entries)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], streams: int) -> TokenWindow:
        """The window that `state_dict` described; KeyError, TypeError or ValueError where it is none."""
        entries = tuple(state[f"entries.{i}"].clone() for i in range(len(state) - 1))
        counts = tuple(int(count) for count in state["counts"])
        for entry in entries:
            if entry.ndim != 3 or len(entry) != streams or len(counts) != streams:
                raise ValueError(f"a window of {tuple(entry.shape)} does not fit {streams} streams")
            if not 0 <= min(counts) <= max(counts) <= entry.shape[1]:
                raise ValueError(f"a window of {entry.shape[1]} entries cannot hold {max(counts)}")
        return cls(entries, counts)


def stack_windows(windows: Iterable[TokenWindow | None]) -> TokenWindow | None:
    """Windows of several batches as one; None if none of them has one.

    Raises:
        UsageError: they are of different models.
    """
    windows = list(windows)
    if len({None if window is None else window.shapes for window in windows}) > 1:
        raise UsageError("stack needs memories of the same action head, or of none")
    there = [window for window in windows if window is not None]
    if not there:
        return None
    entries = tuple(torch.cat(tensors) for tensors in zip(*(w.entries for w in there), strict=True))
    return TokenWindow(entries, tuple(count for window in there for count in window.counts))


@dataclass(frozen=True)
class View:
    """Entries by age, of a history of the N old entries followed by the J new ones.

    Attributes:
        index: (B, R, A) position in the history of the entry of each age; 0 where there is none.
        visible: (B, R, A) bool, whether there is one.
    """

    index: Tensor
    visible: Tensor

    def of(self, history_BSC: Tensor) -> Tensor:
        """The entries (B, R, A, C) of a history (B, N + J, C)."""
        return pick(history_BSC, self.index)

    def to(self, device: torch.device | str) -> View:
        """The same on another device."""
        return View(self.index.to(device), self.visible.to(device))


@dataclass(frozen=True)
class WindowPlan:
    """Where new frames go and who sees whom, found before anything is computed.

    Attributes:
        at: the R new frames that are asked for, from 0.
        entering: (B, J) the new frames that enter, in order; streams with fewer repeat others, unseen.
        frames: what each frame of `at` sees.
        entries: what each of the J entering frames sees, itself at age 0.
        last: (B, N) position in the history of the entries that remain.
        counts: how many of them are filled.
    """

    at: Tensor
    entering: Tensor
    frames: View
    entries: View
    last: Tensor
    counts: tuple[int, ...]


def plan_window(
    size: int,
    counts: Sequence[int],
    sampled: Tensor,
    at: Sequence[int],
    lengths: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
) -> WindowPlan:
    """Simulates the arrival of T frames at windows with `counts` of `size` entries.

    Args:
        size: N.
        counts: filled entries of each stream.
        sampled: (B, T) bool, which frames enter.
        at: frames that are asked for, 0..T-1.
        lengths: of each stream, how many entries of the newest may be seen; None is all.
        device: where the plan is used.

    Raises:
        UsageError: a frame that is asked for would see nothing: nothing has entered its stream's window.
    """
    sampled = sampled.detach().to("cpu", torch.bool)
    filled, frames = torch.tensor(counts), torch.tensor(at, dtype=torch.long)
    arrived = sampled.long().cumsum(1)
    total = arrived[:, -1]
    entering = torch.argsort(~sampled, dim=1, stable=True)[:, : int(total.max())]
    seen_by_frames, order = arrived[:, frames], torch.arange(1, entering.shape[1] + 1).expand(len(filled), -1)
    _check_seen(filled[:, None] + seen_by_frames, frames)
    limit = torch.full_like(filled, size) if lengths is None else torch.tensor(lengths)
    ages = min(size, int((filled + total).max()), int(limit.max()))
    by_frames, by_entries = (_view(size, filled, rank, limit, ages) for rank in (seen_by_frames, order))
    last = total[:, None] + torch.arange(size)
    return WindowPlan(
        frames.to(device),
        entering.to(device),
        by_frames.to(device),
        by_entries.to(device),
        last.to(device),
        tuple((filled + total).clamp(max=size).tolist()),
    )


def _view(size: int, filled: Tensor, arrived: Tensor, limit: Tensor, ages: int) -> View:
    """What is seen after `arrived` (B, R) new entries at windows of which (B,) entries were filled."""
    age = torch.arange(ages)
    index = size + arrived[..., None] - 1 - age
    visible = (age < (filled[:, None] + arrived)[..., None]) & (age < limit[:, None, None])
    return View(index.clamp(min=0), visible)


def _check_seen(entries: Tensor, at: Tensor) -> None:
    """(B, R) entries that could be seen at the frames `at`."""
    if not bool((entries > 0).all()):
        stream, number = (entries == 0).nonzero()[0].tolist()
        raise UsageError(
            f"nothing has entered the window of stream {stream} at frame {int(at[number])} yet; a stream's "
            "first frame must be sampled"
        )


def pick(history_BSC: Tensor, index: Tensor) -> Tensor:
    """Entries (B, ..., C) of a history (B, S, C) at positions (B, ...)."""
    streams = torch.arange(len(history_BSC), device=index.device)
    return history_BSC[streams.view(-1, *[1] * (index.ndim - 1)), index]


def push(entry: Tensor | None, new_BTC: Tensor, plan: WindowPlan) -> tuple[Tensor, Tensor]:
    """Adds new entries (B, J, C) to a window's (B, N, C); None is an empty window.

    Returns:
        history: both, (B, N + J, C).
        remaining: the window afterwards, (B, N, C).
    """
    size = plan.last.shape[1]
    if entry is None:
        entry = new_BTC.new_zeros(len(new_BTC), size, new_BTC.shape[-1])
    history = torch.cat([entry.to(new_BTC.dtype), new_BTC], dim=1)
    return history, pick(history, plan.last)
