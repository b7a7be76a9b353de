"""What is minimised: the detector's losses over the frames of a batch of clips.

Shape legend: B clips, T frames, H W rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from svit.model.detector_loss import detection_loss
from svit.model.detector_targets import Target
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel

Form = Literal["clip", "step"]

PARTS = ("cls", "box", "obj", "l1")


@dataclass
class Batch:
    """Clips on their way through the model.

    Attributes:
        frames: (B, T, 3, H, W), uint8 until `svit.train.batches.to_device` makes them normalised floats.
        targets: per clip and frame boxes (G, 4) xyxy in input pixels and labels (G,).
        ignore: per clip and frame boxes (I, 4) that are neither person nor background.
    """

    frames: Tensor
    targets: list[list[Target]]
    ignore: list[list[Tensor]]

    def frame(self, t: int) -> Batch:
        """Frame `t` of every clip, as clips of one frame."""
        return Batch(
            self.frames[:, t : t + 1],
            [clip[t : t + 1] for clip in self.targets],
            [clip[t : t + 1] for clip in self.ignore],
        )


class ClipLoss(nn.Module):
    """A model with its losses: the module that data-parallel engines wrap.

    The losses are sums over positives, not means: divided once, by the positives of all clips of a step on
    all processes, they are what one large batch would give, however it is cut up.

    Args:
        model: with a detector.
    """

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, use_l1: bool, form: Form = "clip", memory: StreamMemory | None = None
    ) -> tuple[Tensor, Tensor, StreamMemory]:
        """Losses of all frames.

        The encoder takes all frames at once (`clip`) or one by one (`step`), pyramid and detector always one
        by one: batch norm then sees one frame of every clip at a time, as in the official run, and both forms
        give the same numbers.

        Returns:
            total: sum of the losses over frames and positives, with gradient.
            parts: (5,) the same sums without gradient: `PARTS`, then the number of positives.
            memory: after the last frame.
        """
        totals, parts = [], []
        for piece in pieces(batch, form):
            stages, memory = self.model.encoder(piece.frames, memory)
            for t in range(piece.frames.shape[1]):
                total, sums = self._frame([stage[:, t : t + 1] for stage in stages], piece.frame(t), use_l1)
                totals.append(total)
                parts.append(sums)
        assert memory is not None
        return torch.stack(totals).sum(), torch.stack(parts).sum(0), memory

    def _frame(self, stages: list[Tensor], frame: Batch, use_l1: bool) -> tuple[Tensor, Tensor]:
        """The sums of one frame of every clip: total with gradient, and `PARTS` and positives without."""
        model = self.model
        assert model.pyramid is not None
        assert model.detector is not None
        maps = model.detector(model.pyramid(stages))
        losses = detection_loss(maps, frame.targets, use_l1, frame.ignore, model.strides)
        # The losses come divided by this.
        count = losses["positives"].clamp(min=1).float()
        zero = torch.zeros_like(count)
        sums = [losses.get(name, zero).detach() * count for name in PARTS]
        return losses["total"] * count, torch.stack([*sums, losses["positives"].float()])


def pieces(batch: Batch, form: Form) -> list[Batch]:
    """What goes through the encoder one after the other: the whole clip, or its frames."""
    return [batch] if form == "clip" else [batch.frame(t) for t in range(batch.frames.shape[1])]
