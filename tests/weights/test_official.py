"""The official layout: what is read from the tensors, and what is said when they do not fit."""

from pathlib import Path

import pytest
import torch
from tests.weights.samples import STAGES, official_state, same_weights, scrambled, small_config
from torch import Tensor

from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel
from svit.weights import load_official

SETTINGS = {"heads": 2, "window": 4, "memory": 3, "stages": STAGES}


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return scrambled(small_config())


def load(source: dict[str, object] | dict[str, Tensor] | Path, **changes: object) -> VideoModel:
    return load_official(source, **(SETTINGS | changes))


def test_settings_are_read_from_the_tensors(model: VideoModel) -> None:
    loaded = load(official_state(model))
    assert same_weights(loaded, model)
    assert loaded.config.encoder == model.config.encoder
    assert loaded.config.detector == model.config.detector
    assert not loaded.training


@pytest.mark.parametrize(
    "encoder",
    [
        {"width": 16, "patch": 8, "position_grid": 3},
        {"residual_blocks": ()},
        {"residual_blocks": (0, 1, 2)},
        {"temporal": False},
        {"depth": 6, "residual_blocks": (5,)},
    ],
)
def test_other_structures_are_read_too(encoder: dict[str, object]) -> None:
    model = scrambled(small_config(**encoder))
    loaded = load(official_state(model))
    assert same_weights(loaded, model)
    assert loaded.config.encoder == model.config.encoder


def test_the_window_is_one_number_or_one_per_block(model: VideoModel) -> None:
    assert load(official_state(model), window=[4, 0, 4, 0]).config.encoder.windows == (4, 0, 4, 0)
    assert load(official_state(model), window=0).config.encoder.windows == (0, 0, 0, 0)
    with pytest.raises(UsageError, match="window lists 2 blocks, depth is 4"):
        load(official_state(model), window=[4, 4])


def backbone_only(model: VideoModel, root: str, backbone: str) -> dict[str, Tensor]:
    state = official_state(model, root, backbone)
    return {key: x for key, x in state.items() if "neck." not in key and "bbox_head." not in key}


@pytest.mark.parametrize(
    ("root", "backbone"), [("detector.", "backbone."), ("", "backbone."), ("", ""), ("detector.", "")]
)
def test_the_backbone_alone_gives_pyramid_but_no_detector(
    model: VideoModel, root: str, backbone: str
) -> None:
    state = backbone_only(model, root, backbone)
    loaded = load(state)
    assert loaded.detector is None
    assert loaded.config.detector is None
    frames = torch.randn(1, 1, 3, 64, 96)
    with torch.no_grad():
        ours = loaded.pyramid(loaded.encoder(frames)[0])
        theirs = model.pyramid(model.encoder(frames)[0])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    bare = load({key: tensor for key, tensor in state.items() if "fpn_adaptor" not in key})
    assert bare.pyramid is None
    assert [s.shape for s in bare.encoder(frames)[0]] == [(1, 1, 32, 4, 6)] * 3


def test_any_set_of_outputs_loads_without_a_pyramid(model: VideoModel) -> None:
    state = {k: x for k, x in backbone_only(model, "", "").items() if "fpn_adaptor" not in k}
    del state["ln_post_out1.weight"], state["ln_post_out1.bias"]
    assert load(state).config.encoder.outputs == (2, 3)
    state |= {f"ln_post_out0.{leaf}": torch.zeros(32) for leaf in ("weight", "bias")}
    assert load(state).config.encoder.outputs == (0, 2, 3)


def test_a_training_checkpoint_is_unwrapped(model: VideoModel, tmp_path: Path) -> None:
    state = official_state(model)
    copies = {"ema_" + key.replace(".", "_"): torch.zeros_like(x) for key, x in state.items()}
    optimizer = {
        "state": {0: {"step": 5, "exp_avg": torch.zeros(3)}},
        "param_groups": [{"lr": 0.1, "params": [0]}],
    }
    meta = {"CLASSES": ("person", "car"), "epoch": 10, "seed": None}
    torch.save(
        {"state_dict": state | copies, "meta": meta, "optimizer": optimizer}, tmp_path / "epoch_10.pth"
    )
    loaded = load(tmp_path / "epoch_10.pth")
    assert same_weights(loaded, model)
    assert loaded.config.name == "epoch_10"
    assert loaded.config.detector is not None
    assert loaded.config.detector.class_names == ("person", "car")
    assert same_weights(load({"state_dict": state | copies}), model)


def test_half_precision_and_aliases_become_plain_fp32(model: VideoModel) -> None:
    state = {k: x.half() if x.is_floating_point() else x for k, x in official_state(model).items()}
    loaded = load(state)
    for tensor in loaded.state_dict().values():
        assert tensor.dtype in (torch.float32, torch.int64)
    key = "detector.backbone.ln_pre.weight"
    state[key].fill_(5)
    assert not (loaded.encoder.norm_in.weight == 5).any(), "the model must own its weights"


def test_missing_unexpected_and_misshaped_keys_are_one_readable_line(model: VideoModel) -> None:
    state = official_state(model)
    del state["detector.backbone.transformer.resblocks.3.ln_2.bias"]
    for i in range(4):
        state[f"detector.extra{i}"] = torch.zeros(1)
    state["detector.neck.out_convs.1.conv.weight"] = torch.zeros(16, 5, 1, 1)
    with pytest.raises(WeightsError) as error:
        load(state)
    first, *rest = str(error.value).splitlines()
    assert first == (
        "the state dict does not fit the model: "
        "1 missing (detector.backbone.transformer.resblocks.3.ln_2.bias); "
        "4 unexpected (detector.extra0, detector.extra1, detector.extra2, ...); "
        "1 of another shape (detector.neck.out_convs.1.conv.weight 16x5x1x1 instead of 16x32x1x1)"
    )
    assert rest == [f"  unexpected: detector.extra{i}" for i in range(4)]


def test_temporal_attention_in_some_blocks_only_is_an_error(model: VideoModel) -> None:
    state = {k: x for k, x in official_state(model).items() if not ("resblocks.2.attn" in k and "_t" in k)}
    with pytest.raises(WeightsError, match=r"blocks 0, 1, 3 have temporal attention, blocks 2 have not"):
        load(state)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("conv1.weight", None, r"incomplete: 'detector.backbone.conv1.weight' is missing"),
        ("conv1.weight", torch.zeros(3), r"'detector.backbone.conv1.weight' has 1 dimensions instead of 4"),
        ("positional_embedding", torch.zeros(24, 32), "has 24 entries, which is no square"),
        ("ln_post.weight", None, "the pyramid needs 3 output norms .* found those of blocks 1, 2"),
    ],
)
def test_a_tensor_that_tells_a_setting_must_make_sense(
    model: VideoModel, key: str, value: Tensor | None, match: str
) -> None:
    state = official_state(model)
    state.pop(f"detector.backbone.{key}")
    if value is not None:
        state[f"detector.backbone.{key}"] = value
    with pytest.raises(WeightsError, match=match) as error:
        load(state)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"heads": 5}, "width 32 is not a multiple of heads 5"),
        ({"stages": (2, 5, 8, 11)}, r"stages \(2, 5, 8, 11\) must rise and lie in 0..3"),
        ({"stages": (3, 2, 1, 0)}, "must rise"),
        ({"stages": ()}, "must rise"),
        ({"memory": 0}, "encoder.memory"),
        ({"window": -1}, "window must be 0 or more"),
    ],
)
def test_settings_that_do_not_fit_are_usage_errors(
    model: VideoModel, changes: dict[str, object], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        load(official_state(model), **changes)


def test_something_else_is_said_to_be_something_else() -> None:
    with pytest.raises(WeightsError, match=r"is no S-ViT checkpoint: no transformer blocks \(found a, b\)"):
        load({"a": torch.zeros(1), "b": torch.zeros(1)})
    with pytest.raises(WeightsError, match="it is empty"):
        load({})
