"""Where frames lie in a memory, and what new frames may see of it.

Order inside a memory does not matter to attention, so frames lie in fixed slots of a ring and nothing
ever moves. With `merge` eviction slot 0 holds the running mean of everything that left.

Shapes: B streams, M windows, H heads, Y X rows and columns of a window, F slots, T new frames, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from svit.model.packing import mean, merge_into

SLOT_DIM = 4
"""Position of F in (B, M, H, Y, F, X, D): a row's keys over time lie together, a column's have one stride."""


class LayerMemory(NamedTuple):
    """Keys and values of one block, each (B, M, H, Y, F, X, D), or packed (`svit.model.packing`) D + 2.

    F may exceed the frames remembered.
    """

    keys: Tensor
    values: Tensor


class Recall(NamedTuple):
    """What the T new frames of one block attend to.

    Attributes:
        keys, values: (B, M, H, Y, S, X, D), S frames of the past and present.
        visible: (1 or B, T, S) bool, which frames each new one may see; None if all.
    """

    keys: Tensor
    values: Tensor
    visible: Tensor | None


@dataclass(frozen=True)
class SlotPlan:
    """Where T arriving frames go, found by simulating the official rule frame by frame.

    Sources are numbered: the slots filled before, then the new frames, then one mean per merge.

    Attributes:
        merges: pairs of sources whose mean becomes a further source, in order.
        seen: for each new frame the sources it attends to.
        slots: the source in each slot at the end.
    """

    merges: list[tuple[int, int]]
    seen: list[list[int]]
    slots: list[int]


def slot_of(frame: int, capacity: int, eviction: str) -> int:
    """The slot that frame number `frame` (from 0) of a stream is written to."""
    if frame < capacity or capacity == 1:
        return min(frame, capacity - 1)
    if eviction == "fifo":
        return frame % capacity
    return 1 + (frame - 1) % (capacity - 1)


def plan_slots(age: int, frames: int, capacity: int, eviction: str) -> SlotPlan:
    """Simulates `frames` arrivals at a memory that has seen `age` frames (semantics section 1).

    With `merge`, a full memory takes the oldest entry out and the entry that is now the oldest becomes
    the mean of itself and the one taken out; with capacity 1 the old one is dropped.
    """
    filled = min(age, capacity)
    slots, merges, seen = list(range(filled)), [], []
    for i in range(frames):
        slot = slot_of(age + i, capacity, eviction)
        if slot == len(slots):
            slots.append(filled + i)
        else:
            if eviction == "merge" and capacity > 1:
                merges.append((slots[0], slots[slot]))
                slots[0] = filled + frames + len(merges) - 1
            slots[slot] = filled + i
        seen.append(list(slots))
    return SlotPlan(merges, seen, slots)


def visible_sources(plan: SlotPlan, sources: int, device: torch.device) -> Tensor | None:
    """(1, T, S) bool mask of a plan; None when every new frame sees everything."""
    if all(len(row) == sources for row in plan.seen):
        return None
    mask = [[source in seen for source in range(sources)] for seen in map(set, plan.seen)]
    return torch.tensor(mask).unsqueeze(0).to(device, non_blocking=True)


def write_frame(buffer: Tensor, new: Tensor, age: int, capacity: int, eviction: str) -> None:
    """Writes one frame (B, M, H, Y, 1, X, D) of streams of one age into its slot, merging what leaves."""
    slot = slot_of(age, capacity, eviction)
    if age >= capacity > 1 and eviction == "merge":
        merge_into(buffer.select(SLOT_DIM, 0), buffer.select(SLOT_DIM, slot))
    buffer.select(SLOT_DIM, slot).copy_(new.select(SLOT_DIM, 0))


def concatenate(tensors: Sequence[Tensor], slots: int) -> Tensor:
    """Joins (B, M, H, Y, F, X, D) along B, with empty slots up to `slots`."""
    streams, shape = sum(t.shape[0] for t in tensors), list(tensors[0].shape)
    shape[0], shape[SLOT_DIM] = streams, slots
    joined = tensors[0].new_zeros(shape)
    start = 0
    for t in tensors:
        joined[start : start + t.shape[0]].narrow(SLOT_DIM, 0, t.shape[SLOT_DIM]).copy_(t)
        start += t.shape[0]
    return joined


def recall_chunk(past: LayerMemory | None, new: LayerMemory, plan: SlotPlan) -> tuple[Recall, LayerMemory]:
    """Past, new and merged frames side by side with their mask, and the slots after them."""
    sources = [_sources(None if past is None else past[i], new[i], plan) for i in range(2)]
    if torch.is_grad_enabled() and plan.slots == list(range(sources[0].shape[SLOT_DIM])):
        layer = LayerMemory(*sources)  # nothing left, and with gradients nothing is ever overwritten
    else:
        slots = torch.tensor(plan.slots).to(new.keys.device, non_blocking=True)
        layer = LayerMemory(*(s.index_select(SLOT_DIM, slots) for s in sources))
    visible = visible_sources(plan, sources[0].shape[SLOT_DIM], new.keys.device)
    return Recall(sources[0], sources[1], visible), layer


def _sources(past: Tensor | None, new: Tensor, plan: SlotPlan) -> Tensor:
    """All sources of a plan along SLOT_DIM, in its numbering."""
    joined = new if past is None else torch.cat([past.to(new.dtype), new], SLOT_DIM)
    frames = list(joined.unbind(SLOT_DIM)) if plan.merges else []
    for a, b in plan.merges:
        frames.append(mean(frames[a], frames[b]))
    return torch.stack(frames, SLOT_DIM) if frames else joined


def join_chunks(parts: list[tuple[Recall, LayerMemory]], frames: int) -> tuple[Recall, LayerMemory]:
    """Batches chunks of streams of different ages: fewer sources are padded and masked."""
    sources = max(recall.keys.shape[SLOT_DIM] for recall, _ in parts)
    slots = max(layer.keys.shape[SLOT_DIM] for _, layer in parts)
    visible = torch.zeros(len(parts), frames, sources, dtype=torch.bool, device=parts[0][0].keys.device)
    for b, (recall, _) in enumerate(parts):
        own = recall.keys.shape[SLOT_DIM]
        visible[b, :, :own] = True if recall.visible is None else recall.visible[0]
    keys = concatenate([recall.keys for recall, _ in parts], sources)
    values = concatenate([recall.values for recall, _ in parts], sources)
    layer = LayerMemory(*(concatenate([layer[i] for _, layer in parts], slots) for i in range(2)))
    return Recall(keys, values, visible), layer
