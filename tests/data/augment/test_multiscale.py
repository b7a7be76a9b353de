from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.data.augment.clips import coloured_box, rectangle_clip

from svit.data.augment.multiscale import resize_batch, scale_for
from svit.data.augment.settings import MultiScaleConfig


def test_sizes_are_the_official_ones_and_all_come_up():
    sizes = {scale_for(MultiScaleConfig(), (800, 1440), step, seed=0) for step in range(400)}
    assert {height for height, _ in sizes} == {32 * units for units in range(18, 33)}
    for height, width in sizes:
        assert width % 32 == 0
        assert 0 <= height * 1.8 - width < 32


def test_a_step_has_the_same_size_on_every_process_and_after_a_resume():
    config = MultiScaleConfig(smallest=6, largest=14)
    first = [scale_for(config, (320, 576), step, seed=3) for step in range(50)]
    assert first == [scale_for(config, (320, 576), step, seed=3) for step in range(50)]
    assert first[20:] == [scale_for(config, (320, 576), step, seed=3) for step in range(20, 50)]
    assert first != [scale_for(config, (320, 576), step, seed=4) for step in range(50)]
    assert len(set(first)) > 5


@pytest.mark.parametrize("size", [(64, 96), (160, 256), (96, 160)])
def test_boxes_follow_the_pixels_of_their_batch(size: tuple[int, int]):
    clips = [rectangle_clip(kind, length=2, size=(96, 160)) for kind in (0, 1)]
    frames = torch.from_numpy(np.stack([clip.frames for clip in clips])).permute(0, 1, 4, 2, 3)
    boxes = [[torch.from_numpy(frame) for frame in clip.boxes] for clip in clips]
    nothing = [[torch.zeros(0, 4)] * 2] * 2
    resized, moved, ignore = resize_batch(frames, boxes, nothing, size)
    assert resized.shape == (2, 2, 3, *size)
    assert resized.dtype == torch.float32
    assert float(resized.max()) == pytest.approx(255)
    for number, clip in enumerate(moved):
        for frame, box in enumerate(clip):
            picture = resized[number, frame].permute(1, 2, 0).numpy()
            assert coloured_box(picture, number, 127) == pytest.approx(box[0].numpy(), abs=0.75)
    assert ignore[1][1].shape == (0, 4)


def test_the_same_size_changes_no_pixel_and_half_precision_stays_half():
    frames = torch.randint(0, 256, (1, 2, 3, 32, 64), dtype=torch.uint8)
    same, _, _ = resize_batch(frames, [[]], [[]], (32, 64))
    assert torch.equal(same, frames.float())
    assert resize_batch(frames.half(), [[]], [[]], (64, 64))[0].dtype == torch.float16
