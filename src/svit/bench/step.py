"""One frame of the paper's model at the paper's size, with a full memory.

What is timed is `VideoModel.detect`: encoder, pyramid, detector, decoding, suppression. Each variant runs in
a process of its own, because two memories of this size do not fit side by side; the processes take turns.
Weights and frames are random, and the memory is one frame seen as often as it has slots: time and bytes
do not depend on what is remembered. Every timed frame therefore evicts one, as each frame of a long video
does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from svit.allocator import give_back_freed_memory
from svit.bench.alone import GIB, require_memory
from svit.bench.floor import Product, Watch, synchronise, time_products
from svit.bench.references import reference
from svit.bench.turns import Times
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory
from svit.model.slots import SLOT_DIM
from svit.model.video_model import VideoModel, build
from svit.weights.device import Precision, pick_dtype

MODEL_BYTES = 2 * GIB
"""Weights, activations and libraries of `base`, roughly."""


@dataclass(frozen=True)
class StepCase:
    """What a step is measured of.

    Attributes:
        preset: the model, with random weights.
        width, height: of the network's input, pixels.
        memory: frames remembered.
        precision: of weights, activations and memory.
        memory_bits: 8 stores the memory in 8 bits; None in `precision`.
        threads: of torch.
        device: "cpu" or "cuda".
    """

    preset: str = "base"
    width: int = 1440
    height: int = 800
    memory: int = 32
    precision: Precision = "fp32"
    memory_bits: Literal[8] | None = None
    threads: int = 1
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.preset}, {self.width}x{self.height}, memory {self.memory}, {self.precision}"

    def model(self) -> VideoModel:
        """The model, on its device."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        return build(self.preset).to(self.device, pick_dtype(self.precision))

    def frames(self, count: int) -> Tensor:
        """Random frames (count, 3, H, W), other ones each time."""
        shape = (count, 3, self.height, self.width)
        return torch.randn(shape, device=self.device, dtype=pick_dtype(self.precision))


def our_step(case: StepCase, repeats: int) -> Times:
    """Times svit's step; a first one to warm up is watched for its products."""
    model = case.model()
    memory = full_memory(model.encoder, case.frames(1)[0], case.memory, case.memory_bits)
    give_back_freed_memory()
    times = Times(memory_bytes=memory.nbytes)
    with Watch() as watch:
        _, memory = model.detect(case.frames(1)[None], memory)
    times.products = watch.products
    with timed_stages(model) as spent:
        for _ in range(repeats):
            frame = case.frames(1)
            synchronise(case.device)
            start = time.perf_counter()
            _, memory = model.detect(frame[None], memory)
            synchronise(case.device)
            times.seconds.append(time.perf_counter() - start)
    rest = [total - sum(parts) for total, *parts in zip(times.seconds, *spent.values(), strict=True)]
    times.parts = {**spent, "boxes": rest} if spent else {}
    return times


@contextmanager
def timed_stages(model: VideoModel) -> Iterator[dict[str, list[float]]]:
    """Seconds of each call of encoder, pyramid and detector while it is open."""
    spent: dict[str, list[float]] = {}
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        began = [0.0]

        def before(*_: object) -> None:
            began[0] = time.perf_counter()

        def after(*_: object) -> None:
            spent.setdefault(name, []).append(time.perf_counter() - began[0])

        handles.extend([module.register_forward_pre_hook(before), module.register_forward_hook(after)])

    for name, module in (
        ("encoder", model.encoder),
        ("pyramid", model.pyramid),
        ("detector", model.detector),
    ):
        if module is not None:
            watch(name, module)
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def reference_step(case: StepCase, repeats: int) -> Times:
    """Times the plain reference, likewise: its own encoder and memory, the rest of the model is svit's."""
    model = case.model()
    plain = reference("reference").ReferenceModel(model, case.memory)
    plain.detect(case.frames(1)[0])
    # Stacking a block's history for one frame takes another fifth or so.
    require_memory(int(1.25 * case.memory * plain.nbytes) + MODEL_BYTES)
    plain.fill()
    times = Times(memory_bytes=plain.nbytes)
    # What is new in a step with a full memory is not timed, as little as in ours.
    plain.detect(case.frames(1)[0])
    for _ in range(repeats):
        frame = case.frames(1)[0]
        start = time.perf_counter()
        plain.detect(frame)
        times.seconds.append(time.perf_counter() - start)
    return times


def floor_step(products: Counter[Product], case: StepCase, repeats: int) -> Times:
    """Times the products of a step alone."""
    torch.set_num_threads(case.threads)
    return Times(time_products(products, repeats, case.device))


@torch.no_grad()
def full_memory(
    encoder: Encoder, frame: Tensor, capacity: int, bits: Literal[8] | None = None
) -> StreamMemory:
    """A memory full of one frame (3, H, W), made without running it `capacity` times.

    Raises:
        CannotMeasureError: there is no room for it.
    """
    _, seen = encoder(frame[None, None], StreamMemory(1, bits=bits))
    require_memory(int(1.1 * capacity * seen.nbytes) + MODEL_BYTES)
    # Not `state_dict`, which copies, and nothing is kept: the peak is to be that of a step, not of this.
    give_back_freed_memory()
    layers = {
        f"layers.{block}.{kind}": tensor.expand(_slots(tensor, capacity))
        for block, layer in enumerate(seen.layers)
        for kind, tensor in layer._asdict().items()
    }
    settings = {"eviction": seen.eviction, "bits": seen.bits, "layout": seen.layout}
    memory = StreamMemory(capacity)
    memory.load_state_dict({**layers, **settings, "capacity": capacity, "ages": [capacity]})
    return memory


def _slots(tensor: Tensor, capacity: int) -> tuple[int, ...]:
    """The shape of keys or values (B, M, H, Y, 1, X, D) of one frame, with room for `capacity`."""
    return (*tensor.shape[:SLOT_DIM], capacity, *tensor.shape[SLOT_DIM + 1 :])
