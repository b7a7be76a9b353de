"""Streams never influence each other, whether batched or taking turns on one model."""

import numpy as np
import pytest
import supervision as sv
import torch
from tests.model.small import TOLERANCE, difference, random_frames, small_model
from torch import Tensor

from svit.errors import UsageError
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel

FRAMES = 6  # with a memory of 3: three frames are evicted


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return small_model(detector__class_names=("person", "car"))


def frames_of(model: VideoModel, streams: int, seed: int = 0) -> Tensor:
    """A grid of 6 x 8 tokens: the detector halves it once."""
    return random_frames(model.encoder, streams=streams, frames=FRAMES, grid=(6, 8), seed=seed)


@torch.no_grad()
def logits(model: VideoModel, frames: Tensor, chunk: int) -> list[Tensor]:
    """All raw logits (B, T, ...) of the frames, `chunk` at a time."""
    memory, parts = None, []
    for piece in frames.split(chunk, dim=1):
        maps, memory = model.head_maps(piece, memory)
        parts.append([level[kind] for level in maps for kind in ("cls", "box", "obj")])
    return [torch.cat(part, dim=1) for part in zip(*parts, strict=True)]


@pytest.mark.parametrize("chunk", [1, 2, FRAMES])
def test_a_batch_of_streams_equals_separate_runs(model: VideoModel, chunk: int) -> None:
    frames = frames_of(model, streams=3)
    together = logits(model, frames, chunk)
    for b in range(3):
        alone = logits(model, frames[b : b + 1], chunk)
        assert difference([x[b : b + 1] for x in together], alone) <= TOLERANCE


@torch.no_grad()
def test_interleaved_streams_equal_separate_runs(model: VideoModel) -> None:
    videos = [frames_of(model, streams=1, seed=seed) for seed in (1, 2)]
    expected = [logits(model, video, chunk=1) for video in videos]
    memories: list[StreamMemory | None] = [None, None]
    for t in range(FRAMES):
        for i, video in enumerate(videos):
            maps, memories[i] = model.head_maps(video[:, t : t + 1], memories[i])
            found = [level[kind] for level in maps for kind in ("cls", "box", "obj")]
            assert difference(found, [x[:, t : t + 1] for x in expected[i]]) == 0


def assert_same(left: sv.Detections, right: sv.Detections) -> None:
    """Equal to rounding error, which may swap boxes of (nearly) the same score."""
    assert len(left) == len(right) > 0
    rows = [np.column_stack([d.xyxy, d.confidence, d.class_id]) for d in (left, right)]
    distances = np.abs(rows[0][:, None] - rows[1][None]).max(axis=2)
    assert distances.min(axis=0).max() <= 0.01
    assert distances.min(axis=1).max() <= 0.01


@torch.no_grad()
def test_detections_of_a_batch_of_chunks_are_those_of_single_frames(model: VideoModel) -> None:
    frames = frames_of(model, streams=2)
    found, _ = model.detect(frames)
    assert [len(stream) for stream in found] == [FRAMES, FRAMES]
    for b in range(2):
        memory = None
        for t in range(FRAMES):
            [[alone]], memory = model.detect(frames[b : b + 1, t : t + 1], memory)
            assert_same(found[b][t], alone)


@torch.no_grad()
def test_boxes_come_in_each_streams_own_pixels(model: VideoModel) -> None:
    # NMS sees the rescaled boxes, so both axes are scaled alike here: then it drops the same ones.
    frames = frames_of(model, streams=2)[:, :1]
    long_side = model.config.input.long_side
    sizes = [(long_side // 4, long_side // 2), (long_side, 2 * long_side)]
    found, _ = model.detect(frames, original_sizes=sizes)
    plain, _ = model.detect(frames)
    for b, factor in enumerate((0.5, 2.0)):
        scaled = plain[b][0].xyxy * factor
        assert abs(found[b][0].xyxy - scaled).max() <= 1e-3 * abs(scaled).max()


@torch.no_grad()
def test_sizes_must_be_given_for_every_stream(model: VideoModel) -> None:
    with pytest.raises(UsageError, match=r"one .* per stream"):
        model.detect(frames_of(model, streams=2), original_sizes=[(100, 100)])


@torch.no_grad()
def test_a_model_without_detector_says_so() -> None:
    model = small_model(detector=None)
    with pytest.raises(UsageError, match="no detector"):
        model.detect(frames_of(model, streams=1))


@torch.no_grad()
def test_frames_that_the_detector_cannot_halve_are_refused(model: VideoModel) -> None:
    with pytest.raises(UsageError, match="multiple") as error:
        model.head_maps(random_frames(model.encoder, grid=(5, 8)))
    assert "\n" not in str(error.value)
