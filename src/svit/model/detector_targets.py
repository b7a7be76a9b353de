"""Targets of the detection loss: checked with one clear line each, then padded to one batch.

Shape legend: N = streams * frames images, G boxes per image (padded).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from svit.errors import UsageError
from svit.model.detector import HeadMap

Target = tuple[Tensor, Tensor]
"""What is in one frame: boxes (G, 4) xyxy in input pixels, labels (G,) int64."""


class PaddedTargets(NamedTuple):
    """Boxes of N images padded to the same number G.

    Attributes:
        boxes: (N, G, 4) xyxy fp32.
        labels: (N, G) int64, 0 where padded.
        valid: (N, G) bool.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor


def pad_targets(targets: Sequence[Sequence[Target]], maps: Sequence[HeadMap]) -> PaddedTargets:
    """Targets of all streams and frames as one padded batch beside the maps.

    Raises:
        UsageError: as `detection_loss`, naming the stream and the frame.
    """
    boxes, valid = pad_boxes([[target[0] for target in stream] for stream in targets], maps, "targets")
    frames = [target for stream in targets for target in stream]
    labels = [frame[1] for frame in frames]
    _check_labels([frame[0] for frame in frames], labels, maps)
    padded = pad_sequence(labels, batch_first=True).to(boxes.device, torch.int64)
    return PaddedTargets(boxes, padded, valid)


def pad_boxes(boxes: Sequence[Sequence[Tensor]], maps: Sequence[HeadMap], what: str) -> tuple[Tensor, Tensor]:
    """Boxes (G, 4) per stream and frame -> (N, G, 4) fp32 beside the maps, and which of them are real.

    The others are zero. `what` names the boxes in an error.

    Raises:
        UsageError: the frames do not fit the maps; a box is NaN, inverted or empty.
    """
    _check_layout(boxes, maps, what)
    frames = [frame for stream in boxes for frame in stream]
    _check_boxes(frames, maps, what)
    device = maps[0]["obj"].device
    padded = pad_sequence([frame.float() for frame in frames], batch_first=True).to(device)
    counts = torch.tensor([len(frame) for frame in frames], device=device)
    return padded, torch.arange(padded.shape[1], device=device) < counts[:, None]


def _check_layout(items: Sequence[Sequence[Tensor]], maps: Sequence[HeadMap], what: str) -> None:
    streams, frames = maps[0]["obj"].shape[:2]
    given = [len(stream) for stream in items]
    if given != [frames] * streams:
        raise UsageError(
            f"detection loss: {what} hold {given} frames per stream, the maps {streams} streams of {frames}"
        )


def _image_of(row: int, frames: Sequence[Tensor]) -> int:
    """The image that a row of the concatenated frames belongs to."""
    return int((torch.tensor([len(frame) for frame in frames]).cumsum(0) <= row).sum())


def _place(image: int, maps: Sequence[HeadMap]) -> str:
    stream, frame = divmod(image, maps[0]["obj"].shape[1])
    return f"stream {stream}, frame {frame}"


def _check_boxes(boxes: Sequence[Tensor], maps: Sequence[HeadMap], what: str) -> None:
    for image, frame in enumerate(boxes):
        if frame.ndim != 2 or frame.shape[1] != 4:
            raise UsageError(
                f"detection loss: {what} of {_place(image, maps)}: boxes have shape {tuple(frame.shape)}, "
                "expected (G, 4)"
            )
    flat = torch.cat(list(boxes))
    good = flat.isfinite().all(dim=1) & (flat[:, 2:] > flat[:, :2]).all(dim=1)
    if bool(good.all()):
        return
    row = int((~good).int().argmax())
    numbers = ", ".join(f"{x:g}" for x in flat[row].tolist())
    raise UsageError(
        f"detection loss: {what} of {_place(_image_of(row, boxes), maps)}: box ({numbers}) "
        "must be finite with x2 > x1 and y2 > y1"
    )


def _check_labels(boxes: Sequence[Tensor], labels: Sequence[Tensor], maps: Sequence[HeadMap]) -> None:
    classes = maps[0]["cls"].shape[2]
    for image, (frame_boxes, frame_labels) in enumerate(zip(boxes, labels, strict=True)):
        if frame_labels.shape != frame_boxes.shape[:1]:
            raise UsageError(
                f"detection loss: targets of {_place(image, maps)}: "
                f"{len(frame_boxes)} boxes but labels of shape {tuple(frame_labels.shape)}"
            )
    flat = torch.cat(list(labels))
    bad = (flat < 0) | (flat >= classes)
    if bool(bad.any()):
        row = int(bad.int().argmax())
        raise UsageError(
            f"detection loss: targets of {_place(_image_of(row, labels), maps)}: "
            f"label {int(flat[row])} is not in 0..{classes - 1}"
        )
