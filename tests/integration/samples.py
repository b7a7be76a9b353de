"""A small model that sees, remembers and tracks something, and moving pictures for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from tests.model.small import small_model
from torch import nn

from svit import FrameResult, VideoModel
from svit.types import Image

SIZE = (96, 64)
"""Width, height of the pictures."""

SETTINGS: dict[str, Any] = {
    "input__short_side": 64,
    "input__long_side": 96,
    "encoder__memory": 4,
    "detector__score_threshold": 0.3,
    "detector__iou_threshold": 0.3,
    "tracker__high": 0.5,
    "tracker__init": 0.5,
    "tracker__low": 0.3,
    "tracker__match_high": 0.05,
    "tracker__match_low": 0.1,
    "tracker__match_tentative": 0.05,
    "tracker__tentative_frames": 2,
}


def lively_model(seed: int = 0, **overrides: Any) -> VideoModel:
    """Untrained, but as of a trained one its 10 to 20 boxes a frame depend on the picture and the memory."""
    model = small_model("tiny", seed, **{**SETTINGS, **overrides})
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
        if "alpha" in name:
            parameter.data.fill_(1.0)
        elif "conv_cls" in name or "conv_obj" in name:
            parameter.data.mul_(4.0 if parameter.ndim > 1 else 0.0)
        elif "conv_reg" in name:
            parameter.data.mul_(0.5)
    return model


def moving(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> list[Image]:
    """Pictures of coloured blocks that pass by."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (-(-size[1] // 16), -(-size[0] // 8), 3))
    scene = np.kron(blocks, np.ones((16, 16, 1))).astype(np.uint8)[: size[1]]
    return [
        np.ascontiguousarray(np.roll(scene, -4 * number, axis=1)[:, : size[0]]) for number in range(count)
    ]


def write_images(folder: Path, images: list[Image], suffix: str = ".png") -> Path:
    """A folder of images."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        PillowImage.fromarray(image).save(folder / f"{number:04}{suffix}")
    return folder


Said = tuple[int, float, bytes, bytes, bytes, bytes, tuple[int, ...]]


def said(result: FrameResult) -> Said:
    """All that a result says, to the last bit."""
    found, tracks = result.detections, result.tracks
    numbers = (found.xyxy, found.confidence, tracks.xyxy, tracks.confidence)
    return result.frame_index, result.timestamp, *(_bytes(array) for array in numbers), ids(result)


def ids(result: FrameResult) -> tuple[int, ...]:
    """The ids of a frame's tracks."""
    return () if result.tracks.tracker_id is None else tuple(result.tracks.tracker_id.tolist())


def _bytes(array: npt.NDArray[Any] | None) -> bytes:
    assert array is not None
    return array.tobytes()
