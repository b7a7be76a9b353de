"""Seconds per frame and peak memory of one step with a full memory, beside the textbook reference.

    python -m benchmarks.step                                   # base, 1440x800, 32 frames: about 16 GiB
    python -m benchmarks.step --preset tiny --size 576x320 --memory 8

Each candidate runs in a process of its own, so that its peak resident memory is its own:

    ours        the encoder's step
    reference   the same encoder in `benchmarks.reference`
    detect      our whole model: encoder, pyramid, detector, decoding, NMS

Weights and frames are random. The memory is filled with random keys and values instead of by running
frames through the model: time and bytes do not depend on what is remembered. Every timed frame therefore
evicts one, as each frame of a long video does.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from benchmarks.reference import ReferenceEncoder
from torch import Tensor

from svit.config import preset
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel, build

CANDIDATES = ("ours", "reference", "detect")
GIB = 1024**3

Step = Callable[[Tensor], object]


def main() -> None:
    """Measures every candidate in a fresh process and prints a table."""
    args = parse_arguments()
    if args.only:
        print(json.dumps(measure(args)))
        return
    rows = [(name, run_alone(name)) for name in args.candidates]
    width, height = args.size
    print(f"{args.preset}, {width}x{height}, memory {args.memory}, fp32, ", end="")
    print(f"{args.threads} threads, torch {torch.__version__}")
    print(f"{'':10} {'s/frame':>9} {'fastest':>9} {'peak GiB':>9} {'memory GiB':>11}")
    for name, row in rows:
        median, fastest, peak, memory = (row[key] for key in ("median", "fastest", "peak", "memory"))
        print(f"{name:10} {median:9.3f} {fastest:9.3f} {peak:9.2f} {memory:11.2f}")
    results = dict(rows)
    if {"ours", "reference"} <= results.keys():
        ours, reference = results["ours"], results["reference"]
        speed, peak = reference["median"] / ours["median"], reference["peak"] / ours["peak"]
        print(f"reference / ours: time {speed:.2f}, peak memory {peak:.2f}")


def parse_arguments() -> argparse.Namespace:
    """The command line; `--only` is what the parent process passes to its children."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--preset", default="base", help="model preset")
    parser.add_argument("--size", type=parse_size, default="1440x800", help="WIDTHxHEIGHT, pixels")
    parser.add_argument("--memory", type=int, default=32, help="frames remembered")
    parser.add_argument("--frames", type=int, default=5, help="frames to time, after one to warm up")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=CANDIDATES)
    parser.add_argument("--only", choices=CANDIDATES, help="measure one in this process and print JSON")
    return parser.parse_args()


def parse_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT -> (width, height)."""
    width, height = text.lower().split("x")
    return int(width), int(height)


def run_alone(candidate: str) -> dict[str, float]:
    """Measures one candidate in a fresh process with this one's arguments."""
    command = [sys.executable, "-m", "benchmarks.step", *sys.argv[1:], "--only", candidate]
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout)


@torch.no_grad()
def measure(args: argparse.Namespace) -> dict[str, float]:
    """Seconds per frame, peak resident memory and the bytes of the memory, both in GiB."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    width, height = args.size
    frames = torch.randn(args.frames + 1, 3, height, width)
    if args.only == "reference":
        step, memory_bytes = reference_step(args, frames[0])
    else:
        step, memory_bytes = our_step(args, frames[0])
    seconds = [timed(step, frame) for frame in frames][1:]
    return {
        "median": statistics.median(seconds),
        "fastest": min(seconds),
        "peak": peak_bytes() / GIB,
        "memory": memory_bytes / GIB,
    }


def timed(step: Step, frame: Tensor) -> float:
    """Seconds for one frame (3, H, W)."""
    start = time.perf_counter()
    step(frame)
    return time.perf_counter() - start


def our_step(args: argparse.Namespace, frame: Tensor) -> tuple[Step, int]:
    """Our encoder, or our whole model, with a full memory that each step replaces."""
    model = build_model(args)
    memory = full_memory(model.encoder, frame, args.memory)

    def step(frame: Tensor) -> None:
        nonlocal memory
        if args.only == "detect":
            _, memory = model.detect(frame[None, None], memory)
        else:
            _, memory = model.encoder(frame[None, None], memory)

    return step, memory.nbytes


def build_model(args: argparse.Namespace) -> VideoModel:
    """A random model; only the whole one has a pyramid and a detector."""
    if args.only == "detect":
        return build(args.preset)
    config = preset(args.preset)
    return build(config.model_copy(update={"pyramid": False, "detector": None}))


def full_memory(encoder: Encoder, frame: Tensor, capacity: int) -> StreamMemory:
    """A memory of `capacity` random frames, made without ever holding a second copy of it."""
    _, seen = encoder(frame[None, None], StreamMemory(1))
    state = seen.state_dict()
    for name, tensor in state.items():
        if isinstance(tensor, Tensor):  # one frame seen `capacity` times over: a view until it is loaded
            state[name] = tensor.expand(*tensor.shape[:4], capacity, *tensor.shape[5:])
    memory = StreamMemory(capacity)
    memory.load_state_dict({**state, "capacity": capacity, "ages": [capacity]})
    for layer in memory.layers:
        layer.keys.normal_()
        layer.values.normal_()
    return memory


def reference_step(args: argparse.Namespace, frame: Tensor) -> tuple[Step, int]:
    """The reference with full histories of random frames."""
    reference = ReferenceEncoder(build_model(args).encoder, capacity=args.memory)
    reference.step(frame)
    tensors: list[Tensor] = []
    for history in (*reference.keys, *reference.values):
        history[:] = [torch.randn(history[0].shape) for _ in range(args.memory)]
        tensors += history
    return reference.step, sum(t.numel() * t.element_size() for t in tensors)


def peak_bytes() -> int:
    """Peak resident memory of this process.

    Linux counts a parent's peak into its child's `ru_maxrss`, so its own counter is read where it exists.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
