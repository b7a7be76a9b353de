"""The action loss is torch's cross entropy where torch has one, plus the auxiliary term."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from svit.errors import UsageError
from svit.model.action_loss import action_loss

LOGITS = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 4, 2, 2])
SHARES = torch.rand(4, 5, generator=torch.Generator().manual_seed(1)).softmax(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("targets", [LABELS, SHARES], ids=["labels", "shares"])
def test_each_term_is_the_cross_entropy_of_its_frames(targets: torch.Tensor, smoothing: float) -> None:
    losses = action_loss(LOGITS, targets, smoothing, auxiliary=0.3)
    by_frame = [F.cross_entropy(LOGITS[:, r], targets, label_smoothing=smoothing) for r in range(3)]
    torch.testing.assert_close(losses["last"], by_frame[2])
    torch.testing.assert_close(losses["early"], (by_frame[0] + by_frame[1]) / 2)
    torch.testing.assert_close(losses["total"], losses["last"] + 0.3 * losses["early"])


def test_labels_are_shares_of_one_class() -> None:
    shares = F.one_hot(LABELS, 5).float()
    assert action_loss(LOGITS, LABELS)["total"] == action_loss(LOGITS, shares)["total"]


def test_one_answer_has_no_early_term() -> None:
    losses = action_loss(LOGITS[:, -1:], LABELS)
    assert losses["early"] == 0
    assert losses["total"] == losses["last"]


def test_both_terms_train_and_half_precision_loses_nothing() -> None:
    logits = LOGITS.clone().requires_grad_()
    action_loss(logits, LABELS)["total"].backward()
    assert bool((logits.grad.abs().amax((0, 2)) > 0).all())
    with torch.autocast("cpu", torch.bfloat16):
        assert action_loss(LOGITS, LABELS)["total"].dtype == torch.float32
    large = (1000 * LOGITS).bfloat16()
    assert torch.isfinite(action_loss(large, LABELS)["total"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": LOGITS[:, 0]}, r"logits must be \(clips, frames, classes\)"),
        ({"logits": LOGITS[:, :0]}, r"logits must be \(clips, frames, classes\)"),
        ({"targets": LABELS[:3]}, r"targets must be \(4,\) or \(4, 5\), got \(3,\)"),
        ({"targets": torch.tensor([0, 1, 5, 0])}, r"whole class numbers in 0..4"),
        ({"targets": torch.tensor([0, 1, -1, 0])}, r"whole class numbers in 0..4"),
        ({"targets": LABELS.float()}, r"whole class numbers in 0..4"),
        ({"targets": 2 * SHARES}, "sum to 1"),
        ({"targets": SHARES - 0.2}, "0 or more"),
        ({"label_smoothing": 1.5}, "label_smoothing must be 0..1"),
    ],
)
def test_targets_that_do_not_fit_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        action_loss(**{"logits": LOGITS, "targets": LABELS, **changes})
    assert "\n" not in str(error.value)
