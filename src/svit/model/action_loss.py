"""The loss of action recognition: cross entropy with soft targets, and an auxiliary term for early answers.

Shapes: B clips, R frames that were asked for, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from svit.errors import UsageError


def action_loss(
    logits: Tensor, targets: Tensor, label_smoothing: float = 0.1, auxiliary: float = 0.3
) -> dict[str, Tensor]:
    """Cross entropy at the last frame that was asked for, and at the earlier ones with a smaller weight.

    The mean over clips, in fp32 also under autocast. With `model.classify(clip, at=[early, -1])` the earlier
    term is that of one early frame, so that a stream's first answers are worth something.

    Args:
        logits: (B, R, K), frames in rising order.
        targets: (B,) class numbers, or (B, K) shares of the classes that sum to 1, as mixup and cutmix give.
        label_smoothing: share of every target that is spread evenly over all classes (Szegedy et al. 2016,
            arXiv 1512.00567), 0..1.
        auxiliary: weight of the mean loss at the R - 1 earlier frames.

    Returns:
        Scalars `last`, `early` (0 if R is 1) and `total` = last + auxiliary * early, with gradient.

    Raises:
        UsageError: targets of another shape, class numbers out of range, shares that are negative or do not
            sum to 1, a smoothing outside 0..1.
    """
    _check(logits, targets, label_smoothing)
    with torch.autocast(logits.device.type, enabled=False):
        shares = targets.float() if targets.ndim == 2 else F.one_hot(targets, logits.shape[-1]).float()
        shares = shares * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
        by_frame = -(shares[:, None] * logits.float().log_softmax(-1)).sum(-1).mean(0)  # (R,)
        last = by_frame[-1]
        early = by_frame[:-1].mean() if len(by_frame) > 1 else torch.zeros_like(last)
        return {"last": last, "early": early, "total": last + auxiliary * early}


def _check(logits: Tensor, targets: Tensor, label_smoothing: float) -> None:
    if logits.ndim != 3 or 0 in logits.shape:
        raise UsageError(f"action_loss: logits must be (clips, frames, classes), got {tuple(logits.shape)}")
    clips, _, classes = logits.shape
    if not 0 <= label_smoothing <= 1:
        raise UsageError(f"action_loss: label_smoothing must be 0..1, got {label_smoothing}")
    if tuple(targets.shape) not in ((clips,), (clips, classes)):
        raise UsageError(
            f"action_loss: targets must be ({clips},) or ({clips}, {classes}), got {tuple(targets.shape)}"
        )
    if targets.ndim == 1:
        if targets.is_floating_point() or bool(((targets < 0) | (targets >= classes)).any()):
            raise UsageError(f"action_loss: targets must be whole class numbers in 0..{classes - 1}")
    elif bool((targets < 0).any()) or bool(((targets.float().sum(-1) - 1).abs() > 1e-3).any()):
        raise UsageError("action_loss: shares of classes must be 0 or more and sum to 1 for each clip")
