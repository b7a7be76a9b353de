"""The encoder computes what the textbook reference computes, and refuses what it cannot encode."""

from typing import Any

import pytest
import torch
from benchmarks.reference import ReferenceEncoder
from tests.model.small import TOLERANCE, difference, random_frames, run, small_encoder

from svit.config import preset_names
from svit.errors import UsageError
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory

STRUCTURES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "padding right and below": ({"window": 3}, (4, 5)),
    "no padding": ({"window": 3}, (3, 6)),
    "window larger than the grid": ({"window": 6}, (4, 5)),
    "whole grid": ({"window": 0}, (4, 5)),
    "windows of several sizes": ({"window": (2, 0, 5, 3)}, (4, 5)),
    "one token": ({"window": 2}, (1, 1)),
    "one head": ({"heads": 1, "width": 12}, (4, 5)),
    "other patch": ({"patch": 7}, (4, 5)),
    "convolutional stem": ({"stem": "conv", "patch": 8}, (4, 5)),
    "position grid of the frame's size": ({"position_grid": 4}, (4, 4)),
    "no residual blocks": ({"residual_blocks": ()}, (4, 5)),
    "two outputs": ({"outputs": (0, 2)}, (4, 5)),
    "no temporal attention": ({"temporal": False}, (4, 5)),
    "capacity 1": ({"memory": 1}, (4, 5)),
    "capacity 2": ({"memory": 2}, (4, 5)),
    "first in, first out": ({"eviction": "fifo"}, (4, 5)),
}


def assert_equals_reference(encoder: Encoder, grid: tuple[int, int]) -> None:
    """Seven frames: past eviction for the memory of three that small encoders have."""
    frames = random_frames(encoder, frames=7, grid=grid)
    with torch.no_grad():
        stages, _ = run(encoder, frames)
    reference = ReferenceEncoder(encoder)
    expected = [reference.step(frame) for frame in frames[0]]
    joined = [torch.stack(stage)[None] for stage in zip(*expected, strict=True)]
    assert difference(stages, joined) <= TOLERANCE


@pytest.mark.parametrize("structure", STRUCTURES)
def test_structure_equals_the_reference(structure: str) -> None:
    overrides, grid = STRUCTURES[structure]
    assert_equals_reference(small_encoder("base", **overrides), grid)


@pytest.mark.parametrize("name", preset_names())
def test_preset_equals_the_reference(name: str) -> None:
    assert_equals_reference(small_encoder(name), (4, 5))


@torch.no_grad()
def test_stages_are_maps_of_the_configured_blocks_in_order() -> None:
    encoder = small_encoder("base", outputs=(0, 2, 3))
    stages, memory = encoder(random_frames(encoder, streams=2, frames=3, grid=(4, 5)))
    assert [stage.shape for stage in stages] == [(2, 3, encoder.config.width, 4, 5)] * 3
    assert memory.frames_seen == 3


@torch.no_grad()
def test_a_call_leaves_frames_and_weights_as_they_were() -> None:
    encoder = small_encoder()
    frames = random_frames(encoder, frames=2)
    before, weights = frames.clone(), {k: v.clone() for k, v in encoder.state_dict().items()}
    run(encoder, frames)
    assert torch.equal(frames, before)
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(1, 3, 32, 32), "streams, frames, 3"),
        (torch.zeros(1, 1, 1, 32, 32), "streams, frames, 3"),
        (torch.zeros(1, 1, 4, 32, 32), "streams, frames, 3"),
        (torch.zeros(1, 0, 3, 32, 32), "streams, frames, 3"),
        (torch.zeros(1, 1, 3, 0, 32), "streams, frames, 3"),
        (torch.zeros(1, 1, 3, 32, 32, dtype=torch.uint8), "normalised floats"),
        (torch.zeros(1, 1, 3, 32, 40), "multiples of 16"),
    ],
    ids=["no time", "grey", "RGBA", "no frames", "empty", "uint8", "odd size"],
)
def test_unusable_frames_are_refused_in_one_line(frames: torch.Tensor, message: str) -> None:
    encoder = small_encoder()
    with pytest.raises(UsageError, match=message) as error:
        encoder(frames, StreamMemory(2))
    assert "\n" not in str(error.value)
