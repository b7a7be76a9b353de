"""YOLOX detector on a feature pyramid: neck, decoupled head, decoding and selection of boxes.

Source: YOLOX (arXiv 2107.08430) with the S-ViT official settings (PAFPN, four bottlenecks, head of two
3x3 convolutions per branch). Shape legend: B streams, T frames, P priors over all levels, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from svit.errors import UsageError, WeightsError
from svit.model.neck import PAFPN, ConvBlock
from svit.model.nms import nms

HeadMap = dict[str, Tensor]
"""Raw logits of one level: `cls` (B, T, K, h, w), `box` (B, T, 4, h, w), `obj` (B, T, 1, h, w)."""

STRIDES = (8, 16, 32)
"""Pixels per cell of the three levels for a patch of 16."""

_HEAD_DEPTH = 2
_PRIOR_PROBABILITY = 0.01


class Selection(NamedTuple):
    """What was found in one frame, in descending score; on the CPU.

    Attributes:
        boxes: (N, 4) xyxy, fp32, not clipped to the image.
        scores: (N,) in 0..1.
        labels: (N,) int64 class.
        priors: (N,) int64 index of the prior that made the box, level-major and row-major.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    priors: Tensor


class Detector(nn.Module):
    """PAFPN neck and YOLOX head over a three-level pyramid.

    Args:
        in_channels: channels of the pyramid's maps, finest first.
        width: channels of the neck's outputs and of the head.
        classes: number of classes K.
        csp_blocks: bottlenecks per CSP block of the neck; the official model has 4.
    """

    def __init__(
        self, in_channels: tuple[int, int, int], width: int, classes: int, csp_blocks: int = 4
    ) -> None:
        super().__init__()
        self.neck = PAFPN(in_channels, width, csp_blocks)
        self.head = Head(width, classes, levels=len(in_channels))

    def forward(self, pyramid: Sequence[Tensor]) -> list[HeadMap]:
        """Raw logits of every level.

        Args:
            pyramid: three maps (B, T, c, h, w), each level half the side of the one before. In training the
                batch norms see one frame of every stream at a time.

        Returns:
            One `HeadMap` per level, at the sizes of the maps.

        Raises:
            UsageError: the maps do not halve from level to level (the input is no multiple of the last
                stride).
        """
        _check_pyramid(pyramid)
        return self.head(self.neck(pyramid))


class Head(nn.Module):
    """YOLOX's decoupled head: per level two 3x3 convolutions for classes, two for boxes and objectness."""

    def __init__(self, width: int, classes: int, levels: int = 3) -> None:
        super().__init__()
        self.cls_convs = nn.ModuleList(_branch(width) for _ in range(levels))
        self.reg_convs = nn.ModuleList(_branch(width) for _ in range(levels))
        self.conv_cls = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in range(levels))
        self.conv_reg = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in range(levels))
        self.conv_obj = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in range(levels))
        # Nearly every prior is background: starting at 1 % keeps the first steps' loss from exploding.
        for conv in (*self.conv_cls, *self.conv_obj):
            nn.init.constant_(conv.bias, -math.log((1 - _PRIOR_PROBABILITY) / _PRIOR_PROBABILITY))

    def forward(self, maps: Sequence[Tensor]) -> list[HeadMap]:
        """Three maps (B, T, width, h, w) -> one `HeadMap` each."""
        return [self._level(level, x) for level, x in enumerate(maps)]

    def _level(self, level: int, x: Tensor) -> HeadMap:
        classes, boxes = (b[level](x).flatten(0, 1) for b in (self.cls_convs, self.reg_convs))
        maps = {
            "cls": self.conv_cls[level](classes),
            "box": self.conv_reg[level](boxes),
            "obj": self.conv_obj[level](boxes),
        }
        return {name: logits.unflatten(0, x.shape[:2]) for name, logits in maps.items()}


def _branch(width: int) -> nn.Sequential:
    return nn.Sequential(*(ConvBlock(width, width, kernel=3) for _ in range(_HEAD_DEPTH)))


def _check_pyramid(pyramid: Sequence[Tensor]) -> None:
    height, width = pyramid[0].shape[-2:]
    for level, x in enumerate(pyramid):
        if (x.shape[-2] << level, x.shape[-1] << level) != (height, width):
            sizes = ", ".join(f"{x.shape[-2]}x{x.shape[-1]}" for x in pyramid)
            raise UsageError(
                f"detector: pyramid maps of {sizes} do not halve from level to level; "
                "pad the frames to a multiple of the coarsest stride (32 for a patch of 16)"
            )


def flatten_maps(maps: Sequence[HeadMap], name: str) -> Tensor:
    """One kind of logits of all levels as (B, T, P, k) fp32, level-major and row-major."""
    return torch.cat([level[name].flatten(-2).transpose(-1, -2).float() for level in maps], dim=-2)


def prior_grid(maps: Sequence[HeadMap], strides: Sequence[float] = STRIDES) -> Tensor:
    """Priors as (P, 3) fp32: x and y of the cell's top-left corner and the stride, in input pixels."""
    levels = []
    for level, stride in zip(maps, strides, strict=True):
        height, width = level["obj"].shape[-2:]
        device = level["obj"].device
        y, x = torch.meshgrid(
            torch.arange(height, device=device, dtype=torch.float32),
            torch.arange(width, device=device, dtype=torch.float32),
            indexing="ij",
        )
        levels.append(torch.stack((x * stride, y * stride, torch.full_like(x, stride)), dim=-1).flatten(0, 1))
    return torch.cat(levels)


def decode_boxes(regression: Tensor, priors: Tensor) -> Tensor:
    """Box logits (..., P, 4) and priors (P, 3) -> xyxy in input pixels (..., P, 4).

    centre = logits * stride + the cell's corner, size = exp(logits) * stride.
    """
    corner, stride = priors[..., :2], priors[..., 2:]
    centre = regression[..., :2] * stride + corner
    half = regression[..., 2:].exp() * stride / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def decode(maps: Sequence[HeadMap], strides: Sequence[float] = STRIDES) -> tuple[Tensor, Tensor]:
    """Every prior's box and class scores, in fp32 whatever the maps' type.

    Args:
        maps: one `HeadMap` per level.
        strides: pixels per cell of each level.

    Returns:
        boxes (B, T, P, 4) xyxy in input pixels; scores (B, T, P, K) = sigmoid(class) * sigmoid(objectness).
    """
    boxes = decode_boxes(flatten_maps(maps, "box"), prior_grid(maps, strides))
    scores = flatten_maps(maps, "cls").sigmoid() * flatten_maps(maps, "obj").sigmoid()
    return boxes, scores


def select(
    boxes: Tensor,
    scores: Tensor,
    scale: Tensor | None = None,
    score_threshold: float = 0.01,
    iou_threshold: float = 0.7,
) -> list[list[Selection]]:
    """The boxes worth keeping, per stream and per frame.

    Each prior speaks for its best class only. Boxes are divided by the scale first, so thresholds act in
    the original frame's pixels (S-ViT official settings).

    How many boxes there are is known to the host alone: everything is brought there in one transfer, so that
    a device is waited for once, and the selection is on the CPU.

    Args:
        boxes: (B, T, P, 4) xyxy in input pixels.
        scores: (B, T, P, K).
        scale: input size / original size per stream, (B, 2) for x, y or (B, 4) for x, y, x, y; None is 1.
        score_threshold: keep scores at or above it.
        iou_threshold: a box is dropped when a better one of its class overlaps it strictly more.

    Raises:
        UsageError: `scale` has another shape.
        WeightsError: a score or a box worth keeping is not finite.
    """
    best_scores, labels = scores.max(dim=-1)  # NaN if any is
    host = torch.cat((boxes, best_scores[..., None], labels[..., None]), -1).cpu()
    check_finite(host[..., 4])
    scales = [None] * len(host) if scale is None else _scale_xyxy(scale.cpu(), host)
    return [
        [_select_frame(frame, own, score_threshold, iou_threshold) for frame in stream]
        for stream, own in zip(host, scales, strict=True)
    ]


def _scale_xyxy(scale: Tensor, boxes: Tensor) -> Tensor:
    """(B, 2) or (B, 4) scale as (B, 4) beside the boxes."""
    scale = scale.to(boxes)
    if scale.ndim != 2 or scale.shape[0] != boxes.shape[0] or scale.shape[1] not in (2, 4):
        streams = boxes.shape[0]
        raise UsageError(
            f"detector: scale has shape {tuple(scale.shape)}, expected ({streams}, 2) or ({streams}, 4)"
        )
    return scale.repeat(1, 4 // scale.shape[1])


def _select_frame(
    found: Tensor, scale: Tensor | None, score_threshold: float, iou_threshold: float
) -> Selection:
    """Boxes, scores and labels (P, 6) of one frame -> its selection."""
    priors = (found[:, 4] >= score_threshold).nonzero().squeeze(1)
    boxes, scores, labels = found[priors].split((4, 1, 1), dim=-1)
    boxes, scores, labels = boxes if scale is None else boxes / scale, scores[:, 0], labels[:, 0].long()
    kept = nms(boxes, scores, labels, iou_threshold)
    check_finite(boxes[kept])
    return Selection(boxes[kept], scores[kept], labels[kept], priors[kept])


def check_finite(outputs: Tensor) -> None:
    """Raises WeightsError unless everything is finite; waits for the outputs' device."""
    if not bool(torch.isfinite(outputs).all()):
        raise WeightsError("the model's output is not finite: its weights are damaged or hold NaN")
