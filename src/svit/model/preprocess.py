"""A picture becomes the network's input: fit, normalise, pad (semantics section 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from svit.config import InputConfig
from svit.errors import UsageError


class Fit(NamedTuple):
    """How a picture is resized: its content's size in the input, and the factors to it (x, y)."""

    height: int
    width: int
    scale: tuple[float, float]


def fit(height: int, width: int, config: InputConfig) -> Fit:
    """The size of a `height` x `width` picture inside the limits, its ratio kept; rounded half up."""
    ratio = min(config.long_side / max(height, width), config.short_side / min(height, width))
    rows, columns = max(1, int(height * ratio + 0.5)), max(1, int(width * ratio + 0.5))
    return Fit(rows, columns, (columns / width, rows / height))


def check_image(image: npt.NDArray[np.generic]) -> None:
    """Raises UsageError unless `image` is RGB, (height, width, 3) uint8 and not empty."""
    shape = getattr(image, "shape", None)
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"a frame must be RGB (height, width, 3), got {shape or type(image).__name__}")
    if image.dtype != np.uint8:
        raise UsageError(f"a frame must be uint8 with values 0-255, got {image.dtype}")
    if 0 in image.shape:
        raise UsageError(f"a frame must not be empty, got {image.shape[1]}x{image.shape[0]} pixels")


def preprocess(
    image: npt.NDArray[np.uint8], config: InputConfig, multiple: int, device: torch.device | str = "cpu"
) -> Tensor:
    """RGB (H, W, 3) uint8 -> (3, H', W') float32: resized bilinearly, normalised, zero-padded.

    The padding is at the bottom and right, after normalisation.

    Args:
        image: the picture.
        config: size limits, mean and standard deviation.
        multiple: the padded sides are multiples of this, in pixels.
        device: where the work is done and the result lives.

    Raises:
        UsageError: not an RGB uint8 picture.
    """
    check_image(image)
    rows, columns, _ = fit(image.shape[0], image.shape[1], config)
    # torch refuses negative strides (mirrored views) and warns about read-only arrays (Pillow's).
    usable = np.require(image, requirements=("C", "W"))
    pixels = torch.from_numpy(usable).to(device).permute(2, 0, 1)[None].float()
    if pixels.shape[2:] != (rows, columns):
        pixels = F.interpolate(pixels, size=(rows, columns), mode="bilinear", align_corners=False)
    padded = pixels.new_zeros(3, rows + -rows % multiple, columns + -columns % multiple)
    # Plane by plane with plain numbers: one pass into place, and none of them has to travel to the device.
    for plane, given, mean, std in zip(padded, pixels[0], config.mean, config.std, strict=True):
        torch.sub(given, mean, out=plane[:rows, :columns]).div_(std)
    return padded
