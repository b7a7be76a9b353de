"""The real model's keys and shapes: `load_official` takes exactly these, and `base` is this model."""

from typing import Any

import pytest
import torch
from tests.parity.golden import load_json
from torch import Tensor

from svit.config import preset
from svit.errors import WeightsError
from svit.model.video_model import VideoModel
from svit.weights import load_official


@pytest.fixture(scope="module")
def listed() -> Any:
    return load_json("full_size_keys.json")


@pytest.fixture(scope="module")
def base() -> VideoModel:
    with torch.device("meta"):
        return VideoModel(preset("base"))


def zeros(listed: Any) -> dict[str, Tensor]:
    """A state dict of the real shapes that takes no memory: one zero, seen as every element."""
    counts = {key for key in listed["param_shapes"] if key.endswith("num_batches_tracked")}
    return {
        key: torch.zeros((), dtype=torch.int64 if key in counts else torch.float16).expand(shape)
        for key, shape in listed["param_shapes"].items()
    }


def test_base_has_the_official_number_of_parameters(listed: Any, base: VideoModel) -> None:
    ours = {name: p.numel() for name, p in base.named_parameters()}
    counts = listed["params"]
    assert sum(ours.values()) == listed["total_params"] == 199_549_842
    assert len(ours) == listed["n_parameters"]
    parts = {
        "backbone": ("encoder.", "pyramid."),
        "backbone_fpn_adaptor": ("pyramid.",),
        "neck": ("detector.neck.",),
        "head": ("detector.head.",),
    }
    for part, starts in parts.items():
        assert sum(n for name, n in ours.items() if name.startswith(starts)) == counts[part], part


def test_the_real_checkpoint_layout_loads_and_is_base(listed: Any, base: VideoModel) -> None:
    model = load_official(zeros(listed))
    assert len(listed["param_shapes"]) == listed["n_keys"] == len(model.state_dict())
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in base.state_dict().items()}
    ours, theirs = model.config.encoder, base.config.encoder
    assert ours.model_copy(update={"drop_path": theirs.drop_path}) == theirs
    assert model.config.detector == base.config.detector


@pytest.mark.parametrize(
    "key",
    [
        "detector.backbone.ln_pre.weight",
        "detector.backbone.transformer.resblocks.11.attn.alpha",
        "detector.backbone.fpn_adaptor.fpn_adaptor_2.4.bias",
        "detector.bbox_head.multi_level_conv_obj.2.bias",
    ],
)
def test_one_key_less_or_renamed_is_named(listed: Any, key: str) -> None:
    state = zeros(listed)
    state[f"{key}x"] = state.pop(key)
    with pytest.raises(WeightsError, match=r"1 missing .*1 unexpected") as error:
        load_official(state)
    first_line = str(error.value).splitlines()[0]
    assert f"({key})" in first_line
    assert f"({key}x)" in first_line
