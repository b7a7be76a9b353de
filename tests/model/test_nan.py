"""Frames that are not numbers are refused; they never become boxes and never spoil a stream."""

import pytest
import torch
from tests.model.small import TOLERANCE, difference, random_frames, run, small_model

from svit.errors import UsageError, WeightsError
from svit.model.memory import StreamMemory

GRID = (6, 8)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("everywhere", [False, True], ids=["one pixel", "all"])
def test_frames_that_are_not_finite_are_refused_in_one_line(value: float, everywhere: bool) -> None:
    model = small_model()
    frames = random_frames(model.encoder, streams=2, frames=2, grid=GRID)
    frames[1, 1, ..., slice(None) if everywhere else 7] = value
    with pytest.raises(UsageError, match=r"not finite|NaN") as error:
        model.detect(frames)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(2, id="filling"),
        pytest.param(5, id="full"),
    ],
)
def test_a_stream_goes_on_after_a_refused_frame(seen: int) -> None:
    model = small_model(encoder__memory=4)
    frames = random_frames(model.encoder, frames=seen + 1, grid=GRID)
    memory = None
    for t in range(seen):
        _, memory = model.detect(frames[:, t : t + 1], memory)
    with torch.no_grad():
        expected, _ = run(model.encoder, frames, StreamMemory(4))
        with pytest.raises(UsageError):
            model.detect(torch.full_like(frames[:, :1], float("nan")), memory)
        stages, _ = model.encoder(frames[:, seen:], memory)
    assert difference(stages, [stage[:, seen:] for stage in expected]) <= TOLERANCE


@pytest.mark.parametrize("bias", [float("nan"), 200.0], ids=["not a number", "boxes that overflow"])
def test_damaged_weights_are_an_error_not_boxes(bias: float) -> None:
    model = small_model()
    for conv in (*model.detector.head.conv_reg, *model.detector.head.conv_obj):
        torch.nn.init.constant_(conv.bias, bias)
    with pytest.raises(WeightsError, match="weights") as error:
        model.detect(random_frames(model.encoder, grid=GRID))
    assert "\n" not in str(error.value)


def test_large_numbers_are_no_reason_to_refuse_a_frame() -> None:
    """Their sum is infinite, they are not."""
    model = small_model()
    frames = random_frames(model.encoder, grid=GRID)
    frames[..., :2] = 3e38
    with pytest.raises(WeightsError):  # let in; what the model makes of it is another matter
        model.detect(frames)
