"""What a stream remembers: every block's keys and values of the last frames, and an action head's window.

A memory is a value: it goes into the encoder with new frames and a new one comes out. Without gradients
the new memory reuses the storage of the old one and writes only the slots that change, because at full
size one copy is 12 GiB. The old value stays usable (it is copied when advanced a second time) until
its frames have been overwritten; then using it is an error that says so.

Shapes: B streams, M windows, H heads, Y X rows and columns of a window, F slots, T new frames, D head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from svit.config import EncoderConfig
from svit.errors import UsageError
from svit.model.action_window import TokenWindow, stack_windows
from svit.model.packing import pack, unpack
from svit.model.slots import (
    SLOT_DIM,
    LayerMemory,
    Recall,
    concatenate,
    join_chunks,
    plan_slots,
    recall_chunk,
    write_frame,
)

Layout = tuple[int, ...]
"""What a memory fits: rows and columns of the token grid, then whatever tells one model from another."""


@dataclass
class _Storage:
    """Buffers shared by successive values of one memory.

    Attributes:
        ages: those of the newest value; None while it is being written.
        in_graph: a backward pass may still read the buffers, so they must not be written again.
    """

    layers: list[LayerMemory]
    ages: tuple[int, ...] | None
    in_graph: bool = False


@dataclass(eq=False)
class StreamMemory:
    """The memory of one stream, or of a batch of streams.

    Attributes:
        capacity: frames remembered at most, the current one included (>= 1). Free at any time before the
            first frame; the model does not depend on it.
        eviction: "merge" (official: the frame that leaves is averaged into the oldest) or "fifo".
        bits: 8 stores keys and values in 8 bits, see `svit.model.packing`; None as the model computes them.
            Without gradients only. What frames attend to is rounded in every form of the call alike.
        ages: frames seen by each stream of the batch; empty before the first frame.
        layout: frame size and model it belongs to; empty before the first frame.
        window: the action head's last frame tokens; None before the head's first frame, or without one.
    """

    capacity: int = 32
    eviction: str = "merge"
    bits: int | None = None
    ages: tuple[int, ...] = ()
    layout: Layout = ()
    window: TokenWindow | None = None
    _storage: _Storage = field(default_factory=lambda: _Storage([], ()), repr=False)

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise UsageError(f"memory capacity must be 1 frame or more, got {self.capacity}")
        if self.eviction not in ("merge", "fifo"):
            raise UsageError(f"memory eviction must be 'merge' or 'fifo', got '{self.eviction}'")
        if self.bits not in (None, 8):
            raise UsageError(f"memory bits must be 8, or None for the model's precision, got {self.bits}")

    @classmethod
    def for_model(cls, settings: EncoderConfig, capacity: int | None = None) -> Self:
        """An empty memory as a model's settings say; with a `capacity` of one's own unless that is None."""
        frames = settings.memory if capacity is None else capacity
        return cls(frames, settings.eviction, settings.memory_bits)

    def fresh(self) -> Self:
        """An empty memory of the same settings."""
        return type(self)(self.capacity, self.eviction, self.bits)

    @property
    def frames_seen(self) -> int:
        """Frames seen since the start, by the longest-running stream of the batch."""
        return max(self.ages, default=0)

    @property
    def nbytes(self) -> int:
        """Bytes held by keys and values, free slots included, and by the window."""
        window = 0 if self.window is None else self.window.nbytes
        return window + sum(t.numel() * t.element_size() for layer in self._storage.layers for t in layer)

    @property
    def layers(self) -> list[LayerMemory]:
        """Per block the filled slots, as views: keys and values (B, M, H, Y, frames, X, D), or packed.

        Raises:
            UsageError: a later value of this memory has overwritten its frames.
        """
        self._check_intact()
        filled = min(self.frames_seen, self.capacity)
        return [
            LayerMemory(*(t.narrow(SLOT_DIM, 0, filled) for t in layer)) for layer in self._storage.layers
        ]

    def _check_intact(self) -> None:
        newest = self._storage.ages
        if newest == self.ages:
            return
        if newest is None:
            raise UsageError("this memory was interrupted while a frame was written; start a new one")
        if max(newest) > self.capacity:
            raise UsageError(
                f"this memory (after {self.frames_seen} frames) was advanced to {max(newest)} and its frames "
                "were overwritten; keep memory.clone() to branch a stream"
            )

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same memory with storage of its own, made of the filled slots."""
        layers = [LayerMemory(*(change(t) for t in layer)) for layer in self.layers]
        window = None if self.window is None else self.window.map(change)
        return self._with(layers, self.ages, self.layout).with_window(window)

    def _with(self, layers: list[LayerMemory], ages: tuple[int, ...], layout: Layout) -> Self:
        return replace(self, ages=ages, layout=layout, _storage=_Storage(layers, ages))

    def with_window(self, window: TokenWindow | None) -> Self:
        """The same memory, storage included, with another window."""
        return replace(self, window=window)

    def clone(self) -> Self:
        """A copy with storage of its own, of the filled slots only."""
        return self._map(Tensor.clone)

    def detach(self) -> Self:
        """The same values without gradient: ends truncated backpropagation between two training steps."""
        memory = self._map(Tensor.detach)
        memory._storage.in_graph = self._storage.in_graph
        return memory

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """The same memory on another device or in another precision; itself if nothing changes.

        What is stored in 8 bits stays so.
        """

        def move(t: Tensor) -> Tensor:
            return t.to(device, dtype if t.is_floating_point() else None)

        entries = () if self.window is None else self.window.entries
        if all(move(t) is t for group in (*self.layers, entries) for t in group):
            return self
        return self._map(move)

    def advance(self, streams: int, frames: int, layout: Layout, keep_recalls: bool = False) -> Advance:
        """Begins the arrival of `frames` frames in each of `streams` streams; see `Advance`.

        Raises:
            UsageError: the memory belongs to another number of streams, frame size or model, or was
                overwritten, or stores 8 bits and gradients are on. It then stays as it was.
        """
        if self.bits and torch.is_grad_enabled():
            raise UsageError(
                "a memory in 8 bits has no gradients; use torch.no_grad(), or train without memory_bits"
            )
        ages = self.ages or (0,) * streams
        if len(ages) != streams:
            raise UsageError(f"this memory holds {len(ages)} streams, the frames {streams}")
        if self.layout and self.layout != layout:
            other = "frames of another size" if self.layout[:2] != layout[:2] else "another model"
            raise UsageError(f"this memory belongs to {other}; start a new one")
        if not self.ages:
            return Advance(self._with([], (), ()), ages, frames, layout, keep_recalls)
        self._check_intact()
        writes = not torch.is_grad_enabled()
        must_copy = writes and (self._storage.in_graph or self._storage.ages != self.ages)
        return Advance(self.clone() if must_copy else self, ages, frames, layout, keep_recalls)

    def state_dict(self) -> dict[str, Any]:
        """Everything, copied: numbers, `layers.{i}.keys|values` tensors of the filled slots, `window.*`."""
        state: dict[str, Any] = {
            "capacity": self.capacity,
            "eviction": self.eviction,
            "bits": self.bits,
            "ages": list(self.ages),
            "layout": list(self.layout),
        }
        for i, layer in enumerate(self.layers):
            state[f"layers.{i}.keys"] = layer.keys.clone()
            state[f"layers.{i}.values"] = layer.values.clone()
        window = {} if self.window is None else self.window.state_dict()
        return state | {f"window.{key}": value for key, value in window.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Becomes the memory that `state_dict` described.

        Raises:
            UsageError: the state is not that of a memory; this one then stays as it was.
        """
        try:
            loaded = _from_state(state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"this is not the state of a StreamMemory: {error}") from None
        self.__dict__.update(loaded.__dict__)

    @classmethod
    def stack(cls, memories: Iterable[StreamMemory]) -> StreamMemory:
        """Batches memories of equal capacity and frame size, each of any age, along the streams.

        Raises:
            UsageError: there are none, they differ in capacity, eviction, bits, size, model or action head,
                or one is empty.
        """
        memories = list(memories)
        if len({(m.capacity, m.eviction, m.bits) for m in memories}) != 1:
            raise UsageError("stack needs one or more memories of the same capacity, eviction and bits")
        if not all(m.ages for m in memories):
            raise UsageError("stack needs memories that have seen a frame; batch new streams on their own")
        if len({m.layout for m in memories}) != 1:
            raise UsageError("stack needs memories of the same frame size and model")
        window = stack_windows(m.window for m in memories)
        filled = min(max(m.frames_seen for m in memories), memories[0].capacity)
        layers = [
            LayerMemory(*(concatenate(tensors, filled) for tensors in zip(*blocks, strict=True)))
            for blocks in zip(*(m.layers for m in memories), strict=True)
        ]
        ages = tuple(age for m in memories for age in m.ages)
        return memories[0]._with(layers, ages, memories[0].layout).with_window(window)

    def unstack(self) -> list[StreamMemory]:
        """One memory per stream, with storage of its own."""
        return [self._stream(b, age) for b, age in enumerate(self.ages)]

    def _stream(self, b: int, age: int) -> StreamMemory:
        filled = min(age, self.capacity)
        layers = [
            LayerMemory(*(t[b : b + 1].narrow(SLOT_DIM, 0, filled).clone() for t in layer))
            for layer in self.layers
        ]
        window = None if self.window is None else self.window.stream(b)
        return self._with(layers, (age,), self.layout).with_window(window)


def _from_state(state: Mapping[str, Any]) -> StreamMemory:
    """A memory from its `state_dict`; KeyError, TypeError or ValueError where it is none."""
    depth = sum(key.endswith(".keys") for key in state)
    layers = [
        LayerMemory(state[f"layers.{i}.keys"].clone(), state[f"layers.{i}.values"].clone())
        for i in range(depth)
    ]
    capacity, ages = int(state["capacity"]), tuple(int(age) for age in state["ages"])
    filled, bits = min(max(ages, default=0), capacity), state.get("bits")  # older states have none
    for tensor in (tensor for layer in layers for tensor in layer):
        if (tensor.dtype == torch.int8) != (bits == 8):
            raise ValueError(f"keys in {tensor.dtype} do not go with bits {bits}")
        if tensor.ndim != 7 or (tensor.shape[0], tensor.shape[SLOT_DIM]) != (len(ages), filled):
            raise ValueError(
                f"keys of shape {tuple(tensor.shape)} do not hold {filled} frames of {len(ages)} streams"
            )
    layout = tuple(int(number) for number in state["layout"])
    prefix = "window."
    kept = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    window = TokenWindow.from_state(kept, len(ages)) if kept else None
    storage = _Storage(layers, ages)
    return StreamMemory(capacity, str(state["eviction"]), bits, ages, layout, window, storage)


class Arrival(NamedTuple):
    """Some of the new frames of a block, in order.

    Attributes:
        frames: which of the T.
        recall: what they attend to.
        layer: the block's memory after them.
    """

    frames: slice
    recall: Recall
    layer: LayerMemory


class Advance:
    """One arrival of T frames, shared by all blocks of an encoder call.

    `arrivals` gives a block what its new frames attend to and the block's next memory; `result` makes the
    new `StreamMemory` from all of them. Without gradients frames are written into their slots one after the
    other, and each attends to the buffers as they then are. With gradients nothing is written in place, so
    recomputing a block (activation checkpointing) gives the same again.

    With 8 bits a block's `Recall` is unpacked where that of the block before was, unless `keep_recalls`: one
    of them is as large as the block's memory in full, and writing to fresh memory takes four times as long.
    """

    def __init__(
        self, memory: StreamMemory, ages: tuple[int, ...], frames: int, layout: Layout, keep_recalls: bool
    ) -> None:
        self.memory, self.ages, self.frames, self.layout = memory, ages, frames, layout
        self._keep_recalls = keep_recalls
        self._unpacked: dict[tuple[str, torch.Size], Tensor] = {}
        self.in_place = not torch.is_grad_enabled()
        # Recalls that are kept must not be written over by the frames after them.
        self._one_by_one = self.in_place and (frames == 1 or not keep_recalls)
        planned = () if self._one_by_one else set(ages)
        self._plans = {age: plan_slots(age, frames, memory.capacity, memory.eviction) for age in planned}
        if self.in_place:
            memory._storage.ages = None
        else:
            memory._storage.in_graph = True

    def arrivals(self, block: int, keys: Tensor, values: Tensor) -> Iterator[Arrival]:
        """What a block attends to when its new `keys` and `values` (B, M, H, Y, T, X, D) arrive.

        Either all frames at once or one after the other; a recall holds until the next one is asked for. In 8
        bits the new frames are rounded too before they are attended to.
        """
        layers = self.memory._storage.layers
        old, packed = layers[block] if layers else None, self.memory.bits is not None
        new = LayerMemory(pack(keys), pack(values)) if packed else LayerMemory(keys, values)
        for arrival in self._one_by_one_into(old, new) if self._one_by_one else [self._chunk(old, new)]:
            if packed:
                _, recall, layer = arrival
                seen = (
                    self._unpack("keys", recall.keys, keys),
                    self._unpack("values", recall.values, values),
                )
                yield Arrival(arrival.frames, Recall(*seen, recall.visible), layer)
            else:
                yield arrival

    def _unpack(self, kind: str, packed: Tensor, like: Tensor) -> Tensor:
        out = None if self._keep_recalls else self._unpacked.get((kind, packed.shape))
        self._unpacked[kind, packed.shape] = unpacked = unpack(packed, like.dtype, out)
        return unpacked

    def result(self, layers: list[LayerMemory]) -> StreamMemory:
        """The memory after the frames; `layers` are the second values of `recall`, in order."""
        ages = tuple(age + self.frames for age in self.ages)
        storage = self.memory._storage
        if not self.in_place:
            memory = self.memory._with(layers, ages, self.layout)
            memory._storage.in_graph = True  # what was attended to may lie in the layers themselves
            return memory
        storage.layers, storage.ages = layers, ages
        return replace(self.memory, ages=ages, layout=self.layout, _storage=storage)

    def _one_by_one_into(self, layer: LayerMemory | None, new: LayerMemory) -> Iterator[Arrival]:
        """Frames written into their slots: the buffers themselves are what each attends to."""
        capacity, eviction = self.memory.capacity, self.memory.eviction
        pairs = zip(layer or (None, None), new, strict=True)
        layer = LayerMemory(*(self._buffer(before, arrived) for before, arrived in pairs))
        for t in range(self.frames):
            ages = tuple(age + t for age in self.ages)
            for streams, age in _groups(ages):
                for buffer, arrived in zip(layer, new, strict=True):
                    frame = arrived[streams].narrow(SLOT_DIM, t, 1)
                    write_frame(buffer[streams], frame, age, capacity, eviction)
            filled = min(max(ages) + 1, capacity)
            recalled = LayerMemory(*(tensor.narrow(SLOT_DIM, 0, filled) for tensor in layer))
            recall = Recall(*recalled, _visible_ages(ages, filled, new.keys.device))
            yield Arrival(slice(t, t + 1), recall, layer)

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

    def _chunk(self, old: LayerMemory | None, new: LayerMemory) -> Arrival:
        """Any number of frames, nothing written: the next memory is gathered from what was attended to."""
        filled = min(max(self.ages), self.memory.capacity)
        past = None if old is None else LayerMemory(*(t.narrow(SLOT_DIM, 0, filled) for t in old))
        groups, every = _groups(self.ages), slice(0, self.frames)
        if past is None or len(groups) == 1:
            return Arrival(every, *recall_chunk(past, new, self._plans[self.ages[0]]))
        parts = []
        for streams, age in groups:
            filled = min(age, self.memory.capacity)
            own = LayerMemory(*(t[streams].narrow(SLOT_DIM, 0, filled) for t in past))
            parts.append(recall_chunk(own, LayerMemory(*(t[streams] for t in new)), self._plans[age]))
        return Arrival(every, *join_chunks(parts, self.frames))


def _groups(ages: tuple[int, ...]) -> list[tuple[slice, int]]:
    """Streams to write together: all at once if they are of one age, else one by one."""
    if len(set(ages)) == 1:
        return [(slice(None), ages[0])]
    return [(slice(b, b + 1), age) for b, age in enumerate(ages)]


def _visible_ages(ages: tuple[int, ...], slots: int, device: torch.device) -> Tensor | None:
    """(B, 1, slots) bool: streams younger than the oldest do not see slots they have not filled."""
    if len(set(ages)) == 1 or min(ages) + 1 >= slots:
        return None
    return (torch.arange(slots) <= torch.tensor(ages)[:, None]).unsqueeze(1).to(device)
