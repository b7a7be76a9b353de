"""Mixup and CutMix of a batch of clips, and soft targets: on the device, after the workers.

As timm does it in its `batch` mode: one draw for the batch, and the partner of clip b is clip B - 1 - b.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from svit.data.actions.settings import MixConfig


class Mix(NamedTuple):
    """What is drawn for a batch.

    Attributes:
        share: of the clip itself; 1 - share is its partner's.
        box: top, left, bottom, right of the partner's part, pixels; None for mixup, all over.
    """

    share: float
    box: tuple[int, int, int, int] | None


def draw_mix(config: MixConfig, height: int, width: int, rng: np.random.Generator) -> Mix:
    """Draws how a batch is mixed; share 1 is not at all.

    A CutMix rectangle has the pictures' shape and may reach beyond: what is seen of it makes the share.
    """
    cuts = config.cutmix > 0 and (config.mixup == 0 or rng.random() < config.switch)
    alpha = config.cutmix if cuts else config.mixup
    if alpha == 0 or rng.random() >= config.probability:
        return Mix(1.0, None)
    share = float(rng.beta(alpha, alpha))
    if not cuts:
        return Mix(share, None)
    side = np.sqrt(1 - share)
    high, wide = int(height * side), int(width * side)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = np.clip((y - high // 2, y + high // 2), 0, height).tolist()
    left, right = np.clip((x - wide // 2, x + wide // 2), 0, width).tolist()
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, left, bottom, right))


def mix_batch(
    frames_BT3YX: Tensor, labels_B: Tensor, classes: int, config: MixConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mixes each clip with another of the batch, all frames alike.

    For the same mix on a run that is resumed, make `rng` from seed and step.

    Args:
        frames_BT3YX: (B, T, 3, height, width), floating point, on any device; not changed.
        labels_B: (B,) classes from 0; negative is none: all its targets are 0.
        classes: how many there are.
        config: see `MixConfig`.
        rng: drawn from.

    Returns:
        Mixed frames, and targets (B, classes) float32 on the frames' device, each row's sum 1.
    """
    mix = draw_mix(config, frames_BT3YX.shape[-2], frames_BT3YX.shape[-1], rng)
    targets = soft_targets(labels_B.to(frames_BT3YX.device), classes, config.smoothing)
    if mix.share == 1.0:
        return frames_BT3YX, targets
    partners = frames_BT3YX.flip(0)
    if mix.box is None:
        mixed = torch.lerp(partners, frames_BT3YX, mix.share)
    else:
        top, left, bottom, right = mix.box
        mixed = frames_BT3YX.clone()
        mixed[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
    return mixed, torch.lerp(targets.flip(0), targets, mix.share)


def soft_targets(labels_B: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Labels as probabilities: (B, classes) float32, `smoothing` of each row spread over all classes."""
    one_hot = F.one_hot(labels_B.clamp(min=0), classes).float()
    smooth = one_hot * (1 - smoothing) + smoothing / classes
    return smooth * (labels_B >= 0).float().unsqueeze(1)
