"""Training: what gradients flow where, and that saving activations changes none of them."""

import pytest
import torch
from tests.model.small import difference, random_frames, run, small_encoder
from torch import Tensor

from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory

FRAMES = 6  # with a memory of 3: three frames are evicted


def loss_of(stages: list[Tensor]) -> Tensor:
    """A loss in which every output counts differently (the plain sum of a norm's output is a constant)."""
    generator = torch.Generator().manual_seed(1)
    return sum((torch.randn(stage.shape, generator=generator) * stage.square()).sum() for stage in stages)


def gradients(encoder: Encoder) -> list[Tensor]:
    """Every parameter's gradient, then forgotten; all must have one."""
    found = [parameter.grad for parameter in encoder.parameters()]
    encoder.zero_grad(set_to_none=True)
    assert all(gradient is not None for gradient in found)
    return [gradient for gradient in found if gradient is not None]


def assert_close(left: list[Tensor], right: list[Tensor]) -> None:
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * max(1.0, float(b.abs().max())), rtol=0)


def memory_after(encoder: Encoder, frames: int, streams: int = 2) -> StreamMemory:
    """A memory made by streaming without gradients."""
    with torch.no_grad():
        return run(encoder, random_frames(encoder, streams=streams, frames=frames, seed=7))[1]


def train_in_chunks(
    encoder: Encoder, frames: Tensor, memory: StreamMemory | None, chunk: int
) -> list[Tensor]:
    """One backward pass over the whole clip, computed `chunk` frames at a time."""
    stages, _ = run(encoder, frames, memory, chunk)
    loss_of(stages).backward()
    return gradients(encoder)


@pytest.mark.parametrize("seen", [0, 5])
@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("memory_gradient", [False, True])
@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_activation_checkpointing_changes_neither_outputs_nor_gradients(
    drop_path: float, memory_gradient: bool, chunk: int, seen: int
) -> None:
    encoder = small_encoder("base", drop_path=drop_path, memory_gradient=memory_gradient).train()
    frames = random_frames(encoder, streams=2, frames=FRAMES)
    memory = memory_after(encoder, seen) if seen else None
    results = []
    for encoder.checkpointing in (False, True):
        torch.manual_seed(3)
        stages, after = run(encoder, frames, memory, chunk)
        loss_of(stages).backward()
        results.append((stages, gradients(encoder), after))
    (plain, plain_gradients, _), (saving, saving_gradients, _) = results
    assert difference(plain, saving) == 0
    assert_close(saving_gradients, plain_gradients)
    assert results[0][2].frames_seen == results[1][2].frames_seen == seen + FRAMES


def test_checkpointing_recomputes_the_blocks_in_the_backward_pass() -> None:
    # Without this, the test above would pass on an encoder that ignores the setting.
    encoder = small_encoder("base")
    encoder.checkpointing = True
    calls: list[object] = []
    encoder.blocks[0].register_forward_pre_hook(lambda module, _: calls.append(module))
    stages, _ = encoder(random_frames(encoder, frames=2))
    assert len(calls) == 1
    loss_of(stages).backward()
    assert len(calls) == 2


def test_streaming_on_before_the_backward_pass_changes_no_gradient() -> None:
    encoder = small_encoder("base")
    frames = random_frames(encoder, streams=2, frames=2)
    results = []
    for encoder.checkpointing in (False, True):
        memory = memory_after(encoder, 5)
        stages, _ = encoder(frames[:, :1], memory)
        with torch.no_grad():
            encoder(frames[:, 1:], memory)
        loss_of(stages).backward()
        results.append(gradients(encoder))
    assert_close(results[1], results[0])


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("memory_gradient", [False, True])
def test_streaming_on_after_a_clip_before_its_backward_pass_changes_no_gradient(
    memory_gradient: bool, detached: bool
) -> None:
    encoder = small_encoder("base", memory_gradient=memory_gradient)
    frames = random_frames(encoder, streams=2, frames=3)  # as many as the memory holds: none is evicted
    results = []
    for streams_on in (False, True):
        stages, memory = encoder(frames[:, :2])
        if streams_on:
            with torch.no_grad():
                memory = memory.detach() if detached else memory
                for _ in range(3):
                    _, memory = encoder(frames[:, 2:], memory)
        loss_of(stages).backward()
        results.append(gradients(encoder))
    assert_close(results[1], results[0])


def test_stochastic_depth_drops_something() -> None:
    # Without this, the test above with drop path could pass on an encoder that ignores the setting.
    encoder = small_encoder("base", drop_path=0.5)
    frames = random_frames(encoder, streams=4)
    evaluated, _ = encoder(frames)
    trained, _ = encoder.train()(frames)
    assert difference(evaluated, trained) > 0.01


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("seen", [0, 5])
@pytest.mark.parametrize("memory_gradient", [False, True])
@pytest.mark.parametrize("preset", ["tiny", "base"])  # one with batch norms in its stem
def test_a_clip_at_once_trains_like_frame_by_frame(
    preset: str, memory_gradient: bool, seen: int, chunk: int
) -> None:
    encoder = small_encoder(preset, memory_gradient=memory_gradient).train()
    frames = random_frames(encoder, streams=2, frames=FRAMES)
    memory = memory_after(encoder, seen) if seen else None
    expected = train_in_chunks(encoder, frames, memory, FRAMES)
    assert_close(train_in_chunks(encoder, frames, memory, chunk), expected)


def test_gradient_through_the_memory_is_the_true_derivative() -> None:
    encoder = small_encoder("base", memory_gradient=True, position_grid=4).double()
    frames = random_frames(encoder, frames=FRAMES, grid=(4, 4)).double()
    directions = [torch.randn_like(parameter) for parameter in encoder.parameters()]
    loss_of(encoder(frames)[0]).backward()
    slope = sum(float((g * d).sum()) for g, d in zip(gradients(encoder), directions, strict=True))

    @torch.no_grad()
    def moved(step: float) -> float:
        for parameter, direction in zip(encoder.parameters(), directions, strict=True):
            parameter.add_(direction, alpha=step)
        return float(loss_of(encoder(frames)[0]))

    epsilon = 1e-6
    ahead, behind = moved(epsilon), moved(-2 * epsilon)
    assert (ahead - behind) / (2 * epsilon) == pytest.approx(slope, rel=1e-5)


def reach(encoder: Encoder, chunk: int) -> Tensor:
    """How strongly the last frame's outputs depend on each frame, by gradient: (T,)."""
    frames = random_frames(encoder, frames=FRAMES).requires_grad_()
    stages, _ = run(encoder, frames, chunk=chunk)
    loss_of([stage[:, -1] for stage in stages]).backward()
    assert frames.grad is not None
    return frames.grad.abs().amax(dim=(0, 2, 3, 4))


@pytest.mark.parametrize("chunk", [1, FRAMES])
@pytest.mark.parametrize("eviction", ["merge", "fifo"])
def test_detached_memory_lets_no_gradient_reach_earlier_frames(eviction: str, chunk: int) -> None:
    strength = reach(small_encoder(eviction=eviction, memory_gradient=False), chunk)
    assert bool((strength[:-1] == 0).all())
    assert strength[-1] > 0


@pytest.mark.parametrize("chunk", [1, FRAMES])
def test_memory_with_gradient_reaches_every_remembered_frame(chunk: int) -> None:
    assert bool((reach(small_encoder(memory_gradient=True), chunk) > 0).all())


@pytest.mark.parametrize("chunk", [1, FRAMES])
@pytest.mark.parametrize(("eviction", "reached"), [("merge", 6), ("fifo", 2)])
def test_a_gradient_reaches_as_far_as_one_blocks_memory(eviction: str, reached: int, chunk: int) -> None:
    # One block, so that nothing travels further through the memories of the frames between.
    settings = {"depth": 1, "residual_blocks": (), "outputs": (0,), "window": 3, "memory": 2}
    strength = reach(small_encoder(eviction=eviction, memory_gradient=True, **settings), chunk)
    assert (strength > 0).tolist() == [frame >= FRAMES - reached for frame in range(FRAMES)]


def test_detached_memory_trains_queries_and_scale_only() -> None:
    # As in the official model: keys and values learn from the in-frame branch alone.
    encoder = small_encoder(memory_gradient=False)
    frames = random_frames(encoder, frames=2)
    block = encoder.blocks[0].attention
    torch.nn.init.zeros_(block.out.weight)  # silences the in-frame branch of this block
    loss_of(encoder(frames)[0]).backward()
    width = encoder.config.width
    assert bool((block.qkv.weight.grad[width:] == 0).all())
    for trained in (block.query_t.weight, block.out_t.weight, block.alpha):
        assert bool((trained.grad != 0).any())


def test_a_batch_of_clips_has_the_gradient_of_its_streams() -> None:
    encoder = small_encoder("base")
    frames = random_frames(encoder, streams=3, frames=4)
    weights = [torch.randn(1, 4, encoder.config.width, 4, 5) for _ in range(3)]

    def backward(piece: Tensor) -> None:
        stages, _ = encoder(piece)
        sum((w * stage).sum() for w, stage in zip(weights, stages, strict=True)).backward()

    backward(frames)
    expected = gradients(encoder)
    for stream in frames.split(1):
        backward(stream)
    assert_close(gradients(encoder), expected)
