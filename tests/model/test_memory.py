"""A memory is a value: it can be branched, saved, batched, and never mixes streams up."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from tests.model.small import TOLERANCE, difference, random_frames, run, small_encoder
from torch import Tensor

from svit.errors import UsageError
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return small_encoder()


def after(encoder: Encoder, seen: int, capacity: int = 3, seed: int = 0, chunk: int = 1) -> StreamMemory:
    """A memory that has seen `seen` random frames."""
    frames = random_frames(encoder, frames=seen, seed=seed)
    with torch.no_grad():
        return run(encoder, frames, StreamMemory(capacity), chunk)[1]


def continued(encoder: Encoder, memory: StreamMemory, chunk: int = 1) -> list[Tensor]:
    """What four further frames look like to `memory`; it keeps its value when it is a clone."""
    frames = random_frames(encoder, streams=len(memory.ages), frames=4, seed=99)
    with torch.no_grad():
        return run(encoder, frames, memory, chunk)[0]


def one_line(error: pytest.ExceptionInfo[UsageError]) -> bool:
    return "\n" not in str(error.value)


# --- what is remembered ---


def remembered(entries: list[Tensor], capacity: int, eviction: str) -> list[Tensor]:
    """The rule as plain lists, oldest first."""
    history: list[Tensor] = []
    for entry in entries:
        if len(history) == capacity:
            oldest = history.pop(0)
            if eviction == "merge" and history:
                history[0] = (history[0] + oldest) / 2
        history.append(entry)
    return history


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("eviction", ["merge", "fifo"])
@pytest.mark.parametrize("capacity", [1, 2, 3, 20])
def test_remembers_what_the_rule_says(capacity: int, eviction: str, chunk: int) -> None:
    # The first block's keys and values depend on the frame alone, so the rule can be applied from outside.
    encoder = small_encoder(depth=1, residual_blocks=(), outputs=(0,), window=3)
    frames = random_frames(encoder, frames=9)
    alone = [encoder(frame)[1].layers[0] for frame in frames.split(1, dim=1)]
    _, memory = run(encoder, frames, StreamMemory(capacity, eviction), chunk)
    for kind in ("keys", "values"):
        expected = remembered([getattr(layer, kind).squeeze(4) for layer in alone], capacity, eviction)
        slots = list(getattr(memory.layers[0], kind).unbind(4))
        assert len(slots) == len(expected)
        for entry in expected:
            distances = [float((slot - entry).abs().max()) for slot in slots]
            assert min(distances) <= TOLERANCE
            slots.pop(distances.index(min(distances)))


@torch.no_grad()
def test_capacity_is_free_at_run_time() -> None:
    long, short = small_encoder(memory=32), small_encoder(memory=2)
    frames = random_frames(long, frames=5)
    assert difference(run(long, frames, StreamMemory(2))[0], run(short, frames)[0]) == 0


@torch.no_grad()
def test_the_model_gives_its_own_capacity_and_eviction_to_a_new_stream() -> None:
    encoder = small_encoder(memory=5, eviction="fifo")
    _, memory = encoder(random_frames(encoder))
    assert (memory.capacity, memory.eviction) == (5, "fifo")


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 4])
def test_counts_frames_and_bytes(encoder: Encoder, chunk: int) -> None:
    frames = random_frames(encoder, streams=2, frames=8, grid=(4, 5))
    _, memory = run(encoder, frames, StreamMemory(3), chunk)
    config = encoder.config
    tokens = 6 * 6  # a grid of 4 x 5 padded to windows of 3
    assert memory.frames_seen == 8
    assert memory.ages == (8, 8)
    assert memory.nbytes == 2 * config.depth * 2 * tokens * config.width * 3 * 4
    assert StreamMemory(3).nbytes == 0
    assert StreamMemory(3).frames_seen == 0


# --- values ---


@pytest.mark.parametrize("chunk", [1, 2])
def test_an_old_value_branches_like_a_clone(encoder: Encoder, chunk: int) -> None:
    memory = after(encoder, seen=2, capacity=9)
    expected = continued(encoder, memory.clone(), chunk)
    with torch.no_grad():
        _, newer = encoder(random_frames(encoder, frames=3, seed=5), memory)
    newer_copy = newer.clone()
    assert difference(continued(encoder, memory, chunk), expected) <= TOLERANCE
    assert difference(continued(encoder, memory, chunk), expected) <= TOLERANCE
    # The branch leaves the value that was newer as it was.
    assert difference(continued(encoder, newer, chunk), continued(encoder, newer_copy, chunk)) <= TOLERANCE


@torch.no_grad()
def test_an_overwritten_value_is_refused_and_the_newest_goes_on(encoder: Encoder) -> None:
    memory = after(encoder, seen=3)
    kept = memory.clone()
    frames = random_frames(encoder, frames=2, seed=5)
    first, newer = encoder(frames[:, :1], memory)
    for use in (memory.clone, memory.state_dict, memory.unstack, lambda: encoder(frames[:, :1], memory)):
        with pytest.raises(UsageError, match="overwritten") as error:
            use()
        assert one_line(error)
    second, _ = encoder(frames[:, 1:], newer)
    both = [torch.cat(pair, dim=1) for pair in zip(first, second, strict=True)]
    assert difference(run(encoder, frames, kept)[0], both) <= TOLERANCE


def test_with_gradients_every_value_stays_usable(encoder: Encoder) -> None:
    memory = after(encoder, seen=3)
    frames = random_frames(encoder, frames=1, seed=5)
    first, _ = encoder(frames, memory)
    again, _ = encoder(frames, memory)
    assert difference(first, again) == 0


@torch.no_grad()
@pytest.mark.parametrize("seen", [1, 5])
def test_one_empty_memory_starts_any_number_of_streams(encoder: Encoder, seen: int) -> None:
    empty = StreamMemory(3)
    run(encoder, random_frames(encoder, frames=seen), empty)
    other = random_frames(encoder, frames=4, grid=(7, 4), seed=5)
    assert difference(run(encoder, other, empty)[0], run(encoder, other, StreamMemory(3))[0]) <= TOLERANCE


@torch.no_grad()
def test_a_clone_is_an_independent_copy(encoder: Encoder) -> None:
    memory = after(encoder, seen=3)
    own = memory.clone()
    expected = continued(encoder, memory)
    assert difference(continued(encoder, own), expected) <= TOLERANCE


@torch.no_grad()
def test_to_copies_only_what_changes(encoder: Encoder) -> None:
    memory = after(encoder, seen=3)
    assert memory.to("cpu", torch.float32) is memory
    wide = memory.to(dtype=torch.float64)
    assert {tensor.dtype for layer in wide.layers for tensor in layer} == {torch.float64}
    assert (wide.ages, wide.layout, wide.nbytes) == (memory.ages, memory.layout, 2 * memory.nbytes)


# --- saving ---


@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("seen", [1, 2, 3, 6])
def test_state_round_trip_through_a_file_format_of_plain_tensors(
    encoder: Encoder, seen: int, chunk: int
) -> None:
    memory = after(encoder, seen, chunk=chunk)
    state = memory.state_dict()
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    numbers = json.dumps({key: value for key, value in state.items() if key not in tensors})
    loaded = StreamMemory()
    loaded.load_state_dict({**load(save(tensors)), **json.loads(numbers)})
    assert (loaded.capacity, loaded.eviction, loaded.ages) == (memory.capacity, memory.eviction, memory.ages)
    assert difference(continued(encoder, loaded), continued(encoder, memory)) == 0


def test_a_state_is_a_copy(encoder: Encoder) -> None:
    memory = after(encoder, seen=3)
    state = memory.state_dict()
    loaded = StreamMemory()
    loaded.load_state_dict(state)
    expected = continued(encoder, memory)  # writes over the memory's frames
    for value in state.values():
        if isinstance(value, Tensor):
            value.zero_()
    assert difference(continued(encoder, loaded), expected) == 0


def test_an_empty_memory_can_be_saved(encoder: Encoder) -> None:
    loaded = StreamMemory()
    loaded.load_state_dict(StreamMemory(7, "fifo").state_dict())
    assert (loaded.capacity, loaded.eviction, loaded.frames_seen) == (7, "fifo", 0)
    with torch.no_grad():
        _, memory = encoder(random_frames(encoder), loaded)
    assert memory.frames_seen == 1


def broken(**changes: Any) -> Any:
    return pytest.param(changes, id=",".join(f"{key}={value}" for key, value in changes.items()))


@pytest.mark.parametrize(
    "changes",
    [
        broken(capacity=0),
        broken(eviction="lru"),
        broken(ages=None),
        broken(**{"layers.1.values": None}),
        pytest.param({"capacity": "x"}, id="capacity=x"),
        pytest.param({"ages": [9]}, id="more frames than slots"),
        pytest.param({"ages": [1, 1]}, id="more ages than streams"),
    ],
)
def test_a_state_that_is_none_is_refused_in_one_line(encoder: Encoder, changes: dict[str, Any]) -> None:
    state = after(encoder, seen=2, capacity=4).state_dict()
    with pytest.raises(UsageError) as error:
        StreamMemory().load_state_dict({**state, **changes})
    assert one_line(error)


# --- batches ---


@pytest.mark.parametrize("chunk", [1, 2, 4])
@pytest.mark.parametrize("ages", [(1, 1), (1, 2), (2, 7), (5, 1, 3)])
def test_stacked_streams_of_any_age_continue_like_separate_ones(
    encoder: Encoder, ages: tuple[int, ...], chunk: int
) -> None:
    memories = [after(encoder, age, seed=i) for i, age in enumerate(ages)]
    frames = random_frames(encoder, streams=len(ages), frames=4, seed=9)
    with torch.no_grad():
        together, last = run(encoder, frames, StreamMemory.stack(memories), chunk)
        for i, (memory, own) in enumerate(zip(memories, last.unstack(), strict=True)):
            alone, separate = run(encoder, frames[i : i + 1], memory)
            assert difference([stage[i : i + 1] for stage in together], alone) <= TOLERANCE
            assert own.ages == separate.ages == (ages[i] + 4,)
            assert difference(continued(encoder, own), continued(encoder, separate)) <= TOLERANCE


def test_with_gradients_too_stacked_streams_continue_like_separate_ones(encoder: Encoder) -> None:
    memories = [after(encoder, age, seed=age) for age in (1, 5)]
    frames = random_frames(encoder, streams=2, frames=4, seed=9)
    together, _ = run(encoder, frames, StreamMemory.stack(memories), chunk=2)
    for i, memory in enumerate(memories):
        alone, _ = run(encoder, frames[i : i + 1], memory)
        assert difference([stage[i : i + 1] for stage in together], alone) <= TOLERANCE


def test_unstack_undoes_stack_and_copies(encoder: Encoder) -> None:
    memories = [after(encoder, age, seed=age) for age in (1, 5, 2)]
    stacked = StreamMemory.stack(memories)
    assert stacked.ages == (1, 5, 2)
    assert stacked.frames_seen == 5
    separate = stacked.unstack()
    continued(encoder, stacked)  # writes over the stacked frames
    for memory, own in zip(memories, separate, strict=True):
        assert difference(continued(encoder, own), continued(encoder, memory)) == 0


def test_stack_of_batches_keeps_the_streams_in_order(encoder: Encoder) -> None:
    memories = [after(encoder, age, seed=age) for age in (1, 4, 2)]
    nested = StreamMemory.stack([StreamMemory.stack(memories[:2]), memories[2]])
    assert difference(continued(encoder, nested), continued(encoder, StreamMemory.stack(memories))) == 0


def test_stack_refuses_what_does_not_belong_together(encoder: Encoder) -> None:
    one = after(encoder, seen=1)
    with torch.no_grad():
        _, larger = encoder(random_frames(encoder, grid=(7, 4)), StreamMemory(3))
    for memories in ([], [one, after(encoder, 1, capacity=4)], [one, StreamMemory(3)], [one, larger]):
        with pytest.raises(UsageError, match="stack needs") as error:
            StreamMemory.stack(memories)
        assert one_line(error)


# --- frames that do not fit ---


def misfits(encoder: Encoder) -> list[tuple[Encoder, Tensor]]:
    return [
        (encoder, random_frames(encoder, grid=(7, 4))),
        (encoder, random_frames(encoder, frames=2, grid=(7, 4))),
        (encoder, random_frames(encoder, streams=2)),
        (small_encoder(heads=2, width=20), random_frames(encoder)),
    ]


@torch.no_grad()
@pytest.mark.parametrize("case", range(4), ids=["size", "size of a chunk", "streams", "model"])
def test_frames_that_do_not_fit_are_refused_in_one_line(encoder: Encoder, case: int) -> None:
    memory = after(encoder, seen=2)
    with pytest.raises(UsageError) as error:
        misfits(encoder)[case][0](misfits(encoder)[case][1], memory)
    assert one_line(error)


@torch.no_grad()
def test_a_refused_frame_leaves_the_memory_as_it_was(encoder: Encoder) -> None:
    memory = after(encoder, seen=4)
    expected = continued(encoder, memory.clone())
    with pytest.raises(UsageError):
        encoder(random_frames(encoder, grid=(7, 4)), memory)
    assert difference(continued(encoder, memory), expected) == 0


@torch.no_grad()
@pytest.mark.parametrize(
    ("before", "now"), [((4, 7), (7, 4)), ((4, 5), (5, 6))], ids=["turned", "same padded size"]
)
def test_frames_of_another_size_with_as_many_windows_are_refused(
    encoder: Encoder, before: tuple[int, int], now: tuple[int, int]
) -> None:
    _, memory = encoder(random_frames(encoder, grid=before))
    with pytest.raises(UsageError):
        encoder(random_frames(encoder, grid=now), memory)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("depths", [(2, 3), (3, 2)])
def test_a_memory_of_a_deeper_or_shallower_model_is_refused(depths: tuple[int, int], frames: int) -> None:
    mine, other = (small_encoder(depth=depth, residual_blocks=(), outputs=(1,), window=3) for depth in depths)
    _, memory = mine(random_frames(mine))
    with pytest.raises(UsageError):
        other(random_frames(other, frames=frames), memory)


@pytest.mark.parametrize(("capacity", "eviction"), [(0, "merge"), (-1, "fifo"), (3, "lru")])
def test_impossible_settings_are_refused(capacity: int, eviction: str) -> None:
    with pytest.raises(UsageError, match=r"capacity|eviction") as error:
        StreamMemory(capacity, eviction)
    assert one_line(error)


@torch.no_grad()
def test_a_step_that_broke_halfway_is_never_continued_silently() -> None:
    encoder = small_encoder()
    memory = after(encoder, seen=4)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    hook = encoder.blocks[1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        encoder(random_frames(encoder), memory)
    hook.remove()
    with pytest.raises(UsageError, match="interrupted"):
        encoder(random_frames(encoder), memory)
