"""Step, chunk and clip are one function, and the future never changes the past."""

import pytest
import torch
from tests.model.small import TOLERANCE, difference, random_frames, run, small_encoder

from svit.config import preset_names
from svit.model.memory import StreamMemory

FRAMES = 7  # with a memory of 3: four frames are evicted


@pytest.mark.parametrize("gradients", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("eviction", ["merge", "fifo"])
@pytest.mark.parametrize("name", preset_names())
def test_steps_chunks_and_clip_agree_past_eviction(name: str, eviction: str, gradients: bool) -> None:
    encoder = small_encoder(name, eviction=eviction)
    frames = random_frames(encoder, streams=2, frames=FRAMES)
    after = random_frames(encoder, streams=2, frames=2, seed=1)
    with torch.set_grad_enabled(gradients):
        clip, memory = run(encoder, frames, chunk=FRAMES)
        next_frames, _ = encoder(after, memory)
        for chunk in (1, 2, 5):
            stages, memory = run(encoder, frames, chunk=chunk)
            assert difference(stages, clip) <= TOLERANCE
            assert difference(encoder(after, memory)[0], next_frames) <= TOLERANCE


@torch.no_grad()
def test_the_form_may_change_at_every_call() -> None:
    encoder = small_encoder()
    frames = random_frames(encoder, frames=10)
    clip, _ = encoder(frames)
    memory, start = None, 0
    for length in (1, 3, 1, 1, 2, 1, 1):
        stages, memory = encoder(frames[:, start : start + length], memory)
        assert difference(stages, [stage[:, start : start + length] for stage in clip]) <= TOLERANCE
        start += length


@torch.no_grad()
@pytest.mark.parametrize("eviction", ["merge", "fifo"])
@pytest.mark.parametrize("capacity", [1, 2, 3, FRAMES + 5])
def test_forms_agree_for_every_capacity(capacity: int, eviction: str) -> None:
    encoder = small_encoder("base")
    frames = random_frames(encoder, frames=FRAMES)
    clip, _ = encoder(frames, StreamMemory(capacity, eviction))
    for chunk in (1, 3):
        stages, memory = run(encoder, frames, StreamMemory(capacity, eviction), chunk)
        assert difference(stages, clip) <= TOLERANCE
        assert memory.frames_seen == FRAMES


@torch.no_grad()
def test_a_clip_much_longer_than_its_memory_agrees_with_steps() -> None:
    # Late frames see only the last of some hundred keys: whole blocks of an attention kernel are masked.
    encoder = small_encoder(window=8)
    frames = random_frames(encoder, frames=100, grid=(8, 8))
    clip, _ = encoder(frames, StreamMemory(2))
    steps, _ = run(encoder, frames, StreamMemory(2))
    assert difference(clip, steps) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("changed", [1, 4, FRAMES - 1])
def test_future_frames_change_no_past_output(changed: int) -> None:
    encoder = small_encoder()
    frames = random_frames(encoder, frames=FRAMES)
    other = frames.clone()
    other[:, changed:] = random_frames(encoder, frames=FRAMES - changed, seed=1)
    for before, after in zip(encoder(frames)[0], encoder(other)[0], strict=True):
        assert torch.equal(before[:, :changed], after[:, :changed])
        assert not torch.equal(before[:, changed], after[:, changed])


def test_no_gradient_flows_from_a_past_output_to_a_future_frame() -> None:
    encoder = small_encoder(memory_gradient=True)
    frames = random_frames(encoder, frames=FRAMES).requires_grad_()
    stages, _ = encoder(frames)
    sum(stage[:, 3].square().sum() for stage in stages).backward()
    assert frames.grad is not None
    per_frame = frames.grad.abs().amax(dim=(0, 2, 3, 4))
    assert bool((per_frame[:4] > 0).all())
    assert bool((per_frame[4:] == 0).all())


@torch.no_grad()
def test_the_past_matters() -> None:
    # Without this, the tests above would pass on an encoder that forgets everything.
    encoder = small_encoder()
    frames = random_frames(encoder, frames=FRAMES)
    clip, _ = encoder(frames)
    alone, _ = encoder(frames[:, -1:])
    assert difference([stage[:, -1:] for stage in clip], alone) > 100 * TOLERANCE


@torch.no_grad()
def test_the_order_of_remembered_frames_does_not_matter() -> None:
    # One block: the keys of deeper ones depend on what their own frame remembered.
    encoder = small_encoder(depth=1, residual_blocks=(), outputs=(0,), window=3, memory=4)
    frames = random_frames(encoder, frames=4)
    (forward,), _ = encoder(frames)
    (shuffled,), _ = encoder(frames[:, [2, 1, 0, 3]])
    assert difference([forward[:, 3]], [shuffled[:, 3]]) <= TOLERANCE


@torch.no_grad()
def test_without_temporal_attention_frames_are_independent() -> None:
    encoder = small_encoder(temporal=False)
    frames = random_frames(encoder, frames=3)
    stages, memory = encoder(frames)
    alone = [encoder(frame)[0] for frame in frames.split(1, dim=1)]
    assert difference(stages, [torch.cat(stage, dim=1) for stage in zip(*alone, strict=True)]) <= TOLERANCE
    assert memory.nbytes == 0
