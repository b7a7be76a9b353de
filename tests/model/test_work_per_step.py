"""What a step and a clip have to do, counted, not timed: no machine is too slow or too busy for these."""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from tests.model.small import random_frames, small_encoder, small_model
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from svit.model.attention import PIECE_BYTES, attend
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel

CAPACITIES = (4, 16)

FRAMES_WRITTEN = {"fifo": 1, "merge": 3}
"""Frames of keys and values that a step may write: its own, and the oldest's new mean (sum, then half)."""

CALLS_PER_BLOCK = 160
"""Of a step, views and a residual convolution included; 135 when this was written."""


class Work(TorchDispatchMode):
    """Counts what runs inside `with`.

    Attributes:
        calls: operations, views included.
        written: bytes by storage: of new tensors, and of those that an operation changes.
        moved: bytes written.
        largest: bytes of the largest of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.moved = self.largest = 0
        self.written: Counter[int] = Counter()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Runs an operation and counts it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.calls += 1
        if not func.is_view:
            given = dict(zip((each.name for each in func._schema.arguments), args, strict=False)) | kwargs
            for storage, size in writes(func, given, out):
                self.written[storage] += size
                self.moved += size
                self.largest = max(self.largest, size)
        return out


def writes(func: OpOverload, given: dict[str, Any], out: object) -> Iterator[tuple[int, int]]:
    """Storage and bytes of what an operation wrote: its new tensors, and the arguments that it changed."""
    changed = [given[each.name] for each in func._schema.arguments if each.is_write and each.name in given]
    # index_copy_ and index_put_ write what they are given, not all of where they put it.
    part = given.get("source", given.get("values")) if changed else None
    for t in {id(t): t for t in tensors((changed, out))}.values():
        yield t.untyped_storage().data_ptr(), (t if part is None else part).nbytes


def tensors(tree: object) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def storages(memory: StreamMemory) -> set[int]:
    """Where its keys and values lie."""
    return {t.untyped_storage().data_ptr() for layer in memory.layers for t in layer}


def full_memory(encoder: Encoder, capacity: int, eviction: str = "merge") -> StreamMemory:
    """After two frames more than it holds, one by one."""
    memory = StreamMemory(capacity, eviction)
    for frame in random_frames(encoder, frames=capacity + 2).split(1, dim=1):
        _, memory = encoder(frame, memory)
    return memory


@torch.no_grad()
@pytest.mark.parametrize("eviction", list(FRAMES_WRITTEN))
def test_a_step_writes_its_own_frame_into_the_memory_however_many_that_holds(eviction: str) -> None:
    encoder = small_encoder()
    written = []
    for capacity in CAPACITIES:
        memory = full_memory(encoder, capacity, eviction)
        before, frame_bytes = storages(memory), memory.nbytes // capacity
        with Work() as work:
            _, after = encoder(random_frames(encoder), memory)
        written.append(sum(work.written[place] for place in before | storages(after)))
        assert frame_bytes <= written[-1] <= FRAMES_WRITTEN[eviction] * frame_bytes
    assert written[0] == written[1]


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny", "base"])
@pytest.mark.parametrize("eviction", list(FRAMES_WRITTEN))
def test_a_step_is_as_many_operations_however_much_is_remembered(name: str, eviction: str) -> None:
    model = small_model(name)
    frame, calls = random_frames(model.encoder, grid=(4, 6)), set()
    for capacity in CAPACITIES:
        memory = StreamMemory(capacity, eviction)
        for _ in range(capacity + 2):
            _, memory = model.head_maps(frame, memory)
        with Work() as work:
            model.head_maps(frame, memory)
        calls.add(work.calls)
    assert len(calls) == 1


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny", "base"])
def test_a_block_adds_a_bounded_number_of_operations_to_a_step(name: str) -> None:
    calls = []
    for depth in (1, 3):
        encoder = small_encoder(
            name, depth=depth, residual_blocks=range(depth), outputs=(depth - 1,), window=3
        )
        memory = full_memory(encoder, CAPACITIES[0])
        with Work() as work:
            encoder(random_frames(encoder), memory)
        calls.append(work.calls)
    assert 0 < (calls[1] - calls[0]) / 2 <= CALLS_PER_BLOCK


@torch.no_grad()
def test_attention_in_half_precision_writes_nothing_larger_than_a_piece_or_its_result() -> None:
    query, key, value = torch.randn(3, 64, 4, 196, 64, dtype=torch.bfloat16)
    weights_bytes = 64 * 4 * 196 * 196 * 2
    with Work() as work:
        out = attend(query, key, value)
    assert max(work.largest, PIECE_BYTES, out.nbytes) < weights_bytes / 2
    assert work.largest <= max(1.5 * PIECE_BYTES, out.nbytes)


def live_tensors() -> tuple[int, int]:
    """How many tensors there are in this process, and the bytes of what they share."""
    gc.collect()
    # By type, not isinstance: that asks objects, and some of other packages then import something.
    found = [each for each in gc.get_objects() if issubclass(type(each), Tensor)]
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found}
    return len(found), sum(held.values())


@torch.no_grad()
def test_two_hundred_steps_leave_no_tensor_behind() -> None:
    model = small_model()
    frames, memory, live = random_frames(model.encoder, frames=8, grid=(4, 6)), StreamMemory(4), {}
    for step in range(200):
        maps, memory = model.head_maps(frames[:, step % 8, None], memory)
        if step in (19, 199):
            live[step] = live_tensors()
    assert maps
    assert live[19] == live[199]


def onednn_flop(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Of rows (N, inputs) times a weight (outputs, inputs), which torch does not count itself."""
    return 2 * math.prod(x) * weight[0]


ONEDNN = torch.backends.mkldnn.is_available()
ONEDNN_FLOP = {torch.ops.mkldnn._linear_pointwise: onednn_flop} if ONEDNN else {}


def work_of_clip(model: VideoModel, frames: int, memory: StreamMemory) -> tuple[Work, int]:
    """Frames at once, and the flop of their products."""
    clip = random_frames(model.encoder, frames=frames, grid=(4, 6))
    with Work() as work, FlopCounterMode(display=False, custom_mapping=ONEDNN_FLOP) as flop:
        model.head_maps(clip, memory)
    return work, flop.get_total_flops()


def work_of_training(model: VideoModel, frames: int) -> tuple[Work, int]:
    """A clip that the memory has room for, with gradients."""
    return work_of_clip(model.train(), frames, StreamMemory(frames))


@torch.no_grad()
def work_of_chunk(model: VideoModel, frames: int) -> tuple[Work, int]:
    """Further frames of a stream whose memory is full."""
    frame, memory = random_frames(model.encoder, grid=(4, 6)), StreamMemory(CAPACITIES[0])
    for _ in range(CAPACITIES[0]):
        _, memory = model.head_maps(frame, memory)
    return work_of_clip(model, frames, memory)


@pytest.mark.parametrize("work_of", [work_of_training, work_of_chunk])
@pytest.mark.parametrize("name", ["tiny", "base"])
def test_twice_the_frames_are_twice_the_work_beside_attention(
    name: str, work_of: Callable[[VideoModel, int], tuple[Work, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Attention itself may grow with the square of a clip's length: it is left out.
    monkeypatch.setattr("svit.model.attention.attend", lambda query, key, value, mask=None: query.clone())
    (short, short_flop), (long, long_flop) = (work_of(small_model(name), frames) for frames in (16, 32))
    assert long_flop == pytest.approx(2 * short_flop, rel=0.05)
    assert long.moved == pytest.approx(2 * short.moved, rel=0.05)
    assert short_flop > 0


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_a_clip_in_training_is_as_many_operations_however_long(name: str) -> None:
    model = small_model(name)
    assert len({work_of_training(model, frames)[0].calls for frames in (4, 8, 16)}) == 1
