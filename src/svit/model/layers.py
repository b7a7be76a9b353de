"""Small parts of the encoder: norms, activations, window partition, position resize.

Shapes: B streams, T frames, Y X grid rows and columns, M windows, C channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svit.model.linear import Linear, linear


class LayerNorm(nn.LayerNorm):
    """LayerNorm over the last dimension; statistics are accumulated in fp32 whatever the precision (CLIP)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (..., C); returns the input's dtype."""
        # The kernels widen inside; widening here would move every activation twice more through memory.
        weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps).to(input.dtype)


class ChannelNorm(LayerNorm):
    """LayerNorm over the channels of each position of a map (N, C, Y, X), eps 1e-6 (semantics section 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (N, C, Y, X) over C; a channels-last map stays channels-last without a copy."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MLP(nn.Sequential):
    """Linear to `ratio` times the width, QuickGELU `x * sigmoid(1.702 x)` (CLIP), linear back.

    QuickGELU is `silu(1.702 x) / 1.702`. Both factors go into the products themselves: the wide activations
    are what a block moves most of, and this way they pass through memory once instead of three times.
    """

    SCALE = 1.702

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__(Linear(width, ratio * width), nn.SiLU(), Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> the same shape."""
        widen, _, narrow = (cast(Linear, part) for part in self)
        hidden = linear(x, widen.weight, self.SCALE * widen.bias, self.SCALE)
        hidden = F.silu(hidden, inplace=not torch.is_grad_enabled())
        return linear(hidden, narrow.weight, narrow.bias, 1 / self.SCALE)


class DropPath(nn.Module):
    """Stochastic depth per stream: a whole clip keeps or drops the branch, so its frames stay consistent."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drops or rescales (B, ...) by stream in training; the identity in evaluation."""
        if not self.training or self.rate == 0.0:
            return x
        keep = torch.rand(x.shape[0], *([1] * (x.ndim - 1)), device=x.device) >= self.rate
        return x * keep.to(x.dtype) / (1 - self.rate)


class ResidualConv(nn.Module):
    """Convolutional bottleneck added to its input (semantics section 1): 1x1, 3x3, 1x1 with channel norms.

    The last norm starts at zero, so a fresh block is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(channels, half, 1, bias=False)
        self.norm1 = ChannelNorm(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.norm2 = ChannelNorm(half)
        self.conv3 = nn.Conv2d(half, channels, 1, bias=False)
        self.norm3 = ChannelNorm(channels)
        nn.init.zeros_(self.norm3.weight)

    def forward(self, x_BTYXC: Tensor) -> Tensor:
        """(B, T, Y, X, C) -> the same shape."""
        maps = x_BTYXC.flatten(0, 1).permute(0, 3, 1, 2)
        out = F.gelu(self.norm1(self.conv1(maps)))
        out = F.gelu(self.norm2(self.conv2(out)))
        out = self.norm3(self.conv3(out))
        return x_BTYXC + out.permute(0, 2, 3, 1).view_as(x_BTYXC)


class PatchStem(nn.Module):
    """One P x P convolution with stride P, no bias (ViT)."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, patch, stride=patch, bias=False)

    def forward(self, frames_BT3HW: Tensor) -> Tensor:
        """(B, T, 3, H, W) -> (B, T, C, H/P, W/P)."""
        return self.conv(frames_BT3HW.flatten(0, 1)).unflatten(0, frames_BT3HW.shape[:2])


class ConvStem(nn.Module):
    """Stride-2 3x3 convolutions down to the patch stride, then 1x1 (Xiao et al. 2021, arXiv 2106.14881)."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        steps = patch.bit_length() - 1
        if 1 << steps != patch:
            raise ValueError(f"a convolutional stem needs a power of two as patch, got {patch}")
        channels = [3, *(max(16, width >> (steps - 1 - i)) for i in range(steps))]
        self.convs = nn.Sequential(*(self._step(a, b) for a, b in pairwise(channels)))
        self.project = nn.Conv2d(channels[-1], width, 1)

    @staticmethod
    def _step(inputs: int, outputs: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.SiLU())

    def forward(self, frames_BT3HW: Tensor) -> Tensor:
        """(B, T, 3, H, W) -> (B, T, C, H/P, W/P)."""
        streams, frames = frames_BT3HW.shape[:2]
        maps = frames_BT3HW.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        for step in self.convs.children():
            conv, norm, _ = step.children()
            maps = conv_norm_silu(cast(nn.Conv2d, conv), norm, maps, frames)
        return self.project(maps).unflatten(0, (streams, frames))


def conv_norm_silu(conv: nn.Conv2d, norm: nn.Module, maps_NCYX: Tensor, frames: int) -> Tensor:
    """A convolution without bias, batch norm, SiLU.

    In evaluation the norm goes into the convolution's weights: they are fewer than what comes out of it, so
    this is done anew each time, and nothing has to be kept up to date.

    Args:
        conv: the convolution.
        norm: as in `norm_by_frame`.
        maps_NCYX: likewise.
        frames: likewise.

    Returns:
        (N, C', Y', X').
    """
    if type(norm) is not nn.BatchNorm2d or norm.training or torch.is_grad_enabled():
        return F.silu(norm_by_frame(norm, conv(maps_NCYX), frames))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight, bias = conv.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale
    return F.silu(F.conv2d(maps_NCYX, weight, bias, conv.stride, conv.padding), inplace=True)


def norm_by_frame(norm: nn.Module, maps_NCYX: Tensor, frames: int) -> Tensor:
    """Batch norm whose statistics, in training, are those of one frame of every stream, frame after frame.

    So a clip gives what its frames give one by one (the official order), and no frame sees a later one.

    Args:
        norm: `BatchNorm2d` or what took its place to spread it over processes.
        maps_NCYX: N = B * T maps, the frames of a stream side by side.
        frames: T.

    Returns:
        The same shape.
    """
    if frames == 1 or not norm.training:
        normed: Tensor = norm(maps_NCYX)
        return normed
    if type(norm) is nn.BatchNorm2d:
        return _folded_norm(norm, maps_NCYX, frames)
    by_frame = maps_NCYX.unflatten(0, (-1, frames)).unbind(1)
    return torch.stack([norm(maps) for maps in by_frame], dim=1).flatten(0, 1)


def _folded_norm(norm: nn.BatchNorm2d, maps_NCYX: Tensor, frames: int) -> Tensor:
    """`norm_by_frame` at once: the channels of each frame are channels of their own."""
    momentum = norm.momentum
    assert momentum is not None
    folded = maps_NCYX.unflatten(0, (-1, frames)).flatten(1, 2)
    weight, bias = norm.weight.repeat(frames), norm.bias.repeat(frames)
    seen = weight.new_zeros(2, len(weight))  # a momentum of 1 leaves means and variances of these frames here
    normed = F.batch_norm(folded, seen[0], seen[1], weight, bias, True, 1.0, norm.eps)
    # What updating frame after frame comes to: the later a frame, the more of it stays.
    age = torch.arange(frames - 1, -1, -1, device=seen.device)
    recent = (momentum * (1 - momentum) ** age[:, None] * seen.view(2, frames, -1)).sum(1)
    for running, mean in ((norm.running_mean, recent[0]), (norm.running_var, recent[1])):
        assert running is not None
        running.mul_((1 - momentum) ** frames).add_(mean)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(frames)
    return normed.unflatten(1, (frames, -1)).flatten(0, 1)


def resize_positions(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Resizes a square grid of position embeddings (N, C), N = side^2, bicubically to (rows, columns, C)."""
    side = round(positions.shape[0] ** 0.5)
    grid = positions.view(side, side, -1)
    if (rows, columns) == (side, side):
        return grid
    across, down = (_resizing(side, length, positions.device) for length in (columns, rows))
    # Resizing is linear and goes by rows and columns: two products, where the bicubic kernel takes as long as
    # a block of a small model.
    resized = torch.einsum("xj,ijc->ixc", across, grid.float())
    return torch.einsum("yi,ixc->yxc", down, resized).to(positions.dtype)


def _resizing(side: int, length: int, device: torch.device) -> Tensor:
    """(length, side): what each place takes of `side` places that are resized to `length`."""
    eye = torch.eye(side, device=device)[None, :, None]  # channels, then one row of `side` places each
    resized = F.interpolate(eye, size=(1, length), mode="bicubic", align_corners=False)
    return resized[0, :, 0].t()


def to_windows(x_BTYXC: Tensor, window: int) -> Tensor:
    """Cuts (B, T, Y, X, C) into windows (B, T, M, y, x, C), zero-padded at the bottom and right.

    Padding tokens take part in attention afterwards (semantics section 1). Window 0 is the whole grid.
    """
    B, T, Y, X, C = x_BTYXC.shape
    if window == 0:
        return x_BTYXC.unsqueeze(2)
    padded = F.pad(x_BTYXC, (0, 0, 0, -X % window, 0, -Y % window))
    rows, columns = padded.shape[2] // window, padded.shape[3] // window
    cut = padded.view(B, T, rows, window, columns, window, C).transpose(3, 4)
    return cut.reshape(B, T, rows * columns, window, window, C)


def from_windows(windows: Tensor, rows: int, columns: int) -> Tensor:
    """Undoes `to_windows`: (B, T, M, y, x, C) -> (B, T, rows, columns, C), padding cropped."""
    B, T, M, y, x, C = windows.shape
    across = -(-columns // x)
    grid = windows.view(B, T, M // across, across, y, x, C).transpose(3, 4)
    return grid.reshape(B, T, M // across * y, across * x, C)[:, :, :rows, :columns]
