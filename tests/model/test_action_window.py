"""The window of frame tokens is part of a memory: a value that is saved, batched and moved, or refused."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from tests.model.action_models import FRAMES, OVER_TOKENS, WINDOW, action_model, apart, logits_of, scenes
from torch import Tensor

from svit.errors import UsageError
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel


def after(model: VideoModel, seen: int, streams: int = 1, seed: int = 0) -> StreamMemory:
    with torch.no_grad():
        return logits_of(model, scenes(model, streams, seen, seed), 1)[1]


def goes_on(model: VideoModel, memory: StreamMemory) -> Tensor:
    """The answers at three further frames; the memory keeps its value if it is a clone."""
    with torch.no_grad():
        return logits_of(model, scenes(model, len(memory.ages), 3, seed=99), 1, memory)[0]


@pytest.mark.parametrize("seen", [1, FRAMES])
@pytest.mark.parametrize("decoder", OVER_TOKENS)
def test_the_window_survives_a_file_of_plain_tensors(decoder: str, seen: int) -> None:
    model = action_model(decoder)
    memory = after(model, seen, streams=2)
    state = memory.state_dict()
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    numbers = json.dumps({key: value for key, value in state.items() if key not in tensors})
    loaded = StreamMemory()
    loaded.load_state_dict({**load(save(tensors)), **json.loads(numbers)})
    assert loaded.nbytes <= memory.nbytes
    expected = goes_on(model, memory)
    for tensor in tensors.values():
        tensor.zero_()  # a state is a copy
    assert apart(goes_on(model, loaded), expected) == 0


def test_the_bytes_of_a_window_count() -> None:
    model = action_model(encoder__temporal=False)
    memory = after(model, 2, streams=2)
    assert memory.window is not None
    assert memory.window.counts == (2, 2)
    assert memory.nbytes == 2 * WINDOW * model.config.encoder.width * 4
    causal = after(action_model("causal", encoder__temporal=False, action__width=8, action__heads=2), 2)
    assert causal.nbytes == 2 * 2 * WINDOW * 8 * 4  # keys and values of two layers


@pytest.mark.parametrize("decoder", OVER_TOKENS)
def test_a_clone_branches_and_an_old_window_is_never_written(decoder: str) -> None:
    model = action_model(decoder)
    memory = after(model, 2)
    own = memory.clone()
    assert memory.window is not None
    before = [entry.clone() for entry in memory.window.entries]
    expected = goes_on(model, memory)
    assert all(torch.equal(a, b) for a, b in zip(before, memory.window.entries, strict=True))
    assert apart(goes_on(model, own), expected) == 0


def test_a_memory_moves_with_its_window() -> None:
    memory = after(action_model(), 3)
    assert memory.to("cpu", torch.float32) is memory
    wide = memory.to(dtype=torch.float64)
    assert wide.window is not None
    assert {entry.dtype for entry in wide.window.entries} == {torch.float64}
    assert wide.nbytes == 2 * memory.nbytes


def test_half_precision_works_in_every_decoder() -> None:
    for decoder in (*OVER_TOKENS, "patch_query"):
        model = action_model(decoder)
        frames = scenes(model, frames=4)
        expected = model.classify(frames)[0].detach()
        logits, memory = logits_of(model.to(torch.bfloat16), frames, 1)
        assert logits.dtype == torch.bfloat16
        assert apart(logits.float(), expected) < 0.3 * float(expected.std())
        assert {t.dtype for t in (memory.window.entries if memory.window else ())} <= {torch.bfloat16}


@pytest.mark.parametrize(
    "changes",
    [
        {"window.counts": [9]},
        {"window.counts": [1, 1]},
        {"window.counts": None},
        {"window.entries.0": torch.zeros(2, WINDOW, 12)},
        {"window.entries.0": None},
        {"window.entries.0": torch.zeros(1, WINDOW)},
    ],
    ids=str,
)
def test_a_damaged_window_is_refused_in_one_line(changes: dict[str, Any]) -> None:
    state = after(action_model(), 2).state_dict()
    with pytest.raises(UsageError, match="not the state of a StreamMemory") as error:
        StreamMemory().load_state_dict({**state, **changes})
    assert "\n" not in str(error.value)


@torch.no_grad()
@pytest.mark.parametrize(
    ("other", "settings"),
    [
        ("bidirectional", {"action__window": WINDOW + 1}),
        ("causal", {}),
        ("causal", {"action__depth": 1}),
    ],
)
def test_a_window_of_another_head_is_refused_before_anything_is_written(
    other: str, settings: dict[str, Any]
) -> None:
    model, stranger = action_model(), action_model(other, **settings)
    memory = after(model, 2)
    kept = memory.clone()
    with pytest.raises(UsageError, match="belongs to another model"):
        stranger.classify(scenes(stranger, frames=1), memory)
    assert apart(goes_on(model, memory), goes_on(model, kept)) == 0


def test_stack_refuses_windows_of_different_heads_and_takes_none_at_all() -> None:
    model, other = action_model(), action_model("causal")
    plain = after(model, 2).with_window(None)
    for memories in ([after(model, 2), after(other, 2)], [after(model, 2), plain]):
        with pytest.raises(UsageError, match="stack needs memories of the same action head"):
            StreamMemory.stack(memories)
    assert StreamMemory.stack([plain, plain.clone()]).window is None


@torch.no_grad()
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampled": torch.tensor([[False, True]])}, "stream 0 at frame 0 yet; a stream's first frame must"),
        ({"sampled": torch.ones(1, 3)}, r"sampled must be \(streams, frames\) \(1, 2\), got \(1, 3\)"),
        ({"window_lengths": [0]}, "window lengths must be 1 whole numbers from 1 on"),
        ({"window_lengths": [1, 2]}, "window lengths must be 1 whole numbers"),
        ({"at": []}, "`at` must name frames of the 2 given"),
        ({"at": [2]}, "`at` must name frames of the 2 given"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arguments_that_do_not_fit_are_one_line_and_nothing_enters(
    arguments: dict[str, Any], message: str
) -> None:
    model = action_model()
    memory = StreamMemory(3)
    with pytest.raises(UsageError, match=message) as error:
        model.classify(scenes(model, frames=2), memory, **arguments)
    assert "\n" not in str(error.value)
    assert memory.frames_seen == 0


@torch.no_grad()
def test_a_memory_of_other_streams_is_refused() -> None:
    model = action_model()
    with pytest.raises(UsageError, match="this memory holds 2 streams, the frames 1"):
        model.classify(scenes(model, frames=1), after(model, 2, streams=2))


@torch.no_grad()
def test_patch_query_has_no_window_to_choose_frames_for() -> None:
    model = action_model("patch_query")
    frames = scenes(model, frames=2)
    with pytest.raises(UsageError, match="patch_query sees every frame of the memory"):
        model.classify(frames, sampled=torch.ones(1, 2))
    with pytest.raises(UsageError, match="clips from an empty memory"):
        model.classify(frames, after(model, 2), window_lengths=[1])


@torch.no_grad()
def test_a_model_without_heads_says_so() -> None:
    model = action_model()
    bare = VideoModel(model.config.model_copy(update={"action": None})).eval()
    frames = scenes(model, frames=1)
    with pytest.raises(UsageError, match="has no action head"):
        bare.classify(frames)
    with pytest.raises(UsageError, match="has neither a detector nor an action head"):
        bare.perceive(frames)
    with pytest.raises(UsageError, match="frames must be"):
        model.classify(frames[0])
