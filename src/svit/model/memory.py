"""What a stream remembers: every block's keys and values of the last frames.

A memory is a value: it goes into the encoder with new frames and a new one comes out. Without gradients
the new memory reuses the storage of the old one and writes only the slots that change, because at full
size one copy is 12 GiB. The old value stays usable (it is copied when advanced a second time) until
its frames have been overwritten; then using it is an error that says so.

Order inside a memory does not matter to attention, so frames lie in fixed slots of a ring and nothing
ever moves. With `merge` eviction slot 0 holds the running mean of everything that left.

Shapes: B streams, M windows, H heads, Y X rows and columns of a window, F slots, T new frames, D head width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from svit.errors import UsageError

SLOT_DIM = 4
"""Position of F in (B, M, H, Y, F, X, D): a row's keys over time are contiguous, a column's have one stride."""


class LayerMemory(NamedTuple):
    """Keys and values of one block, each (B, M, H, Y, F, X, D); F may exceed the frames remembered."""

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
    mask = torch.zeros(len(plan.seen), sources, dtype=torch.bool)
    for frame, row in enumerate(plan.seen):
        mask[frame, row] = True
    return mask.unsqueeze(0).to(device)


@dataclass
class _Storage:
    """Buffers shared by successive values of one memory; `ages` is the newest value's, None while writing."""

    layers: list[LayerMemory]
    ages: tuple[int, ...] | None


@dataclass(eq=False)
class StreamMemory:
    """The memory of one stream, or of a batch of streams.

    Attributes:
        capacity: frames remembered at most, the current one included (>= 1). Free at any time before the
            first frame; the model does not depend on it.
        eviction: "merge" (official: the frame that leaves is averaged into the oldest) or "fifo".
        ages: frames seen by each stream of the batch; empty before the first frame.
    """

    capacity: int = 32
    eviction: str = "merge"
    ages: tuple[int, ...] = ()
    _storage: _Storage = field(default_factory=lambda: _Storage([], ()), repr=False)

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise UsageError(f"memory capacity must be 1 frame or more, got {self.capacity}")
        if self.eviction not in ("merge", "fifo"):
            raise UsageError(f"memory eviction must be 'merge' or 'fifo', got '{self.eviction}'")

    @property
    def frames_seen(self) -> int:
        """Frames seen since the start, by the longest-running stream of the batch."""
        return max(self.ages, default=0)

    @property
    def nbytes(self) -> int:
        """Bytes held by keys and values, free slots included."""
        return sum(t.numel() * t.element_size() for layer in self._storage.layers for t in layer)

    @property
    def layers(self) -> list[LayerMemory]:
        """Per block the filled slots, as views: keys and values (B, M, H, Y, frames, X, D).

        Raises:
            UsageError: a later value of this memory has overwritten its frames.
        """
        self._check_intact()
        filled = min(self.frames_seen, self.capacity)
        return [LayerMemory(*(t.narrow(SLOT_DIM, 0, filled) for t in layer)) for layer in self._storage.layers]

    def _check_intact(self) -> None:
        newest = self._storage.ages
        if newest == self.ages:
            return
        if newest is None:
            raise UsageError("this memory was interrupted while a frame was written; start a new one")
        if max(newest) > self.capacity:
            raise UsageError(
                f"this memory (after {self.frames_seen} frames) was advanced to {max(newest)} and its frames were "
                "overwritten; keep memory.clone() to branch a stream"
            )

    def clone(self) -> Self:
        """A copy with storage of its own, of the filled slots only."""
        copied = [LayerMemory(*(t.clone() for t in layer)) for layer in self.layers]
        return self._with(copied, self.ages)

    def _with(self, layers: list[LayerMemory], ages: Sequence[int]) -> Self:
        return type(self)(self.capacity, self.eviction, tuple(ages), _Storage(layers, tuple(ages)))

    def advance(self, streams: int, frames: int) -> Advance:
        """Begins the arrival of `frames` frames in each of `streams` streams; see `Advance`.

        Raises:
            UsageError: the memory belongs to another number of streams, or was overwritten.
        """
        if self.ages and len(self.ages) != streams:
            raise UsageError(f"this memory holds {len(self.ages)} streams, the frames {streams}")
        self._check_intact()
        stale = self._storage.ages != self.ages
        current = self.clone() if stale else self
        return Advance(current, self.ages or (0,) * streams, frames, in_place=not torch.is_grad_enabled())

    def state_dict(self) -> dict[str, Any]:
        """Everything, copied: numbers, and `layers.{i}.keys|values` tensors of the filled slots."""
        state: dict[str, Any] = {"capacity": self.capacity, "eviction": self.eviction, "ages": list(self.ages)}
        for i, layer in enumerate(self.layers):
            state[f"layers.{i}.keys"] = layer.keys.clone()
            state[f"layers.{i}.values"] = layer.values.clone()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Becomes the memory that `state_dict` described.

        Raises:
            UsageError: the state is not that of a memory.
        """
        try:
            depth = sum(key.endswith(".keys") for key in state)
            layers = [
                LayerMemory(state[f"layers.{i}.keys"].clone(), state[f"layers.{i}.values"].clone())
                for i in range(depth)
            ]
            capacity, eviction, ages = int(state["capacity"]), str(state["eviction"]), tuple(state["ages"])
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"this is not the state of a StreamMemory: {error}") from None
        self.capacity, self.eviction, self.ages = capacity, eviction, ages
        self.__post_init__()
        self._storage = _Storage(layers, ages)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """A copy on another device or in another precision."""
        moved = [LayerMemory(*(t.to(device, dtype, copy=True) for t in layer)) for layer in self.layers]
        return self._with(moved, self.ages)

    @classmethod
    def stack(cls, memories: Iterable[StreamMemory]) -> StreamMemory:
        """Batches memories of equal capacity and frame size, each of any age, along the streams.

        Raises:
            UsageError: there are none, they differ in capacity, eviction or size, or one is still empty.
        """
        memories = list(memories)
        if len({(m.capacity, m.eviction) for m in memories}) != 1:
            raise UsageError("stack needs one or more memories of the same capacity and eviction")
        if not all(m.ages for m in memories):
            raise UsageError("stack needs memories that have seen a frame; start new streams in a batch of their own")
        filled = min(max(m.frames_seen for m in memories), memories[0].capacity)
        layers = [
            LayerMemory(*(_concatenate(tensors, filled) for tensors in zip(*blocks, strict=True)))
            for blocks in zip(*(m.layers for m in memories), strict=True)
        ]
        return memories[0]._with(layers, [age for m in memories for age in m.ages])

    def unstack(self) -> list[StreamMemory]:
        """One memory per stream, with storage of its own."""
        single = []
        for b, age in enumerate(self.ages):
            filled = min(age, self.capacity)
            own = [LayerMemory(*(t[b : b + 1].narrow(SLOT_DIM, 0, filled).clone() for t in layer)) for layer in self.layers]
            single.append(self._with(own, [age]))
        return single


def _concatenate(tensors: Sequence[Tensor], slots: int) -> Tensor:
    """Joins (B, M, H, Y, F, X, D) along B, with empty slots up to `slots`."""
    if len({(t.shape[:SLOT_DIM][1:], t.shape[SLOT_DIM + 1 :]) for t in tensors}) != 1:
        raise UsageError("stack needs memories of the same frame size and model")
    streams, shape = sum(t.shape[0] for t in tensors), list(tensors[0].shape)
    shape[0], shape[SLOT_DIM] = streams, slots
    joined = tensors[0].new_zeros(shape)
    start = 0
    for t in tensors:
        joined[start : start + t.shape[0]].narrow(SLOT_DIM, 0, t.shape[SLOT_DIM]).copy_(t)
        start += t.shape[0]
    return joined


class Advance:
    """One arrival of T frames, shared by all blocks of an encoder call.

    `recall` gives a block what its new frames attend to and the block's next memory; `result` makes the
    new `StreamMemory` from all of them. With gradients nothing is written in place, so recomputing a
    block (activation checkpointing) gives the same again.
    """

    def __init__(self, memory: StreamMemory, ages: tuple[int, ...], frames: int, in_place: bool) -> None:
        self.memory, self.ages, self.frames, self.in_place = memory, ages, frames, in_place
        capacity, eviction = memory.capacity, memory.eviction
        self._plans = {age: plan_slots(age, frames, capacity, eviction) for age in set(ages)}
        if in_place:
            memory._storage.ages = None

    def recall(self, block: int, keys: Tensor, values: Tensor) -> tuple[Recall, LayerMemory]:
        """What block number `block` attends to when its new `keys` and `values` (B, M, H, Y, T, X, D) arrive.

        Raises:
            UsageError: the memory belongs to another frame size or model.
        """
        layers = self.memory._storage.layers
        old = layers[block] if block < len(layers) else None
        _check_sizes(old, keys)
        if self.in_place and self.frames == 1:
            return self._step(old, keys, values)
        filled = min(max(self.ages), self.memory.capacity)
        past = None if old is None else LayerMemory(*(t.narrow(SLOT_DIM, 0, filled) for t in old))
        return self._chunk(past, LayerMemory(keys, values))

    def result(self, layers: list[LayerMemory]) -> StreamMemory:
        """The memory after the frames; `layers` are the second values of `recall`, in order."""
        ages = tuple(age + self.frames for age in self.ages)
        storage = self.memory._storage
        if not self.in_place:
            return self.memory._with(layers, ages)
        storage.layers, storage.ages = layers, ages
        return StreamMemory(self.memory.capacity, self.memory.eviction, ages, storage)

    def _step(self, old: LayerMemory | None, keys: Tensor, values: Tensor) -> tuple[Recall, LayerMemory]:
        """One frame, written into its slot: the buffers themselves are what it attends to."""
        layer = LayerMemory(*(self._buffer(o, n) for o, n in zip(old or (None, None), (keys, values), strict=True)))
        for streams, age in self._groups():
            for buffer, new in zip(layer, (keys, values), strict=True):
                _write(buffer[streams], new[streams], age, self.memory)
        filled = min(max(self.ages) + 1, self.memory.capacity)
        recalled = (t.narrow(SLOT_DIM, 0, filled) for t in layer)
        return Recall(*recalled, self._visible_ages(filled, keys.device)), layer

    def _buffer(self, old: Tensor | None, new: Tensor) -> Tensor:
        """`old` if it has room for all slots, else a full-size buffer with its content."""
        capacity = self.memory.capacity
        if old is not None and old.shape[SLOT_DIM] == capacity:
            return old
        shape = list(new.shape)
        shape[SLOT_DIM] = capacity
        buffer = new.new_zeros(shape)
        if old is not None:
            buffer.narrow(SLOT_DIM, 0, old.shape[SLOT_DIM]).copy_(old)
        return buffer

    def _groups(self) -> list[tuple[slice, int]]:
        """Streams to write together: all at once if they are of one age, else one by one."""
        if len(set(self.ages)) == 1:
            return [(slice(None), self.ages[0])]
        return [(slice(b, b + 1), age) for b, age in enumerate(self.ages)]

    def _visible_ages(self, slots: int, device: torch.device) -> Tensor | None:
        """(B, 1, slots) bool: streams younger than the oldest do not see slots they have not filled."""
        if len(set(self.ages)) == 1 or min(self.ages) + 1 >= slots:
            return None
        ages = torch.tensor(self.ages)
        return (torch.arange(slots) <= ages[:, None]).unsqueeze(1).to(device)

    def _chunk(self, past: LayerMemory | None, new: LayerMemory) -> tuple[Recall, LayerMemory]:
        """Any number of frames, nothing written: the next memory is gathered from what was attended to."""
        groups = self._groups()
        if len(groups) == 1:
            return _recall_chunk(past, new, self._plans[self.ages[0]])
        assert past is not None  # streams of different ages have a past
        parts = []
        for streams, age in groups:
            filled = min(age, self.memory.capacity)
            own = LayerMemory(*(t[streams].narrow(SLOT_DIM, 0, filled) for t in past))
            parts.append(_recall_chunk(own, LayerMemory(*(t[streams] for t in new)), self._plans[age]))
        return _join_chunks(parts, self.frames)


def _check_sizes(old: LayerMemory | None, keys: Tensor) -> None:
    if old is None:
        return
    before, now = list(old.keys.shape), list(keys.shape)
    before[SLOT_DIM] = now[SLOT_DIM] = 0
    if before != now:
        raise UsageError(
            "these frames do not fit the memory (other frame size or model): start a new memory for frames of another size"
        )


def _write(buffer: Tensor, new: Tensor, age: int, memory: StreamMemory) -> None:
    """Writes one frame (B, M, H, Y, 1, X, D) of streams of one age into its slot, merging what leaves."""
    slot = slot_of(age, memory.capacity, memory.eviction)
    if age >= memory.capacity > 1 and memory.eviction == "merge":
        oldest = buffer.select(SLOT_DIM, 0)
        oldest.copy_((oldest + buffer.select(SLOT_DIM, slot)) / 2)
    buffer.select(SLOT_DIM, slot).copy_(new.select(SLOT_DIM, 0))


def _recall_chunk(past: LayerMemory | None, new: LayerMemory, plan: SlotPlan) -> tuple[Recall, LayerMemory]:
    """Past, new and merged frames side by side with their mask, and the slots after them."""
    sources = [_sources(None if past is None else past[i], new[i], plan) for i in range(2)]
    slots = torch.tensor(plan.slots, device=new.keys.device)
    layer = LayerMemory(*(s.index_select(SLOT_DIM, slots) for s in sources))
    visible = visible_sources(plan, sources[0].shape[SLOT_DIM], new.keys.device)
    return Recall(sources[0], sources[1], visible), layer


def _sources(past: Tensor | None, new: Tensor, plan: SlotPlan) -> Tensor:
    """All sources of a plan along SLOT_DIM, in its numbering."""
    joined = new if past is None else torch.cat([past.to(new.dtype), new], SLOT_DIM)
    frames = list(joined.unbind(SLOT_DIM)) if plan.merges else []
    for a, b in plan.merges:
        frames.append((frames[a] + frames[b]) / 2)
    return torch.stack(frames, SLOT_DIM) if frames else joined


def _join_chunks(parts: list[tuple[Recall, LayerMemory]], frames: int) -> tuple[Recall, LayerMemory]:
    """Batches chunks of streams of different ages: fewer sources are padded and masked."""
    sources = max(recall.keys.shape[SLOT_DIM] for recall, _ in parts)
    slots = max(layer.keys.shape[SLOT_DIM] for _, layer in parts)
    visible = torch.zeros(len(parts), frames, sources, dtype=torch.bool, device=parts[0][0].keys.device)
    for b, (recall, _) in enumerate(parts):
        own = recall.keys.shape[SLOT_DIM]
        visible[b, :, :own] = True if recall.visible is None else recall.visible[0]
    keys, values = (_concatenate([recall[i] for recall, _ in parts], sources) for i in range(2))
    layer = LayerMemory(*(_concatenate([layer[i] for _, layer in parts], slots) for i in range(2)))
    return Recall(keys, values, visible), layer
