"""What is minimised: the detector's losses over the frames of a batch of clips, and the actions' of clips.

Shape legend: B clips, T frames, H W rows and columns, K classes of actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from svit.model.action_loss import action_loss
from svit.model.detector_loss import detection_loss
from svit.model.detector_targets import Target
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel
from svit.train.teacher import Teacher

Form = Literal["clip", "step"]

PARTS = ("cls", "box", "obj", "l1", "teacher")
ACTION_PARTS = ("action", "early")


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


@dataclass
class ActionBatch:
    """Clips of which each shows an action.

    Attributes:
        frames: (B, T, 3, H, W), as in `Batch`.
        targets: (B,) class numbers, until `svit.train.batches.actions_to_device` makes them shares (B, K).
        length: frames that the memory and the head's window hold at most; None is the model's own.
        early: an earlier frame that is answered at besides the last; None is none.
    """

    frames: Tensor
    targets: Tensor
    length: int | None = None
    early: int | None = None


class ClipLoss(nn.Module):
    """A model with its losses: the module that data-parallel engines wrap.

    The losses are sums, over positives or over clips of actions, not means: divided once, by the number in
    all clips of a step on all processes, they are what one large batch would give, however it is cut up.

    Args:
        model: with a detector, an action head, or both.
        early: weight of an action's loss at an earlier frame.
        teacher: shows the detector what to say besides the boxes; needs clips whole, from their first frame.
    """

    def __init__(self, model: VideoModel, early: float = 0.3, teacher: Teacher | None = None) -> None:
        super().__init__()
        self.model, self.early, self.teacher = model, early, teacher

    def forward(
        self,
        batch: Batch | ActionBatch,
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
            batch: frames as normalised floats. Those of actions go through the model at once.
            use_l1: add the L1 loss on the box logits.
            form: see above.
            memory: of the frames before; None starts the clips.
            seed: decides which paths are dropped, whatever was drawn before.

        Returns:
            total: sum of the losses over frames and positives, or over clips of actions, with gradient.
            parts: the same sums without gradient: (6,) `PARTS`, then the number of positives; or (3,)
                `ACTION_PARTS`, not weighted, then the number of clips.
            memory: after the last frame.
        """
        if isinstance(batch, ActionBatch):
            torch.manual_seed(seed)
            return self._actions(batch)
        totals, parts = [], []
        for piece in pieces(batch, form):
            torch.manual_seed(seed)
            stages, memory = self.model.encoder(piece.frames, memory)
            total, sums = self._losses(stages, piece, use_l1)
            totals.append(total)
            parts.append(sums)
        assert memory is not None
        return torch.stack(totals).sum(), torch.stack(parts).sum(0), memory

    def _actions(self, batch: ActionBatch) -> tuple[Tensor, Tensor, StreamMemory]:
        """The sums over clips of actions."""
        encoder, (clips, frames) = self.model.config.encoder, batch.frames.shape[:2]
        length = min(batch.length or encoder.memory, encoder.memory)
        logits, memory = self.model.classify(
            batch.frames,
            StreamMemory.for_model(encoder, length),
            window_lengths=None if batch.length is None else [batch.length] * clips,
            at=[frames - 1] if batch.early is None else [batch.early, frames - 1],
        )
        losses = action_loss(logits, batch.targets, label_smoothing=0.0, auxiliary=self.early)
        sums = [losses["last"].detach() * clips, losses["early"].detach() * clips]
        return losses["total"] * clips, torch.stack([*sums, torch.full_like(sums[0], clips)]), memory

    def _losses(self, stages: list[Tensor], piece: Batch, use_l1: bool) -> tuple[Tensor, Tensor]:
        """The sums over a piece: total with gradient, and `PARTS` and positives without."""
        model = self.model
        assert model.pyramid is not None
        assert model.detector is not None
        maps = model.detector(model.pyramid(stages))
        losses = detection_loss(maps, piece.targets, use_l1, piece.ignore, model.strides)
        # The losses come divided by this.
        count = losses["positives"].clamp(min=1).float()
        if self.teacher is not None:
            losses["teacher"] = self.teacher.loss(piece.frames, stages, maps) / count
            losses["total"] = losses["total"] + losses["teacher"]
        zero = torch.zeros_like(count)
        sums = [losses.get(name, zero).detach() * count for name in PARTS]
        return losses["total"] * count, torch.stack([*sums, losses["positives"].float()])


def pieces(batch: Batch, form: Form) -> list[Batch]:
    """What goes through the model one after the other: the whole clip, or its frames."""
    return [batch] if form == "clip" else [batch.frame(t) for t in range(batch.frames.shape[1])]
