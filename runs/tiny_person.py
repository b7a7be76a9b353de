"""Trains the embedded default, `tiny-person`, on a CPU in about two hours.

    python runs/tiny_person.py --data ../shared/data --output checkpoints/tiny-person --minutes 100

The schedule runs on the clock: warm-up, cosine, and a last part without mosaic but with the L1 loss. Started
again with the same command it goes on from the last checkpoint. At the end, or with --export at any time, the
averaged weights become OUTPUT/tiny-person.safetensors.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader

from person_clips import Clips, training_sources
from svit.config import preset
from svit.model.detector_loss import detection_loss
from svit.model.video_model import VideoModel, build
from svit.weights import save

PEAK_RATE, LAST_RATE, WARM_UP = 1e-3, 2e-5, 0.03
L1_FROM = 0.85
"""Share of the run after which the L1 loss is on, as YOLOX does in its last epochs."""


def parse() -> argparse.Namespace:
    """Command line of the run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with tracking/ and detection/")
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoint and the log")
    parser.add_argument("--minutes", type=float, default=100, help="wall-clock time of the whole schedule")
    parser.add_argument(
        "--export", action="store_true", help="only write the averaged weights of the last checkpoint"
    )
    parser.add_argument("--frames", type=int, default=16, help="frames per batch")
    return parser.parse_args()


def main() -> None:
    """Trains, unless only the weights are asked for, and writes them."""
    options = parse()
    if not options.export:
        options.output.mkdir(parents=True, exist_ok=True)
        train(options)
    state = torch.load(options.output / "last.pt", weights_only=True)
    model = build("tiny", name="tiny-person")
    model.load_state_dict(state["average"])
    save(model, options.output / "tiny-person.safetensors", half=True)


def train(options: argparse.Namespace) -> None:
    """Trains until the time is used up, a checkpoint every two minutes."""
    torch.manual_seed(0)
    model = VideoModel(preset("tiny", encoder__memory_gradient=True)).train()
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimiser = torch.optim.AdamW(_groups(model), lr=PEAK_RATE, betas=(0.9, 0.99))
    path = options.output / "last.pt"
    step, spent = _resume(path, model, average, optimiser)
    clips = Clips(training_sources(options.data), options.frames, seed=step)
    start, saved, log = time.monotonic() - spent, time.monotonic(), {}
    for frames, boxes in DataLoader(clips, batch_size=None, num_workers=1, prefetch_factor=6):
        progress = (time.monotonic() - start) / (60 * options.minutes)
        if progress >= 1:
            break
        losses = _train_step(model, optimiser, frames, boxes, progress)
        _update_average(average, model, step)
        step += 1
        log = {k: 0.98 * log.get(k, v.item()) + 0.02 * v.item() for k, v in losses.items()}
        if step % 50 == 0:
            _report(options.output / "log.txt", step, progress, time.monotonic() - start, log)
        if time.monotonic() - saved > 120:
            _save(path, model, average, optimiser, step, time.monotonic() - start)
            saved = time.monotonic()
    _save(path, model, average, optimiser, step, time.monotonic() - start)


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Weight decay on matrices and kernels only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]


def _train_step(model: VideoModel, optimiser: torch.optim.Optimizer, frames: Tensor, boxes, progress: float):  # type: ignore[no-untyped-def]
    rate = _rate(progress)
    for group in optimiser.param_groups:
        group["lr"] = rate
    targets = [[(p, torch.zeros(len(p), dtype=torch.int64)) for p, _ in clip] for clip in boxes]
    ignore = [[i for _, i in clip] for clip in boxes]
    # On a CPU the fused attention's backward pass is ten times slower than plain matrix products.
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel([SDPBackend.MATH]):
        maps, _ = model.head_maps(_jitter(frames, model))
    losses = detection_loss(maps, targets, progress > L1_FROM, ignore)
    optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimiser.step()
    return {name: loss for name, loss in losses.items() if name in ("cls", "box", "obj", "l1")}


def _rate(progress: float) -> float:
    if progress < WARM_UP:
        return PEAK_RATE * max(0.01, progress / WARM_UP)
    cosine = (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2
    return LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine


def _jitter(frames: Tensor, model: VideoModel) -> Tensor:
    """Normalised floats with brightness, contrast, saturation and tint changed, the same over a clip."""
    clips = frames.shape[0]
    pixels = frames.float()
    grey = pixels.mean(2, keepdim=True)
    saturation = torch.empty(clips, 1, 1, 1, 1).uniform_(0.4, 1.5)
    saturation[torch.rand(clips) < 0.1] = 0
    tint = torch.empty(clips, 1, 3, 1, 1).uniform_(0.88, 1.12)
    contrast = torch.empty(clips, 1, 1, 1, 1).uniform_(0.6, 1.3)
    shift = torch.empty(clips, 1, 1, 1, 1).uniform_(-30, 30)
    pixels = torch.lerp(grey.expand_as(pixels), pixels, saturation) * tint
    pixels = ((pixels - 114) * contrast + 114 + shift).clamp_(0, 255)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.config.input.mean, model.config.input.std))
    return (pixels - mean) / std


@torch.no_grad()
def _update_average(average: dict[str, Tensor], model: nn.Module, step: int) -> None:
    decay = min(0.998, (1 + step) / (10 + step))
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name].copy_(tensor)


def _report(path: Path, step: int, progress: float, seconds: float, log: dict[str, float]) -> None:
    parts = "  ".join(f"{k} {v:.3f}" for k, v in log.items())
    line = f"step {step}  {progress:6.1%}  {seconds / 60:5.1f} min  rate {_rate(progress):.2e}  {parts}"
    print(line, flush=True)
    with path.open("a") as file:
        file.write(line + "\n")


def _save(
    path: Path, model: nn.Module, average: dict[str, Tensor], optimiser, step: int, spent: float
) -> None:  # type: ignore[no-untyped-def]
    state = {
        "model": model.state_dict(),
        "average": average,
        "optimiser": optimiser.state_dict(),
        "step": step,
        "spent": spent,
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(path: Path, model: nn.Module, average: dict[str, Tensor], optimiser) -> tuple[int, float]:  # type: ignore[no-untyped-def]
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    average.update(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    print(f"resuming at step {state['step']}, after {state['spent'] / 60:.1f} minutes", flush=True)
    return state["step"], state["spent"]


if __name__ == "__main__":
    main()
