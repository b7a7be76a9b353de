"""Fits a narrower pyramid and detector to those of a finished model, layer by layer, by least squares.

Each convolution of the narrower one takes as many of the finished one's channels as it has, those that
explain the others best; its weights are the fit to them from what the layers before it, already fitted, give.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svit.model.video_model import VideoModel

CELLS = 80
"""That are looked at in each frame and map, most of them where the finished model is sure of something."""

RIDGE = 1e-4
"""On the normal equations, of the mean of their diagonal."""

Stages = list[Tensor]


class Reached(Exception):  # noqa: N818 - no error
    """Ends a pass at the layer whose input was wanted."""


class Cells:
    """Which cells of a map are looked at: the same in every map of a batch that has the same size.

    Args:
        sure: per batch and level (N, 1, Y, X), how sure the finished model is of something there.
    """

    def __init__(self, sure: list[list[Tensor]]) -> None:
        self._sure, self._chosen = sure, dict[tuple[int, int, int], Tensor]()
        self._random = torch.Generator().manual_seed(0)

    def of(self, batch: int, maps_NCYX: Tensor) -> Tensor:
        """(N, C, Y, X) -> (N * CELLS, C)."""
        rows, columns = maps_NCYX.shape[-2:]
        key = (batch, rows, columns)
        if key not in self._chosen:
            chance = torch.stack([F.adaptive_max_pool2d(s, (rows, columns)) for s in self._sure[batch]])
            chance = chance.amax(0).flatten(1) + 0.03
            places = torch.multinomial(chance, min(CELLS, rows * columns), generator=self._random)
            self._chosen[key] = (places + torch.arange(len(places))[:, None] * rows * columns).flatten()
        return maps_NCYX.permute(0, 2, 3, 1).reshape(-1, maps_NCYX.shape[1])[self._chosen[key]]


def choose(columns: Tensor, explained: Tensor, count: int) -> Tensor:
    """The `count` columns of (rows, channels) that explain (rows, C) best, greedily; ascending."""
    if count == columns.shape[1]:
        return torch.arange(count)
    centred, goal = columns - columns.mean(0), explained - explained.mean(0)
    among, with_goal = centred.T @ centred / len(centred), centred.T @ goal / len(centred)
    least, chosen = 1e-9 * float(among.diagonal().mean()), list[int]()
    for _ in range(count):
        own = among.diagonal().clamp(min=least)
        gain = with_goal.square().sum(1) / own
        gain[chosen] = -1.0
        best = int(gain.argmax())
        chosen.append(best)
        share = among[:, best] / own[best]
        with_goal = with_goal - torch.outer(share, with_goal[best])
        among = among - torch.outer(share, among[best])
    return torch.tensor(sorted(chosen))


def solve(given: Tensor, wanted: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor, float]:
    """Least squares, (rows, m) from (rows, n): kernel (n, m), bias (m,), share of the variance explained."""
    if weight is None:
        weight = torch.ones(len(given), dtype=given.dtype)
    x = torch.cat([given, torch.ones(len(given), 1, dtype=given.dtype)], 1)
    weighted = x * weight[:, None]
    normal = weighted.T @ x
    ridge = torch.full((len(normal),), RIDGE * float(normal.diagonal().mean()), dtype=normal.dtype)
    ridge[-1] = 0
    solution = torch.linalg.solve(normal + ridge.diag(), weighted.T @ wanted)
    mean = (weight[:, None] * wanted).sum(0) / weight.sum()
    left, whole = ((weight[:, None] * t.square()).sum() for t in (wanted - x @ solution, wanted - mean))
    return solution[:-1], solution[-1], 1 - float(left / whole)


def fit_detector(
    model: VideoModel, finished: VideoModel, seen: list[Stages], theirs: list[Stages], cells: Cells
) -> None:
    """Changes the model's pyramid and detector, in the order in which they compute.

    Args:
        model: the narrower one.
        finished: the other.
        seen: per batch, the model's encoder maps.
        theirs: those of the finished one, of the same frames.
        cells: that are looked at.
    """
    targets, layers = dict[str, list[Tensor]](), convolutions(finished)
    for batch, stages in enumerate(theirs):
        for name, output in outputs_of(finished, stages).items():
            rows = cells.of(batch, unshuffled(layers[name], output))
            targets.setdefault(name, []).append(rows)
    for name in outputs_of(model, seen[0]):
        layer, weight = convolutions(model)[name], None
        maps = enumerate(inputs_of(model, name, seen))
        given = torch.cat([cells.of(batch, neighbourhoods(layer, x)) for batch, x in maps])
        *_, kind, level = name.split(".")
        if kind in ("conv_cls", "conv_reg"):  # what they say where nothing is does not matter
            weight = torch.cat(targets[f"detector.head.conv_obj.{level}"])[:, 0].double().sigmoid() + 0.01
        explained = fit_layer(
            model, finished, name, given.double(), torch.cat(targets[name]).double(), weight
        )
        print(f"{name}: {explained:.3f} of the variance", flush=True)


def fit_layer(
    model: VideoModel, finished: VideoModel, name: str, given: Tensor, outputs: Tensor, weight: Tensor | None
) -> float:
    """Sets a convolution and its norm; returns the share of the variance that it explains."""
    layer = convolutions(model)[name]
    parts = 4 if isinstance(layer, nn.ConvTranspose2d) else 1  # outputs per channel and input cell
    by_channel = outputs.view(len(outputs), -1, parts)
    mean = by_channel.mean(2)
    channels = choose(mean, mean, layer.out_channels)
    kernel, bias, explained = solve(given, by_channel[:, channels].flatten(1), weight)
    bias = bias.view(-1, parts).mean(1)
    layer.weight.copy_((kernel if parts > 1 else kernel.T).reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(bias)
    take_norm(model, finished, name, channels, bias)
    return explained


def take_norm(model: VideoModel, finished: VideoModel, name: str, channels: Tensor, bias: Tensor) -> None:
    """The chosen channels' part of the norm behind a convolution; a batch norm's mean takes in the bias."""
    base, _, last = name.rpartition(".")
    norm = f"{base}.{'bn' if last == 'conv' else last.replace('conv', 'norm')}"
    own, theirs = dict(model.named_modules()).get(norm), dict(finished.named_modules()).get(norm)
    if isinstance(own, nn.BatchNorm2d | nn.LayerNorm) and isinstance(theirs, nn.BatchNorm2d | nn.LayerNorm):
        own.weight.copy_(theirs.weight[channels])
        own.bias.copy_(theirs.bias[channels])
    if isinstance(own, nn.BatchNorm2d) and isinstance(theirs, nn.BatchNorm2d):
        own.running_mean = theirs.running_mean[channels].sub(bias).float()  # type: ignore[index]
        own.running_var = theirs.running_var[channels]  # type: ignore[index]


def convolutions(model: VideoModel) -> dict[str, nn.Conv2d | nn.ConvTranspose2d]:
    """Of pyramid and detector."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and name.startswith(("pyramid", "detector"))
    }


def outputs_of(model: VideoModel, stages: Stages) -> dict[str, Tensor]:
    """What each convolution gives, in the order in which they compute."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, given, output: outputs.update({name: output})

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in convolutions(model).items()]
    look(model, stages)
    for hook in hooks:
        hook.remove()
    return outputs


def inputs_of(model: VideoModel, name: str, seen: list[Stages]) -> list[Tensor]:
    """What a convolution is given, per batch."""
    given: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        given.append(arguments[0])
        raise Reached

    hook = convolutions(model)[name].register_forward_pre_hook(keep)
    for stages in seen:
        with suppress(Reached):
            look(model, stages)
    hook.remove()
    return given


def sure_of(model: VideoModel, stages: Stages) -> list[Tensor]:
    """Per level (N, 1, Y, X), how sure the model is that a cell answers for something."""
    outputs = outputs_of(model, stages)
    return [outputs[name].sigmoid() for name in outputs if ".conv_obj." in name]


def look(model: VideoModel, stages: Stages) -> None:
    """Runs pyramid and detector as in training: without gradients norms would be folded into the weights."""
    assert model.pyramid is not None
    assert model.detector is not None
    model.detector(model.pyramid(stages))


def unshuffled(layer: nn.Module, output: Tensor) -> Tensor:
    """A transposed convolution's output with its four pixels per input cell as channels."""
    return F.pixel_unshuffle(output, 2) if isinstance(layer, nn.ConvTranspose2d) else output


def neighbourhoods(layer: nn.Conv2d | nn.ConvTranspose2d, maps_NCYX: Tensor) -> Tensor:
    """All that an output cell of a convolution depends on, as channels: (N, C * k * k, Y', X')."""
    side, stride = layer.kernel_size[0], layer.stride[0]
    if isinstance(layer, nn.ConvTranspose2d) or side == 1:
        return maps_NCYX
    rows, columns = (length // stride for length in maps_NCYX.shape[-2:])
    return F.unfold(maps_NCYX, side, padding=side // 2, stride=stride).unflatten(2, (rows, columns))
