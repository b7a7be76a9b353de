"""The clip that comes with svit, as frames and as the input of `tiny-person`."""

from __future__ import annotations

from itertools import islice

import supervision as sv
import torch
from torch import Tensor

from svit.bench.commands import sample_clip
from svit.model.preprocess import preprocess
from svit.model.video_model import VideoModel
from svit.types import Frame, Image
from svit.video import TrackPainter, open_source


def sample_frames(count: int) -> list[Frame]:
    """Its first frames."""
    with sample_clip() as path, open_source(str(path)) as source:
        return list(islice(source, count))


def sample_input(model: VideoModel, count: int, quick: bool) -> Tensor:
    """Its first frames as a model takes them, (count, 3, H, W), on the model's device and in its precision.

    `quick` takes a corner of each, so that a run takes seconds.
    """
    weight, config = model.encoder.positions, model.config
    frames = [preprocess(frame.image, config.input, config.stride) for frame in sample_frames(count)]
    inputs = torch.stack(frames).to(weight.device, weight.dtype)
    return inputs[..., :96, :128].contiguous() if quick else inputs


class Unpainted(TrackPainter):
    """Draws nothing: for the time of encoding alone."""

    def paint(self, image: Image, tracks: sv.Detections) -> Image:
        """The frame as it is."""
        return image
