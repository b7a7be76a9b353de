"""Makes a smaller model out of a finished one, by least squares: where its training with a teacher starts.

The smaller model takes some of the finished one's blocks. Each MLP keeps the hidden channels that say most,
and is fitted so that the next block sees what it saw before: left-out blocks and earlier errors are made
good. Then pyramid and detector are fitted, see shrink_detector.py. Five minutes on two cores, and it tracks
people before any training. Pictures, preset and the finished model (its teacher) are those of the experiment.

python runs/shrink.py faster.yaml start.safetensors --blocks 0 2 3
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shrink_detector import Cells, Stages, choose, fit_detector, solve, sure_of
from svit.model.encoder import Block
from svit.model.layers import MLP
from svit.model.video_model import VideoModel
from svit.train.batches import Feed, Share, load_batches, to_device
from svit.train.experiment import Experiment, load_experiment
from svit.train.objective import Batch
from svit.train.sources import load_clips
from svit.train.start import start_model, start_teacher
from svit.weights import save

BATCHES = 30
"""Of four clips of two frames."""


class Passed(NamedTuple):
    """What goes through a block, as maps (N, C, Y, X).

    Attributes:
        normed: the MLP's input.
        before: the tokens that its output is added to.
        after: those with it.
        out: after the residual convolution too, if there is one.
    """

    normed: Tensor
    before: Tensor
    after: Tensor
    out: Tensor


def main() -> None:
    """Reads the command line, fits, and saves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", help="with a teacher: the finished model")
    parser.add_argument("output", help="a checkpoint to start from")
    parser.add_argument("--blocks", type=int, nargs="+", required=True, help="of the finished model, from 0")
    options = parser.parse_args()
    experiment = load_experiment(options.experiment, ["data.workers=0", "data.clip.length=2"])
    model = start_model(experiment)[0].eval().requires_grad_(False)
    teacher = start_teacher(experiment, model.config)
    if teacher is None or len(options.blocks) != model.config.encoder.depth:
        parser.error(f"{options.experiment} needs a teacher, and {model.config.encoder.depth} of its blocks")
    finished = teacher.model
    if problem := unfit(options.blocks, model, finished):
        parser.error(f"--blocks {' '.join(map(str, options.blocks))}: {problem}")
    frames = pictures(experiment, model)
    theirs = [encoded(finished, clips) for clips in frames]
    cells = Cells([sure_of(finished, stages) for stages in theirs])
    take_blocks(model, finished, options.blocks)
    fit_encoder(model, finished, options.blocks, frames, cells)
    fit_detector(model, finished, [encoded(model, clips) for clips in frames], theirs, cells)
    save(model, options.output)


def unfit(blocks: Sequence[int], model: VideoModel, finished: VideoModel) -> str | None:
    """Why these blocks cannot be taken; None if they can."""
    count = len(finished.encoder.blocks)
    if any(a >= b for a, b in pairwise([-1, *blocks, count])):
        return f"they must rise, from 0 to {count - 1} at most"
    for own, (block, following) in enumerate(pairwise([*blocks, count])):
        if following > block + 1 and own in model.config.encoder.residual_blocks:
            return f"after {block} some are left out, but a residual convolution stands between"
    return None


def pictures(experiment: Experiment, model: VideoModel) -> list[Tensor]:
    """Batches of augmented clips (B, T, 3, H, W), normalised."""
    augment = experiment.data.augment
    batches = load_batches([Feed(load_clips(experiment), Share(4, 1))], 0, 0)
    frames = []
    for _ in range(BATCHES):
        batch, size = next(batches).batch, (augment.height, augment.width)
        assert isinstance(batch, Batch)
        frames.append(to_device(batch, torch.device("cpu"), size, model.config.input).frames)
    return frames


@torch.no_grad()
def encoded(model: VideoModel, frames: Tensor) -> Stages:
    """The encoder's maps, each frame a stream of its own: (N, 1, C, Y, X)."""
    return [stage.flatten(0, 1).unsqueeze(1) for stage in model.encoder(frames)[0]]


def take_blocks(model: VideoModel, finished: VideoModel, blocks: Sequence[int]) -> None:
    """Copies stem, positions, norms and the blocks; of a narrower MLP nothing."""
    ours, theirs = model.encoder, finished.encoder
    names = {f"blocks.{own}.": f"blocks.{block}." for own, block in enumerate(blocks)}
    outputs = zip(ours.config.outputs, theirs.config.outputs, strict=True)
    names |= {f"norms.{own}.": f"norms.{output}." for own, output in outputs}
    source = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        prefix = next((prefix for prefix in names if name.startswith(prefix)), "")
        found = source[names.get(prefix, "") + name.removeprefix(prefix)]
        if ".mlp." not in name:
            tensor.copy_(found)


def fit_encoder(
    model: VideoModel, finished: VideoModel, blocks: Sequence[int], frames: list[Tensor], cells: Cells
) -> None:
    """Fits the MLPs, one block after the other."""
    for own, block in enumerate(blocks):
        last = (blocks[own + 1] if own + 1 < len(blocks) else len(finished.encoder.blocks)) - 1
        given, before, wanted = [], [], []
        for batch, clips in enumerate(frames):
            seen, there = passed(model, own, clips), passed(finished, last, clips)
            given.append(cells.of(batch, seen.normed))
            before.append(cells.of(batch, seen.before))
            # A residual convolution of its own follows; where blocks are left out, all they did is made good.
            wanted.append(cells.of(batch, there.after if last == block else there.out))
        mlp = cast(Block, finished.encoder.blocks[block]).mlp
        target = torch.cat(wanted) - torch.cat(before)
        explained = fit_mlp(cast(Block, model.encoder.blocks[own]).mlp, mlp, torch.cat(given), target)
        print(f"block {own}, of {block}: {explained:.3f} of what its MLP adds", flush=True)


def fit_mlp(own: MLP, theirs: MLP, given: Tensor, wanted: Tensor) -> float:
    """Sets an MLP so that (rows, C) become (rows, C); returns the share of the variance that it explains."""
    widen, narrow = (cast(nn.Linear, own[place]) for place in (0, 2))
    wide = cast(nn.Linear, theirs[0])
    hidden = F.silu(MLP.SCALE * F.linear(given, wide.weight, wide.bias)).double()
    channels = choose(hidden, wanted.double(), widen.out_features)
    kernel, bias, explained = solve(hidden[:, channels], wanted.double())
    widen.weight.copy_(wide.weight[channels])
    widen.bias.copy_(wide.bias[channels])
    narrow.weight.copy_(kernel.T * MLP.SCALE)
    narrow.bias.copy_(bias)
    return explained


@torch.no_grad()
def passed(model: VideoModel, index: int, frames: Tensor) -> Passed:
    """What goes through one block."""
    block, seen = cast(Block, model.encoder.blocks[index]), dict[str, Tensor]()
    hooks = [
        block.mlp.register_forward_hook(lambda _, given, out: seen.update(normed=given[0], added=out)),
        block.residual.register_forward_hook(lambda _, given, out: seen.update(after=given[0], out=out)),
    ]
    model.encoder(frames)
    for hook in hooks:
        hook.remove()
    seen["before"] = seen["after"] - seen.pop("added")
    return Passed(**{name: tokens.flatten(0, 1).permute(0, 3, 1, 2) for name, tokens in seen.items()})


if __name__ == "__main__":
    main()
