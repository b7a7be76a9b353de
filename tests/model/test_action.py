"""Action logits: step, chunk and clip are one function, streams stay apart, the future changes nothing."""

import numpy as np
import pytest
import torch
from tests.model.action_models import (
    DECODERS,
    FRAMES,
    NAMES,
    OVER_TOKENS,
    WINDOW,
    action_model,
    apart,
    logits_of,
    scenes,
)
from tests.model.small import TOLERANCE, difference, random_frames

from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel

HEADS = [
    *((decoder, "mean") for decoder in DECODERS),
    *(
        (decoder, token)
        for decoder in ("bidirectional", "causal")
        for token in ("cls", "attention", "change")
    ),
]


# --- one function, three forms ---


@pytest.mark.parametrize("gradients", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(("decoder", "token"), HEADS)
def test_steps_chunks_and_clip_agree_past_window_and_memory(
    decoder: str, token: str, gradients: bool
) -> None:
    model = action_model(decoder, token)
    frames, after = scenes(model, streams=2), scenes(model, streams=2, frames=2, seed=1)
    with torch.set_grad_enabled(gradients):
        clip, memory = logits_of(model, frames, FRAMES)
        assert clip.shape == (2, FRAMES, len(NAMES))
        next_logits, _ = model.classify(after, memory)
        for chunk in (1, 3):
            logits, memory = logits_of(model, frames, chunk)
            assert apart(logits, clip) <= TOLERANCE
            assert apart(model.classify(after, memory)[0], next_logits) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("eviction", ["merge", "fifo"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_clip_of_16_says_at_its_end_what_16_steps_say(decoder: str, eviction: str) -> None:
    model = action_model(decoder, action__window=16, encoder__memory=8, encoder__eviction=eviction)
    frames = scenes(model, frames=16)
    clip, _ = model.classify(frames, at=[-1])
    steps, _ = logits_of(model, frames, 1)
    assert apart(clip[:, 0], steps[:, -1]) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_past_matters_as_far_as_it_is_remembered(decoder: str) -> None:
    # Without this, the tests above would pass on a head that looks at the present frame alone.
    model = action_model(decoder, encoder__temporal=decoder == "patch_query")
    frames = scenes(model)
    other = frames.clone()
    other[:, 2] = scenes(model, frames=1, seed=5)[:, 0]
    changed = (model.classify(frames)[0] - model.classify(other)[0]).abs().amax((0, 2))
    assert not bool((changed[:2] > 0).any())
    assert bool((changed[2 : 2 + WINDOW] > 100 * TOLERANCE).all())
    if decoder in ("bidirectional", "mean"):
        assert not bool((changed[2 + WINDOW :] > 0).any())


# --- nobody sees what is not theirs ---


@torch.no_grad()
@pytest.mark.parametrize("changed", [1, FRAMES - 1])
@pytest.mark.parametrize(("decoder", "token"), HEADS)
def test_the_future_never_changes_the_past(decoder: str, token: str, changed: int) -> None:
    model = action_model(decoder, token)
    frames = scenes(model)
    other = frames.clone()
    other[:, changed:] = scenes(model, frames=FRAMES - changed, seed=1)
    before, after = model.classify(frames)[0], model.classify(other)[0]
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert not torch.equal(before[:, changed], after[:, changed])


@pytest.mark.parametrize("decoder", DECODERS)
def test_no_gradient_flows_from_a_past_answer_to_a_future_frame(decoder: str) -> None:
    model = action_model(decoder, encoder__memory_gradient=True)
    frames = scenes(model).requires_grad_()
    model.classify(frames)[0][:, 3].square().sum().backward()
    assert frames.grad is not None
    per_frame = frames.grad.abs().amax(dim=(0, 2, 3, 4))
    assert bool((per_frame[:4] > 0).all())
    assert bool((per_frame[4:] == 0).all())


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_batch_of_streams_equals_separate_runs(decoder: str, chunk: int) -> None:
    model = action_model(decoder)
    frames = scenes(model, streams=3)
    together, _ = logits_of(model, frames, chunk)
    for b in range(3):
        assert apart(together[b : b + 1], logits_of(model, frames[b : b + 1], chunk)[0]) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("decoder", DECODERS)
def test_two_interleaved_streams_never_mix(decoder: str) -> None:
    model = action_model(decoder)
    videos = [scenes(model, seed=seed) for seed in (1, 2)]
    expected = [logits_of(model, video, 1)[0] for video in videos]
    memories: list[StreamMemory | None] = [None, None]
    for t in range(FRAMES):
        for i, video in enumerate(videos):
            logits, memories[i] = model.classify(video[:, t : t + 1], memories[i])
            assert torch.equal(logits, expected[i][:, t : t + 1])


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("ages", [(1, 2), (2, 7), (5, 1, 3)])
@pytest.mark.parametrize("decoder", DECODERS)
def test_stacked_streams_of_any_age_go_on_like_separate_ones(
    decoder: str, ages: tuple[int, ...], chunk: int
) -> None:
    model = action_model(decoder)
    memories = [logits_of(model, scenes(model, frames=age, seed=age), 1)[1].clone() for age in ages]
    frames = scenes(model, streams=len(ages), frames=4, seed=9)
    together, last = logits_of(model, frames, chunk, StreamMemory.stack(memories))
    after = scenes(model, frames=1, seed=10)
    for i, (memory, own) in enumerate(zip(memories, last.unstack(), strict=True)):
        alone, separate = logits_of(model, frames[i : i + 1], 1, memory)
        assert apart(together[i : i + 1], alone) <= TOLERANCE
        assert apart(model.classify(after, own)[0], model.classify(after, separate)[0]) <= TOLERANCE


# --- what a window holds ---


def lone(decoder: str, token: str = "mean", **overrides: object) -> VideoModel:
    """A model whose frame tokens and keys depend on their frame alone, so a window can be made by hand."""
    one = {
        "encoder__depth": 1,
        "encoder__residual_blocks": (),
        "encoder__outputs": (0,),
        "encoder__window": 3,
    }
    one |= {"encoder__memory": 20, "action__depth": 1, "encoder__temporal": decoder == "patch_query"}
    return action_model(decoder, token, **{**one, **overrides})


@torch.no_grad()
@pytest.mark.parametrize("token", ["mean", "cls", "attention"])
@pytest.mark.parametrize("decoder", OVER_TOKENS)
def test_an_answer_is_that_of_the_last_frames_alone(decoder: str, token: str) -> None:
    """However full the window was before: positions count from the newest."""
    model = lone(decoder, token)
    frames = scenes(model)
    logits, _ = model.classify(frames)
    for t in range(FRAMES):
        alone, _ = model.classify(frames[:, max(0, t + 1 - WINDOW) : t + 1])
        assert apart(logits[:, t], alone[:, -1]) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("decoder", OVER_TOKENS)
def test_frames_that_are_not_sampled_stay_out_of_the_window(decoder: str, chunk: int) -> None:
    model = lone(decoder)
    frames = scenes(model, streams=2)
    sampled = torch.tensor([[1, 0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 0, 0, 0]]).bool()
    logits, memory = logits_of(model, frames, chunk, sampled=sampled)
    assert memory.ages == (FRAMES, FRAMES)
    assert memory.window is not None
    assert memory.window.counts == (WINDOW, WINDOW)
    for b in range(2):
        for t in range(FRAMES):
            seen = [i for i in range(t + 1) if sampled[b, i]][-WINDOW:]
            assert apart(logits[b, t], model.classify(frames[b : b + 1, seen])[0][0, -1]) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("decoder", OVER_TOKENS)
def test_frames_that_are_not_sampled_are_remembered_by_the_encoder(decoder: str, chunk: int) -> None:
    model = action_model(decoder)
    frames = scenes(model, streams=2)
    sampled = torch.arange(FRAMES).remainder(3).eq(0).expand(2, -1)
    clip, _ = model.classify(frames, sampled=sampled)
    assert apart(logits_of(model, frames, chunk, sampled=sampled)[0], clip) <= TOLERANCE
    skipped, _ = model.classify(frames[:, sampled[0]])
    assert apart(clip[:, sampled[0]], skipped) > 100 * TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_cut_window_answers_as_a_stream_that_has_seen_no_more(decoder: str) -> None:
    model = lone(decoder, action__window=16)
    frames = scenes(model, streams=3)
    logits, memory = model.classify(frames, window_lengths=torch.tensor([1, 4, 16]))
    for b, length in enumerate((1, 4, 16)):
        for t in range(FRAMES):
            alone, _ = model.classify(frames[b : b + 1, max(0, t + 1 - length) : t + 1])
            assert apart(logits[b : b + 1, t], alone[:, -1]) <= TOLERANCE
    whole = model.classify(frames)[1]
    after = scenes(model, streams=3, frames=1, seed=3)
    assert apart(model.classify(after, memory)[0], model.classify(after, whole)[0]) == 0


@torch.no_grad()
def test_a_cut_causal_window_is_a_smaller_window_in_every_layer() -> None:
    wide, narrow = action_model("causal", action__window=8), action_model("causal", action__window=2)
    weights = wide.state_dict()
    narrow.load_state_dict({k: x[:2] if k.endswith("_ages") else x for k, x in weights.items()})
    frames = scenes(wide)
    assert apart(wide.classify(frames, window_lengths=[2])[0], narrow.classify(frames)[0]) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("decoder", DECODERS)
def test_answers_are_asked_for_by_number(decoder: str) -> None:
    model = action_model(decoder)
    frames = scenes(model, streams=2)
    every, after_every = model.classify(frames)
    some, after_some = model.classify(frames, at=[3, -1])
    assert apart(some, every[:, [3, FRAMES - 1]]) <= TOLERANCE
    after = scenes(model, streams=2, frames=1, seed=2)
    assert apart(model.classify(after, after_some)[0], model.classify(after, after_every)[0]) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("decoder", OVER_TOKENS)
def test_only_the_mean_is_blind_to_order(decoder: str) -> None:
    model = lone(decoder)
    frames = scenes(model, frames=WINDOW)
    backward = model.classify(frames.flip(1))[0][:, -1]
    changed = apart(model.classify(frames)[0][:, -1], backward)
    assert changed <= TOLERANCE if decoder == "mean" else changed > 100 * TOLERANCE


# --- both tasks ---


@torch.no_grad()
@pytest.mark.parametrize("token", ["mean", "cls"])
@pytest.mark.parametrize("decoder", ["bidirectional", "patch_query"])
def test_one_pass_does_what_each_task_does_alone(decoder: str, token: str) -> None:
    token = "mean" if decoder == "patch_query" else token
    model = action_model(decoder, token, detector={"width": 8, "csp_blocks": 1})
    frames = random_frames(model.encoder, streams=2, frames=5, grid=(6, 8))
    passes = []
    model.encoder.register_forward_pre_hook(lambda *_: passes.append(1))
    for block in model.encoder.blocks[:1]:
        block.register_forward_pre_hook(lambda *_: passes.append(1))
    seen, memory = model.perceive(frames)
    assert len(passes) == 1
    detections, _ = model.detect(frames)
    logits, _ = model.classify(frames)
    assert seen.logits is not None
    assert seen.detections is not None
    assert apart(seen.logits, logits) == 0
    for ours, theirs in zip(seen.detections, detections, strict=True):
        # With patch_query the frames attend all at once, without it one by one: they agree to rounding.
        rounding = 1e-3 if decoder == "patch_query" else 0
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine.xyxy, other.xyxy, rtol=0, atol=rounding)
    assert memory.window is None if decoder == "patch_query" else memory.window is not None


@torch.no_grad()
def test_a_head_changes_no_number_of_the_detector() -> None:
    plain = action_model(detector={"width": 8, "csp_blocks": 1}, seed=3)
    config = plain.config.model_copy(update={"action": None})
    without = VideoModel(config).eval()
    without.load_state_dict({k: x for k, x in plain.state_dict().items() if not k.startswith("action.")})
    frames = random_frames(plain.encoder, frames=4, grid=(6, 8))
    left, right = (model.head_maps(frames)[0] for model in (plain, without))
    for a, b in zip(left, right, strict=True):
        assert difference(list(a.values()), list(b.values())) == 0


@torch.no_grad()
def test_detecting_leaves_the_window_as_it_is() -> None:
    model = action_model(detector={"width": 8, "csp_blocks": 1})
    frames = random_frames(model.encoder, frames=3, grid=(6, 8))
    _, memory = model.classify(frames)
    _, after = model.detect(frames, memory)
    assert after.window is memory.window
    assert after.ages == (6,)


# --- training ---


@pytest.mark.parametrize(("decoder", "token"), HEADS)
def test_saved_activations_change_neither_logits_nor_gradients(decoder: str, token: str) -> None:
    model = action_model(decoder, token, encoder__memory_gradient=True, encoder__drop_path=0.5).train()
    frames = scenes(model, streams=2)
    results = []
    for model.encoder.checkpointing in (False, True):
        torch.manual_seed(1)
        logits, _ = model.classify(frames)
        logits.square().sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append((logits, gradients))
        model.zero_grad(set_to_none=True)
    (plain, expected), (saving, found) = results
    assert apart(plain, saving) == 0
    assert len(found) == len(expected) > 30
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * max(1.0, float(b.abs().max())), rtol=0)


@pytest.mark.parametrize(("decoder", "token"), HEADS)
def test_every_parameter_of_the_head_learns(decoder: str, token: str) -> None:
    model = action_model(decoder, token).train()
    model.classify(scenes(model, streams=2))[0].square().sum().backward()
    assert model.action is not None
    still = [name for name, p in model.action.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in still if not name.endswith("qkv.bias")] == []
    if token == "cls":
        for parameter in (model.encoder.class_token, model.encoder.class_position):
            assert parameter is not None
            assert parameter.grad is not None
            assert bool(parameter.grad.any())


def test_dropout_and_stochastic_depth_are_used() -> None:
    for setting in ("dropout", "head_dropout", "drop_path"):
        for decoder in DECODERS:
            model = action_model(decoder, **{f"action__{setting}": 0.5})
            frames = scenes(model, streams=4, frames=2)
            evaluated, _ = model.classify(frames)
            if setting == "drop_path" and decoder == "mean":
                continue  # one layer: its rate is that of the first, 0
            assert apart(evaluated, model.train().classify(frames)[0]) > 100 * TOLERANCE


def test_a_window_can_be_cut_off_from_the_gradient() -> None:
    model = action_model()
    first = scenes(model, frames=2).requires_grad_()
    _, memory = model.classify(first)
    model.classify(scenes(model, frames=1, seed=1), memory.detach())[0].sum().backward()
    assert first.grad is None
    model.classify(scenes(model, frames=1, seed=1), memory)[0].sum().backward()
    assert first.grad is not None
