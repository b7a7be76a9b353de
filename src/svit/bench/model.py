"""The model's rows on a CPU: the paper's step in fp32, in bf16 and with a small memory, and chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from svit.bench import chunk
from svit.bench.references import has_references
from svit.bench.rows import Row, Say, Settings
from svit.bench.step import StepCase, floor_step, our_step, reference_step
from svit.bench.turns import Turns
from svit.weights.device import multiplies_bf16

NO_BF16 = "this CPU has no bf16 instructions"


def rows(settings: Settings, say: Say) -> Iterator[Row]:
    """`base_step_fp32`, `base_step_bf16`, `base_step_memory`, `chunk`."""
    yield from step_rows(settings, say)
    yield from chunk.rows(settings, say)


def step_rows(settings: Settings, say: Say) -> Iterator[Row]:
    """The paper's step; see `svit.bench.step`."""
    full = StepCase(threads=settings.threads)
    if settings.quick:
        full = replace(full, preset="tiny", width=128, height=96, memory=2)
    cases = {"fp32": full}
    if multiplies_bf16():
        cases["bf16"] = replace(full, precision="bf16")
    turns = Turns(say)
    for name, case in cases.items():
        turns.take(name, our_step, case, 3)
        if name == "fp32" and has_references():
            turns.take("reference", reference_step, case, 1)
        if name in turns.times:
            turns.take(f"{name} floor", floor_step, turns.times[name].products, case, 2)
    lowest = list(cases.values())[-1]
    turns.take("int8", our_step, replace(lowest, memory_bits=8), 1)
    yield _step_row(turns, "fp32", full)
    yield _step_row(turns, "bf16", replace(full, precision="bf16"))
    yield _memory_row(turns, full)


def _memory_row(turns: Turns, case: StepCase) -> Row:
    """Peak memory by precision, `int8` with a memory in 8 bits; the row's own peak is the lowest."""
    name, what = (
        "base_step_memory",
        f"peak memory of that step: {case.width}x{case.height}, {case.memory} frames",
    )
    measured = {kind: turns.times[kind] for kind in ("fp32", "bf16", "int8") if kind in turns.times}
    if not measured:
        return Row(name, what, note="; ".join(f"{kind}: {why}" for kind, why in turns.failed.items()))
    details: dict[str, float] = {}
    for kind, times in measured.items():
        details |= {f"{kind}_peak_bytes": times.peak_bytes, f"{kind}_memory_bytes": times.memory_bytes}
    return Row(name, what, peak_bytes=min(each.peak_bytes for each in measured.values()), details=details)


def _step_row(turns: Turns, name: str, case: StepCase) -> Row:
    what = f"one frame: {case}"
    if name == "bf16" and not multiplies_bf16():
        return Row("base_step_bf16", what, note=NO_BF16)
    row = turns.row(f"base_step_{name}", what, name, "reference", f"{name} floor")
    times = turns.times.get(name)
    if times is None:
        return row
    gflop = sum(product.flop * count for product, count in times.products.items()) / 1e9
    return replace(row, details={**row.details, "gflop": gflop, "memory_bytes": float(times.memory_bytes)})
