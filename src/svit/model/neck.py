"""PAFPN: the neck that mixes three feature scales downwards and upwards before the detection head.

Source: YOLOX (arXiv 2107.08430) with the S-ViT official settings. Sub-module names follow the official
checkpoints, so loading one is a change of prefix. Shapes: B streams, T frames, c channels, h w rows and
columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svit.model.layers import conv_norm_silu

_NORM_EPS = 1e-3
_NORM_MOMENTUM = 0.03


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm (eps 1e-3, momentum 0.03, see `norm_by_frame`), SiLU.

    Args:
        in_channels: channels of the input (B, T, in_channels, h, w).
        out_channels: channels of the output.
        kernel: odd kernel side; the padding keeps the size.
        stride: 1 keeps the size, 2 halves it.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=_NORM_EPS, momentum=_NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, in_channels, h, w) -> (B, T, out_channels, h / stride, w / stride)."""
        maps = conv_norm_silu(self.conv, self.bn, x.flatten(0, 1), x.shape[1])
        return maps.unflatten(0, x.shape[:2])


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution at constant width, without a shortcut (the neck has none)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBlock(channels, channels)
        self.conv2 = ConvBlock(channels, channels, kernel=3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, channels, h, w) -> the same shape."""
        y: Tensor = self.conv2(self.conv1(x))
        return y


class CSPBlock(nn.Module):
    """Cross-stage partial block: half the width goes through `blocks` bottlenecks, half past them.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; both halves have `out_channels // 2`.
        blocks: number of bottlenecks in a row.
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.main_conv = ConvBlock(in_channels, half)
        self.short_conv = ConvBlock(in_channels, half)
        self.final_conv = ConvBlock(2 * half, out_channels)
        self.blocks = nn.Sequential(*(Bottleneck(half) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, in_channels, h, w) -> (B, T, out_channels, h, w)."""
        halves = (self.blocks(self.main_conv(x)), self.short_conv(x))
        y: Tensor = self.final_conv(torch.cat(halves, dim=2))
        return y


class PAFPN(nn.Module):
    """Path aggregation over three scales: coarse to fine, back to coarse, then one width for all.

    Args:
        in_channels: channels of the three maps, finest first.
        width: channels of the three outputs.
        csp_blocks: bottlenecks per CSP block; the official model has 4.
    """

    def __init__(self, in_channels: Sequence[int], width: int, csp_blocks: int = 4) -> None:
        super().__init__()
        fine, middle, coarse = in_channels
        self.reduce_layers = nn.ModuleList([ConvBlock(coarse, middle), ConvBlock(middle, fine)])
        self.top_down_blocks = nn.ModuleList(
            [CSPBlock(2 * middle, middle, csp_blocks), CSPBlock(2 * fine, fine, csp_blocks)]
        )
        self.downsamples = nn.ModuleList(
            [ConvBlock(fine, fine, kernel=3, stride=2), ConvBlock(middle, middle, kernel=3, stride=2)]
        )
        self.bottom_up_blocks = nn.ModuleList(
            [CSPBlock(2 * fine, middle, csp_blocks), CSPBlock(2 * middle, coarse, csp_blocks)]
        )
        self.out_convs = nn.ModuleList([ConvBlock(channels, width) for channels in in_channels])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Three maps (B, T, c, h, w), each half the side of the one before -> the same sizes at `width`."""
        fine, middle, coarse = maps
        coarse = self.reduce_layers[0](coarse)
        middle = self.top_down_blocks[0](torch.cat((_double(coarse), middle), dim=2))
        middle = self.reduce_layers[1](middle)
        fine = self.top_down_blocks[1](torch.cat((_double(middle), fine), dim=2))
        middle = self.bottom_up_blocks[0](torch.cat((self.downsamples[0](fine), middle), dim=2))
        coarse = self.bottom_up_blocks[1](torch.cat((self.downsamples[1](middle), coarse), dim=2))
        return [conv(x) for conv, x in zip(self.out_convs, (fine, middle, coarse), strict=True)]


def _double(x: Tensor) -> Tensor:
    """Nearest-neighbour upsampling by 2."""
    return F.interpolate(x.flatten(0, 1), scale_factor=2.0, mode="nearest").unflatten(0, x.shape[:2])
