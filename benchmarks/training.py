"""Training frames per second and peak memory: a clip at once, frame by frame, and the textbook reference.

    python -m benchmarks.training                        # small, 224 x 224, clips of 8 frames, fp32 on a CPU
    python -m benchmarks.training --device cuda --precision bf16

Each candidate runs in a process of its own, so that its peak memory is its own:

    clip        `svit.train`: all frames of the clip go through each layer together, one optimiser step
    step        `svit.train` with form=step: frame by frame, each backward at once, one optimiser step
    reference   the official order: for every frame the plain encoder of `benchmarks.reference` with its lists
                of detached keys and values, backward, optimiser step (torch's AdamW as it comes), average

Three numbers each, in frames per second: the whole training step (encoder, pyramid, detector, losses,
backward, optimiser, averaged weights); of it forward and backward alone; and forward and backward of the
encoder alone, under the sum of its squared outputs. Weights and frames are random, three people are in every
frame, no path is dropped, the memory is detached. Pyramid, detector and losses are ours for all three. Of the
repeats the fastest counts: whatever else the machine does only adds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from accelerate import Accelerator
from benchmarks.reference import ReferenceEncoder
from benchmarks.step import GIB, peak_bytes
from torch import Tensor

from svit.config import preset
from svit.model.detector_loss import detection_loss
from svit.model.video_model import VideoModel, build
from svit.train.batches import LoadedBatch
from svit.train.experiment import DataConfig, Experiment, ModelChoice
from svit.train.objective import Batch, ClipLoss, pieces
from svit.train.trainer import Trainer

CANDIDATES = ("clip", "step", "reference")
NUMBERS = {"training": "whole step", "gradient": "forward, backward", "encoder": "encoder alone"}
PEOPLE = ((0.1, 0.15, 0.35, 0.7), (0.45, 0.2, 0.7, 0.9), (0.02, 0.02, 0.2, 0.4))
"""Boxes as shares of the frame's sides."""

Work = Callable[[], None]


def main() -> None:
    """Measures every candidate in a fresh process and prints a table."""
    args = parse_arguments()
    if args.only:
        print(json.dumps(measure(args)))
        return
    rows = {name: run_alone(name) for name in args.candidates}
    device = f"{args.device}, {args.threads} threads" if args.device == "cpu" else args.device
    print(
        f"{args.preset}, {args.size}x{args.size}, clips of {args.frames}, {args.precision}, {device}, "
        f"torch {torch.__version__}; frames/s"
    )
    print(f"{'':10}" + "".join(f"{title:>19}" for title in NUMBERS.values()) + f"{'peak GiB':>10}")
    for name, row in rows.items():
        print(f"{name:10}" + "".join(f"{row[key]:19.2f}" for key in NUMBERS) + f"{row['peak']:10.2f}")
    for name in [name for name in rows if name != "reference" and "reference" in rows]:
        ratios = "".join(f"{rows[name][key] / rows['reference'][key]:18.2f}x" for key in NUMBERS)
        print(f"{name + '/ref':10}{ratios}{rows[name]['peak'] / rows['reference']['peak']:9.2f}x")


def parse_arguments() -> argparse.Namespace:
    """The command line; `--only` is what the parent process passes to its children."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--preset", default="small", help="model preset")
    parser.add_argument("--size", type=int, default=224, help="sides of the frames, pixels")
    parser.add_argument("--frames", type=int, default=8, help="of a clip")
    parser.add_argument("--repeats", type=int, default=3, help="clips to time, after one to warm up")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=CANDIDATES)
    parser.add_argument("--only", choices=CANDIDATES, help="measure one in this process and print JSON")
    return parser.parse_args()


def run_alone(candidate: str) -> dict[str, float]:
    """Measures one candidate in a fresh process with this one's arguments."""
    command = [sys.executable, "-m", "benchmarks.training", *sys.argv[1:], "--only", candidate]
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout)


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Frames per second of all three numbers, and the peak of the process or of the device in GiB."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    make = reference_work if args.only == "reference" else our_work
    work = make(args)
    seconds = {name: timed(work[name], args) for name in NUMBERS}
    peak = peak_bytes() if args.device == "cpu" else torch.cuda.max_memory_allocated()
    return {name: args.frames / value for name, value in seconds.items()} | {"peak": peak / GIB}


def timed(work: Work, args: argparse.Namespace) -> float:
    """Seconds per clip, at best."""
    seconds = []
    for _ in range(args.repeats + 1):
        start = time.perf_counter()
        work()
        if args.device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def build_model(args: argparse.Namespace) -> VideoModel:
    """A random model in training mode that drops no paths."""
    return build(preset(args.preset, encoder__drop_path=0.0)).train().to(args.device)


def clip(args: argparse.Namespace) -> Batch:
    """A random clip with people, its frames as bytes."""
    frames = torch.randint(0, 256, (1, args.frames, 3, args.size, args.size), dtype=torch.uint8)
    people = torch.tensor(PEOPLE) * args.size
    targets = [[(people, torch.zeros(len(people), dtype=torch.long))] * args.frames]
    return Batch(frames, targets, [[torch.zeros(0, 4)] * args.frames])


def normalised(batch: Batch, device: str) -> Batch:
    """The clip as the model takes it."""
    return Batch((batch.frames.float() - 120).div(60).to(device), batch.targets, batch.ignore)


def autocast(args: argparse.Namespace) -> AbstractContextManager[object]:
    """The precision of matrix products."""
    return torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")


def our_work(args: argparse.Namespace) -> dict[str, Work]:
    """What `svit.train` does with a clip."""
    trainer, batch = our_trainer(args), clip(args)
    inputs, form = normalised(batch, args.device), args.only
    encoder, loss = trainer.model.encoder, ClipLoss(trainer.model)

    def training() -> None:
        trainer.step(1, iter([LoadedBatch(batch, [])]))

    def gradient() -> None:
        memory = None
        for piece in pieces(inputs, form):
            with autocast(args):
                total, _, memory = loss(piece, form=form, memory=memory)
            total.backward()
        loss.zero_grad()

    def encoder_alone() -> None:
        memory = None
        for piece in pieces(inputs, form):
            with autocast(args):
                stages, memory = encoder(piece.frames, memory)
            squares(stages).backward()
        encoder.zero_grad()

    return {"training": training, "gradient": gradient, "encoder": encoder_alone}


def our_trainer(args: argparse.Namespace) -> Trainer:
    """A trainer of one clip per step, without data."""
    augment = {"height": args.size, "width": args.size}
    data = DataConfig.model_validate({"sources": [{"sequences": "none"}], "augment": augment})
    experiment = Experiment(
        model=ModelChoice(preset=args.preset),
        data=data,
        form=args.only,
        precision=args.precision,
        multi_scale=None,
        explode=float("inf"),
    )
    precision = "no" if args.precision == "fp32" else args.precision
    engine = Accelerator(cpu=args.device == "cpu", mixed_precision=precision)
    return Trainer(experiment, build_model(args), engine, steps_per_epoch=100)


def reference_work(args: argparse.Namespace) -> dict[str, Work]:
    """What the official code does with a clip, written plainly."""
    model, inputs = build_model(args), normalised(clip(args), args.device)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.05)
    average = [p.detach().clone() for p in model.parameters()]

    def gradient(update: Work = model.zero_grad) -> None:
        reference = ReferenceEncoder(model.encoder, trains=True)
        for t in range(args.frames):
            with autocast(args):
                stages = reference.step(inputs.frames[0, t])
                total = detector_loss(model, stages, inputs.frame(t))
            total.backward()
            update()

    def update() -> None:
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            for mean, parameter in zip(average, model.parameters(), strict=True):
                mean.mul_(1 - 1e-4).add_(parameter, alpha=1e-4)

    def encoder_alone() -> None:
        reference = ReferenceEncoder(model.encoder, trains=True)
        for t in range(args.frames):
            with autocast(args):
                stages = reference.step(inputs.frames[0, t])
            squares(stages).backward()
        model.encoder.zero_grad()

    return {"training": lambda: gradient(update), "gradient": gradient, "encoder": encoder_alone}


def detector_loss(model: VideoModel, stages: list[Tensor], frame: Batch) -> Tensor:
    """The loss of one frame from its stages (C, Y, X)."""
    assert model.pyramid is not None
    assert model.detector is not None
    maps = model.detector(model.pyramid([stage[None, None] for stage in stages]))
    return detection_loss(maps, frame.targets, False, frame.ignore, model.strides)["total"]


def squares(stages: list[Tensor]) -> Tensor:
    """A loss for the encoder alone."""
    return torch.stack([stage.float().square().sum() for stage in stages]).sum()


if __name__ == "__main__":
    main()
