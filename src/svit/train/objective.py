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
        targets: per clip and frame boxes (G, 4) xyxy in input pixels and labels (G,); on the CPU, where they
            are checked without waiting for the device.
        ignore: per clip and frame boxes (I, 4) that are neither person nor background; on the CPU too.
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
        self,
        batch: Batch,
        use_l1: bool = False,
        form: Form = "clip",
        memory: StreamMemory | None = None,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor, StreamMemory]:
        """Losses of all frames.

        All frames go through the model at once (`clip`) or one by one (`step`). Either way batch norm sees
        one frame of every clip at a time, as in the official run, and a clip drops the same paths in all of
        its frames, so that both forms give the same numbers.

        Args:
            batch: frames as normalised floats.
            use_l1: add the L1 loss on the box logits.
            form: see above.
            memory: of the frames before; None starts the clips.
            seed: decides which paths are dropped, whatever was drawn before.

        Returns:
            total: sum of the losses over frames and positives, with gradient.
            parts: (5,) the same sums without gradient: `PARTS`, then the number of positives.
            memory: after the last frame.
        """
        totals, parts = [], []
        for piece in pieces(batch, form):
            torch.manual_seed(seed)
            stages, memory = self.model.encoder(piece.frames, memory)
            total, sums = self._losses(stages, piece, use_l1)
            totals.append(total)
            parts.append(sums)
        assert memory is not None
        return torch.stack(totals).sum(), torch.stack(parts).sum(0), memory

    def _losses(self, stages: list[Tensor], piece: Batch, use_l1: bool) -> tuple[Tensor, Tensor]:
        """The sums over a piece: total with gradient, and `PARTS` and positives without."""
        model = self.model
        assert model.pyramid is not None
        assert model.detector is not None
        maps = model.detector(model.pyramid(stages))
        losses = detection_loss(maps, piece.targets, use_l1, piece.ignore, model.strides)
        # The losses come divided by this.
        count = losses["positives"].clamp(min=1).float()
        zero = torch.zeros_like(count)
        sums = [losses.get(name, zero).detach() * count for name in PARTS]
        return losses["total"] * count, torch.stack([*sums, losses["positives"].float()])


def pieces(batch: Batch, form: Form) -> list[Batch]:
    """What goes through the model one after the other: the whole clip, or its frames."""
    return [batch] if form == "clip" else [batch.frame(t) for t in range(batch.frames.shape[1])]
