"""A memory in 8 bits: a quarter of the bytes, nearly the same answers, else a memory like any other."""

from pathlib import Path

import pytest
import torch
from tests.model.small import difference, random_frames, run, small_encoder, small_model
from torch import Tensor

from svit.config import preset_names
from svit.errors import UsageError
from svit.model.encoder import Encoder
from svit.model.memory import StreamMemory
from svit.model.packing import mean, pack, unpack
from svit.stream import Stream
from svit.stream_batch import StreamBatch
from svit.weights import load, save

STEP = 1 / 127
"""Of rounding, over the largest magnitude of a head's part of a token."""

BOUND = 2e-2
"""What 8 bits may change in outputs of size 1, of a model whose parameters are all random."""

FORMS = 3e-3
"""How far forms may differ: a key that they compute differently by 1e-7 may be rounded to the next step."""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return small_encoder("base")


def after(encoder: Encoder, seen: int, capacity: int = 3, seed: int = 0) -> StreamMemory:
    """A memory in 8 bits that has seen `seen` random frames."""
    with torch.no_grad():
        return run(encoder, random_frames(encoder, frames=seen, seed=seed), StreamMemory(capacity, bits=8))[1]


@torch.no_grad()
def continued(encoder: Encoder, memory: StreamMemory) -> list[Tensor]:
    frames = random_frames(encoder, streams=len(memory.ages), frames=4, seed=99)
    return run(encoder, frames, memory)[0]


# --- packing ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [1, 3, 64])
def test_a_number_is_off_by_half_a_step_of_its_heads_largest(width: int, dtype: torch.dtype) -> None:
    x = (torch.randn(2, 5, width) * torch.tensor([1e-3, 1.0, 7.0, 1e3, 0.0])[:, None]).to(dtype)
    unpacked = unpack(pack(x), torch.float32)
    largest = x.float().abs().amax(-1, keepdim=True)
    assert bool(((unpacked - x.float()).abs() <= 0.51 * STEP * largest).all())
    assert torch.equal(unpack(pack(unpacked), torch.float32), unpacked)


def test_packing_takes_one_byte_a_number_and_two_a_head() -> None:
    assert pack(torch.randn(4, 64)).nbytes == 4 * (64 + 2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_does_not_become_a_number(bad: float) -> None:
    assert bool(unpack(pack(torch.tensor([[1.0, bad, 2.0]])), torch.float32).isnan().any())


def test_rounding_does_not_pile_up_in_the_mean_of_what_left() -> None:
    """Each merge halves the error so far, so that it stays that of a frame or two."""
    exact = torch.randn(50, 64)
    packed, largest = pack(exact), 0.0
    for _ in range(500):
        new = torch.randn(50, 64)
        exact, packed = (exact + new) / 2, mean(packed, pack(new))
        error = (unpack(packed, torch.float32) - exact).abs().max()
        largest = max(largest, float(error))
    one = float((unpack(pack(new), torch.float32) - new).abs().max())
    assert largest < 2 * one


# --- what it changes ---


@torch.no_grad()
@pytest.mark.parametrize("eviction", ["merge", "fifo"])
@pytest.mark.parametrize("name", preset_names())
def test_outputs_stay_within_the_bound_past_many_evictions(name: str, eviction: str) -> None:
    encoder = small_encoder(name, eviction=eviction)
    frames = random_frames(encoder, frames=40)
    full, _ = run(encoder, frames, StreamMemory(3, eviction))
    rounded, _ = run(encoder, frames, StreamMemory(3, eviction, bits=8))
    assert 0 < difference(full, rounded) < BOUND


@torch.no_grad()
@pytest.mark.parametrize("eviction", ["merge", "fifo"])
@pytest.mark.parametrize("name", preset_names())
def test_steps_chunks_and_clip_agree(name: str, eviction: str) -> None:
    encoder = small_encoder(name)
    frames = random_frames(encoder, streams=2, frames=9)
    clip, _ = run(encoder, frames, StreamMemory(3, eviction, bits=8), chunk=9)
    for chunk in (1, 2, 5):
        assert difference(run(encoder, frames, StreamMemory(3, eviction, bits=8), chunk)[0], clip) < FORMS


@torch.no_grad()
def test_bytes_are_about_a_quarter_of_fp32() -> None:
    encoder = small_encoder(width=128, heads=2)
    frames = random_frames(encoder, frames=5)
    full, rounded = (run(encoder, frames, StreamMemory(3, bits=bits))[1].nbytes for bits in (None, 8))
    assert rounded / full == pytest.approx((64 + 2) / (4 * 64))


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 3])
def test_recalls_that_a_head_keeps_are_not_written_over(encoder: Encoder, chunk: int) -> None:
    frames = random_frames(encoder, frames=chunk)
    recalls = encoder.encode(frames, StreamMemory(3, bits=8), recalls=2).recalls
    expected = encoder.encode(frames, StreamMemory(3), recalls=2).recalls
    for recall, full in zip(recalls, expected, strict=True):
        assert difference([recall.keys, recall.values], [full.keys, full.values]) < 0.1


# --- a memory like any other ---


@pytest.mark.parametrize("seen", [1, 2, 3, 6])
def test_state_round_trip(encoder: Encoder, seen: int) -> None:
    memory = after(encoder, seen)
    loaded = StreamMemory()
    loaded.load_state_dict(memory.state_dict())
    assert (loaded.bits, loaded.nbytes) == (8, memory.clone().nbytes)
    assert difference(continued(encoder, loaded), continued(encoder, memory)) == 0


@torch.no_grad()
def test_a_state_from_before_there_were_bits_still_loads(encoder: Encoder) -> None:
    _, memory = run(encoder, random_frames(encoder, frames=4), StreamMemory(3))
    state = memory.state_dict()
    del state["bits"]
    loaded = StreamMemory(bits=8)
    loaded.load_state_dict(state)
    assert loaded.bits is None
    assert difference(continued(encoder, loaded), continued(encoder, memory)) == 0


@pytest.mark.parametrize("bits", [None, 4, "8"])
def test_a_state_of_other_bits_than_its_tensors_is_refused(encoder: Encoder, bits: object) -> None:
    state = after(encoder, 2).state_dict()
    with pytest.raises(UsageError, match=r"not the state of a StreamMemory|bits"):
        StreamMemory().load_state_dict({**state, "bits": bits})


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("ages", [(1, 2), (5, 1, 3)])
def test_stacked_streams_continue_like_separate_ones(
    encoder: Encoder, ages: tuple[int, ...], chunk: int
) -> None:
    memories = [after(encoder, age, seed=age) for age in ages]
    frames = random_frames(encoder, streams=len(ages), frames=4, seed=9)
    together, last = run(encoder, frames, StreamMemory.stack(memories), chunk)
    for i, (memory, own) in enumerate(zip(memories, last.unstack(), strict=True)):
        alone, _ = run(encoder, frames[i : i + 1], memory)
        assert difference([stage[i : i + 1] for stage in together], alone) < FORMS
        assert own.bits == 8
        assert own.ages == (ages[i] + 4,)


def test_full_and_rounded_memories_are_not_stacked(encoder: Encoder) -> None:
    with torch.no_grad():
        _, full = encoder(random_frames(encoder), StreamMemory(3))
    with pytest.raises(UsageError, match="same capacity, eviction and bits"):
        StreamMemory.stack([full, after(encoder, 1)])


def test_a_clone_branches_and_another_precision_leaves_the_bits(encoder: Encoder) -> None:
    memory = after(encoder, 3)
    clone = memory.clone()
    assert memory.to("cpu", torch.bfloat16) is memory
    assert difference(continued(encoder, clone), continued(encoder, memory)) == 0


# --- how it is asked for ---


def test_gradients_are_refused_in_one_line_and_leave_the_memory_as_it_was(encoder: Encoder) -> None:
    memory = after(encoder, 2)
    with pytest.raises(UsageError, match="8 bits has no gradients") as error:
        encoder(random_frames(encoder), memory)
    assert "\n" not in str(error.value)
    assert continued(encoder, memory)


@pytest.mark.parametrize("bits", [0, 4, 16])
def test_other_numbers_of_bits_are_refused(bits: int, tmp_path: Path) -> None:
    save(small_model(), tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="bits must be 8"):
        StreamMemory(bits=bits)
    with pytest.raises(UsageError, match=r"encoder\.memory_bits"):
        load(tmp_path / "model.safetensors", memory_bits=bits)  # type: ignore[arg-type]


@torch.no_grad()
def test_a_model_loaded_for_8_bits_gives_them_to_its_streams(tmp_path: Path) -> None:
    save(small_model(), tmp_path / "model.safetensors")
    model = load(tmp_path / "model.safetensors", "cpu", "bf16", memory_bits=8)
    image = torch.randint(0, 255, (40, 60, 3), dtype=torch.uint8).numpy()
    stream, other, batch = Stream(model), Stream(model), StreamBatch(model)
    stream.step(image)
    batch.step({"a": image, "b": image})
    other.load_state_dict(stream.state_dict())
    memories = [stream._memory, other._memory, batch.leave("a")._memory]
    memories.append(model.encoder(random_frames(model.encoder))[1])
    assert [memory.bits for memory in memories] == [8, 8, 8, 8]
