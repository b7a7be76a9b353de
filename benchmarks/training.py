"""Training in the official order, written plainly: the baseline of `svit bench train`.

For every frame of a clip: the plain encoder of `benchmarks.reference` with its lists of detached keys and
values, backward, optimiser step (torch's AdamW as it comes), average of the weights. Pyramid, detector and
losses are svit's own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from benchmarks.reference import ReferenceEncoder
from torch import Tensor

from svit.model.detector_loss import detection_loss
from svit.model.video_model import VideoModel
from svit.train.objective import Batch


class ReferenceTraining:
    """Trains a model on clips, frame by frame.

    Args:
        model: in training mode; changed.
        autocast: makes the context for the precision of matrix products.
    """

    def __init__(self, model: VideoModel, autocast: Callable[[], AbstractContextManager[object]]) -> None:
        self.model, self.autocast = model, autocast
        self.optimiser = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.05)
        self.average = [p.detach().clone() for p in model.parameters()]

    def gradient(self, clip: Batch, update: Callable[[], None] | None = None) -> None:
        """Forward and backward of every frame of one normalised clip."""
        reference = ReferenceEncoder(self.model.encoder, trains=True)
        for t in range(clip.frames.shape[1]):
            with self.autocast():
                loss = detector_loss(self.model, reference.step(clip.frames[0, t]), clip.frame(t))
            loss.backward()
            (update or self.model.zero_grad)()

    def step(self, clip: Batch) -> None:
        """The same with an update of the weights after every frame."""
        self.gradient(clip, self.update)

    def update(self) -> None:
        """Changes the weights and their average."""
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            for mean, parameter in zip(self.average, self.model.parameters(), strict=True):
                mean.mul_(1 - 1e-4).add_(parameter, alpha=1e-4)


def detector_loss(model: VideoModel, stages: list[Tensor], frame: Batch) -> Tensor:
    """The loss of one frame from its stages (C, Y, X)."""
    assert model.pyramid is not None
    assert model.detector is not None
    maps = model.detector(model.pyramid([stage[None, None] for stage in stages]))
    return detection_loss(maps, frame.targets, False, frame.ignore, model.strides)["total"]
