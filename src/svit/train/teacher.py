"""Learning from a finished model: what it sees and finds is a target besides the boxes (Hinton et al. 2015).

Shape legend: N = clips * frames images, P priors, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from svit.config import ModelConfig
from svit.errors import UsageError
from svit.model.detector import HeadMap, decode_boxes
from svit.model.detector_loss import Predictions, box_loss, flatten_predictions
from svit.model.video_model import VideoModel


class Teacher:
    """A model that is not trained and shows another one, frame by frame, what it would say.

    It is no part of what is trained: neither of its checkpoints nor of its gradients.

    Args:
        model: the finished one, with a detector.
        student: the settings of the model that learns.
        weight: on the loss.

    Attributes:
        model: as given, without gradients.

    Raises:
        UsageError: both do not look at the same pixels, cells and classes.
    """

    def __init__(self, model: VideoModel, student: ModelConfig, weight: float) -> None:
        _check(model.config, student)
        self.model, self._weight = model.eval().requires_grad_(False), weight

    def to(self, device: torch.device) -> None:
        """Moves it beside the model that learns."""
        self.model.to(device)

    def loss(self, frames: Tensor, stages: Sequence[Tensor], maps: Sequence[HeadMap]) -> Tensor:
        """How far the student is from the teacher.

        The features' squared difference, its mean over channels; and for every prior the cross-entropy of
        objectness and, as far as the teacher is sure of something, that of classes and the box's IoU and L1
        losses.

        Args:
            frames: (B, T, 3, H, W), normalised.
            stages: the student's encoder maps of them.
            maps: its detector's logits.

        Returns:
            The sum over all cells and priors, in fp32.
        """
        with torch.no_grad():
            seen, _ = self.model.encoder(frames)
            assert self.model.pyramid is not None
            assert self.model.detector is not None
            said = self.model.detector(self.model.pyramid(seen))
        with torch.autocast(frames.device.type, enabled=False):
            strides = self.model.strides
            spoken = _prior_loss(flatten_predictions(maps, strides), flatten_predictions(said, strides))
            features = [
                (own.float() - other.float()).square().mean(2).sum()
                for own, other in zip(stages, seen, strict=True)
            ]
        return self._weight * (spoken + torch.stack(features).sum())


def _prior_loss(student: Predictions, teacher: Predictions) -> Tensor:
    """The sum over the priors of all images."""
    sure = teacher.objectness.sigmoid()
    objectness = F.binary_cross_entropy_with_logits(student.objectness, sure, reduction="sum")
    classes = F.binary_cross_entropy_with_logits(student.classes, teacher.classes.sigmoid(), reduction="none")
    boxes = box_loss(
        decode_boxes(student.regression, student.priors), decode_boxes(teacher.regression, teacher.priors)
    )
    offsets = (student.regression - teacher.regression).abs().sum(-1)
    return objectness + (sure * (classes.sum(-1) + boxes + offsets)).sum()


def _check(teacher: ModelConfig, student: ModelConfig) -> None:
    """Raises UsageError unless one can teach the other."""

    def what(config: ModelConfig) -> dict[str, object]:
        encoder, pixels = config.encoder, config.input
        return {
            "encoder.width": encoder.width,
            "encoder.patch": encoder.patch,
            "classes": None if config.detector is None else config.detector.class_names,
            "input.mean": pixels.mean,
            "input.std": pixels.std,
        }

    ours, theirs = what(student), what(teacher)
    for name, value in theirs.items():
        if value is None or ours[name] != value:
            both = f"'{teacher.name}' cannot teach '{student.name}'"
            raise UsageError(f"teacher: {both}: {name} is {value}, not {ours[name]}")
