"""Promises of the detector: shapes, batching, decoding and selection."""

import math

import pytest
import torch
from tests.model.small import small_model
from torch import Tensor, nn

from svit.errors import UsageError
from svit.model.detector import Detector, HeadMap, decode, select

CHANNELS = (8, 16, 32)


def pyramid(streams: int, frames: int, height: int = 8, width: int = 12) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    sizes = [(height >> level, width >> level) for level in range(3)]
    return [
        torch.randn(streams, frames, c, *s, generator=random) for c, s in zip(CHANNELS, sizes, strict=True)
    ]


def detector(classes: int = 2) -> Detector:
    torch.manual_seed(0)
    return Detector(CHANNELS, width=16, classes=classes, csp_blocks=1)


def flat_maps(height: int = 4, width: int = 8, classes: int = 1) -> list[HeadMap]:
    """Maps where nothing is found: boxes of one stride at the cells' corners, scores near 0."""
    return [
        {
            "cls": torch.full((1, 1, classes, height >> i, width >> i), -20.0),
            "box": torch.zeros(1, 1, 4, height >> i, width >> i),
            "obj": torch.full((1, 1, 1, height >> i, width >> i), -20.0),
        }
        for i in range(3)
    ]


def test_maps_keep_streams_frames_and_sizes() -> None:
    maps = detector(classes=5)(pyramid(2, 3))
    for level, (height, width) in enumerate([(8, 12), (4, 6), (2, 3)]):
        assert maps[level]["cls"].shape == (2, 3, 5, height, width)
        assert maps[level]["box"].shape == (2, 3, 4, height, width)
        assert maps[level]["obj"].shape == (2, 3, 1, height, width)


def test_a_batch_of_streams_and_frames_equals_single_frames() -> None:
    model, maps = detector().eval(), pyramid(2, 3)
    with torch.no_grad():
        together = model(maps)
        alone = model([x[1:2, 2:3] for x in maps])
    for a, b in zip(together, alone, strict=True):
        for name in a:
            torch.testing.assert_close(a[name][1:2, 2:3], b[name], atol=1e-5, rtol=1e-5)


def statistics(model: Detector) -> list[Tensor]:
    return [x for name, x in model.named_buffers() if "running" in name]


def test_training_statistics_are_those_of_one_frame_of_every_stream() -> None:
    clip, steps, maps = detector().train(), detector().train(), pyramid(2, 3)
    at_once = clip(maps)
    one_by_one = [steps([x[:, t : t + 1] for x in maps]) for t in range(3)]
    for level in range(3):
        for name, logits in at_once[level].items():
            frames = torch.cat([maps[level][name] for maps in one_by_one], dim=1)
            torch.testing.assert_close(logits, frames, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(statistics(clip), statistics(steps))
    assert not torch.allclose(statistics(clip)[0], statistics(detector())[0])


def test_an_untrained_detector_gives_every_class_and_object_one_per_cent() -> None:
    head = detector().head
    for conv in (*head.conv_cls, *head.conv_obj):
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        torch.testing.assert_close(conv.bias.sigmoid(), torch.full_like(conv.bias, 0.01))


def test_every_parameter_gets_a_gradient() -> None:
    model = detector()
    sum(x.square().sum() for level in model(pyramid(1, 2)) for x in level.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_maps_that_do_not_halve_are_refused_in_one_line() -> None:
    maps = pyramid(1, 1, height=6, width=12)
    with pytest.raises(UsageError, match=r"6x12, 3x6, 1x3 .*multiple") as error:
        detector()(maps)
    assert "\n" not in str(error.value)


def test_decoding_a_known_cell() -> None:
    maps = flat_maps()
    maps[1]["box"][0, 0, :, 1, 2] = torch.tensor([0.5, -0.25, math.log(3), 0.0])
    boxes, _ = decode(maps)
    prior = 4 * 8 + 1 * 4 + 2  # all of level 0, then row 1, column 2 of level 1
    # The centre is at (2 + 0.5, 1 - 0.25) cells of 16 pixels, the size 3 x 1 cells.
    torch.testing.assert_close(boxes[0, 0, prior], torch.tensor([40.0 - 24, 12.0 - 8, 40.0 + 24, 12.0 + 8]))


def test_strides_scale_the_boxes() -> None:
    maps = flat_maps()
    torch.testing.assert_close(decode(maps, (7, 14, 28))[0] * 8 / 7, decode(maps, (8, 16, 32))[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_decoding_half_precision_maps_is_done_in_full_precision(dtype: torch.dtype) -> None:
    with torch.no_grad():
        maps = [{name: x.to(dtype) for name, x in level.items()} for level in detector()(pyramid(1, 1))]
    same = [{name: x.float() for name, x in level.items()} for level in maps]
    for half, full in zip(decode(maps), decode(same), strict=True):
        assert half.dtype == torch.float32
        assert torch.equal(half, full)


def found(maps: list[HeadMap], level: int, row: int, column: int, score: float, label: int = 0) -> None:
    """Write a detection of a given score into the maps."""
    maps[level]["cls"][0, 0, label, row, column] = math.log(score / (1 - score))
    maps[level]["obj"][0, 0, 0, row, column] = 20.0


def test_selection_is_in_descending_score_with_labels_and_priors() -> None:
    maps = flat_maps(classes=3)
    found(maps, 0, 0, 1, 0.3, label=2)
    found(maps, 1, 1, 3, 0.9, label=1)
    found(maps, 2, 0, 0, 0.005)
    (((boxes, scores, labels, priors),),) = select(*decode(maps))
    assert labels.tolist() == [1, 2]
    assert priors.tolist() == [32 + 7, 1]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.3]))
    torch.testing.assert_close(boxes[1], torch.tensor([4.0, -4.0, 12.0, 4.0]))


def test_each_stream_is_scaled_by_its_own_factor() -> None:
    maps = flat_maps()
    found(maps, 0, 1, 1, 0.9)
    boxes, scores = (x.repeat(2, 2, 1, 1) for x in decode(maps))
    streams = select(boxes, scores, torch.tensor([[2.0, 4.0], [1.0, 1.0]]))
    assert [len(stream) for stream in streams] == [2, 2]
    torch.testing.assert_close(streams[1][0].boxes, torch.tensor([[4.0, 4.0, 12.0, 12.0]]))
    torch.testing.assert_close(streams[0][1].boxes, torch.tensor([[2.0, 1.0, 6.0, 3.0]]))


def test_a_frame_with_nothing_gives_empty_tensors() -> None:
    (((boxes, scores, labels, priors),),) = select(*decode(flat_maps()))
    assert boxes.shape == (0, 4)
    assert scores.shape == labels.shape == priors.shape == (0,)


def test_a_scale_of_another_shape_is_refused() -> None:
    with pytest.raises(UsageError, match=r"scale has shape \(3,\), expected \(1, 2\) or \(1, 4\)"):
        select(*decode(flat_maps()), torch.ones(3))


def test_nothing_waits_for_the_device_before_the_boxes_are_chosen() -> None:
    """On the device `meta` there are no numbers to wait for: whoever asks for one gets an error."""
    model = small_model(encoder__memory=2).to("meta")
    memory = None
    with torch.no_grad():
        for _ in range(4):  # the memory starts, fills and evicts
            maps, memory = model.head_maps(torch.empty(2, 1, 3, 96, 128, device="meta"), memory)
            boxes, scores = decode(maps, model.strides)
    assert boxes.is_meta
    assert scores.is_meta
