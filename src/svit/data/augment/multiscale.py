"""Multi-scale training: every step's batch is resized to a size of its own, on the device.

Not in the workers: all clips of a step need one size on all processes, so workers would have to know the
step. Frames of one fixed size go to the device as bytes, and there the resize costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from svit.data.augment.settings import DIVISOR, MultiScaleConfig

ClipBoxes = Sequence[Sequence[Tensor]]
"""Per clip, per frame: (N, 4) boxes in pixels."""


def scale_for(settings: MultiScaleConfig, size: tuple[int, int], step: int, seed: int) -> tuple[int, int]:
    """The height and width of a step's batch.

    A function of step and seed alone: all processes agree without a word, and a resumed run goes on with the
    same sizes.

    Args:
        settings: the range of heights.
        size: height and width of the frames before; the result has this aspect, to within 32 pixels.
        step: counts the batches from 0.
        seed: of the run.

    Returns:
        Multiples of 32 (official: 576 to 1024 pixels high for 800 x 1440).
    """
    rng = np.random.default_rng([seed, step])
    units = int(rng.integers(settings.smallest, settings.largest + 1))
    return units * DIVISOR, max(1, int(units * size[1] / size[0])) * DIVISOR


def resize_batch(
    frames_BT3YX: Tensor, boxes: ClipBoxes, ignore: ClipBoxes, size: tuple[int, int]
) -> tuple[Tensor, list[list[Tensor]], list[list[Tensor]]]:
    """Resizes clips and their labels, bilinearly as the official detector does.

    Args:
        frames_BT3YX: (B, T, 3, height, width), uint8 or float, 0-255.
        boxes: on any device.
        ignore: regions, the same way.
        size: the new height and width.

    Returns:
        Frames as float (32 bits if they were uint8), still 0-255 and to be normalised, on the device of
        `frames_BT3YX`; boxes; ignore regions.
    """
    height, width = frames_BT3YX.shape[-2:]
    frames = frames_BT3YX if frames_BT3YX.is_floating_point() else frames_BT3YX.float()
    if size != (height, width):
        resized = F.interpolate(frames.flatten(0, 1), size=size, mode="bilinear", align_corners=False)
        frames = resized.reshape(*frames_BT3YX.shape[:3], *size)
    factors = (size[1] / width, size[0] / height) * 2
    return frames, _scaled(boxes, factors), _scaled(ignore, factors)


def _scaled(boxes: ClipBoxes, factors: tuple[float, ...]) -> list[list[Tensor]]:
    return [
        [frame * torch.tensor(factors, dtype=frame.dtype, device=frame.device) for frame in clip]
        for clip in boxes
    ]
