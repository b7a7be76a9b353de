"""CLIP's image tower as a start: every layout starts the same encoder, and the report says how."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.weights.samples import (
    CLIP_GRID,
    CLIP_PATCH,
    Clip,
    clip_config,
    clip_model,
    hugging_face_state,
    small_config,
    tower_shapes,
)

from svit.config import ActionConfig, ModelConfig, preset
from svit.errors import UsageError, WeightsError
from svit.model.video_model import VideoModel, build
from svit.weights import initialise_from_clip, load_clip

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


def official_archive(clip: Clip, path: Path) -> None:
    """Scripted, with weights in fp16, as OpenAI's files are."""
    torch.jit.save(torch.jit.script(clip.half()), path)


def traced_archive(clip: Clip, path: Path) -> None:
    images = torch.randn(1, 3, CLIP_GRID * CLIP_PATCH, CLIP_GRID * CLIP_PATCH)
    torch.jit.save(torch.jit.trace(clip, images), path)


def plain_state(clip: Clip, path: Path) -> None:
    torch.save(clip.state_dict(), path)


def tower_state(clip: Clip, path: Path) -> None:
    torch.save(clip.visual.state_dict(), path)


def open_clip_training(clip: Clip, path: Path) -> None:
    state = {f"module.{key}": tensor for key, tensor in clip.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {}}}, path)


def open_clip_safetensors(clip: Clip, path: Path) -> None:
    save_file(clip.state_dict(), path)


def hugging_face_bin(clip: Clip, path: Path) -> None:
    torch.save(hugging_face_state(clip), path, _use_new_zipfile_serialization=False)


def hugging_face_safetensors(clip: Clip, path: Path) -> None:
    save_file(hugging_face_state(clip), path, {"format": "pt"})


LAYOUTS = [
    official_archive,
    traced_archive,
    plain_state,
    tower_state,
    open_clip_training,
    open_clip_safetensors,
    hugging_face_bin,
    hugging_face_safetensors,
]


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_starts_the_same_encoder(tmp_path: Path, write: Callable[[Clip, Path], None]) -> None:
    write(clip_model(), tmp_path / "clip.pt")
    model, report = load_clip(tmp_path / "clip.pt", clip_config(temporal=False))
    images = torch.randn(2, 3, CLIP_GRID * CLIP_PATCH, CLIP_GRID * CLIP_PATCH)
    with torch.no_grad():
        # The residual block starts as the identity, so this is CLIP itself, without its class token.
        found = model.encoder(images[:, None])[0][-1][:, 0].flatten(2).transpose(1, 2)
        expected = clip_model()(images)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)
    assert set(report.loaded) | set(report.fresh) == set(model.state_dict())
    assert all(part in str(report) for part in ("loaded", "fresh", "not used"))


def test_the_report_says_where_each_tensor_came_from(tmp_path: Path) -> None:
    hugging_face_safetensors(clip_model(), tmp_path / "clip.safetensors")
    _, report = load_clip(tmp_path / "clip.safetensors", clip_config())
    layer = "vision_model.encoder.layers.2.self_attn."
    assert report.loaded["encoder.blocks.2.attention.qkv.bias"] == (
        f"{layer}q_proj.bias + {layer}k_proj.bias + {layer}v_proj.bias"
    )
    assert report.loaded["encoder.norms.2.weight"] == "vision_model.post_layernorm.weight"
    assert report.loaded["encoder.positions"] == "vision_model.embeddings.position_embedding.weight"
    for fresh in (
        "encoder.norms.1.weight",
        "encoder.blocks.0.attention.alpha",
        "encoder.blocks.1.residual.conv1.weight",
    ):
        assert fresh in report.fresh
    assert set(report.unused) == {
        "logit_scale",
        "visual_projection.weight",
        "vision_model.embeddings.class_embedding",
        "vision_model.embeddings.position_ids",
    }
    assert report.summary.endswith(
        f"clip.safetensors: {len(report.loaded)} tensors loaded, {len(report.fresh)} start fresh, "
        "4 of the file not used"
    )


def test_a_model_is_started_in_place(tmp_path: Path) -> None:
    plain_state(clip_model(), tmp_path / "clip.pt")
    model = build(clip_config()).to(torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weight = model.encoder.stem.conv.weight
    report = initialise_from_clip(model, tmp_path / "clip.pt")
    assert model.encoder.stem.conv.weight is weight
    assert torch.equal(weight, clip_model().visual.conv1.weight.bfloat16())
    assert torch.equal(model.encoder.positions, clip_model().visual.positional_embedding[1:].bfloat16())
    for name in report.fresh:
        assert torch.equal(model.state_dict()[name], before[name]), name


def without(key: str) -> Callable[[Clip, Path], None]:
    def write(clip: Clip, path: Path) -> None:
        torch.save({k: x for k, x in clip.state_dict().items() if k != key}, path)

    return write


@pytest.mark.parametrize(
    ("write", "config", "match"),
    [
        (
            plain_state,
            clip_config(width=64),
            r"a tower of width 32, 3 blocks, patch 8, 4x4 positions, but .* has width 64",
        ),
        (plain_state, clip_config(depth=4), "has width 32, 4 blocks"),
        (plain_state, clip_config(position_grid=5), "5x5 positions"),
        (plain_state, None, "like no preset"),
        (without("visual.conv1.weight"), clip_config(), r"has no CLIP vision transformer \(found "),
        (without("visual.ln_post.bias"), clip_config(), r"1 missing \(ln_post.bias\)"),
        (
            lambda _, path: torch.save({"fc.weight": torch.zeros(1)}, path),
            None,
            r"no CLIP .*\(found fc.weight\)",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(
    tmp_path: Path, write: Callable[[Clip, Path], None], config: ModelConfig | None, match: str
) -> None:
    write(clip_model(), tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match=match) as error:
        load_clip(tmp_path / "clip.pt", config)
    assert "\n" not in str(error.value)


def test_a_third_of_a_projection_is_missing_as_a_whole(tmp_path: Path) -> None:
    state = hugging_face_state(clip_model())
    del state["vision_model.encoder.layers.1.self_attn.k_proj.weight"]
    torch.save(state, tmp_path / "clip.bin")
    with pytest.raises(WeightsError, match=r"1 missing \(transformer.resblocks.1.attn.in_proj_weight\)"):
        load_clip(tmp_path / "clip.bin", clip_config())


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no checkpoint at"):
        load_clip(tmp_path / "clip.pt", clip_config())
    with pytest.raises(WeightsError, match="no checkpoint at"):
        initialise_from_clip(build(clip_config()), tmp_path / "clip.pt")


def test_a_convolutional_stem_cannot_start_from_clip(tmp_path: Path) -> None:
    plain_state(clip_model(), tmp_path / "clip.pt")
    with pytest.raises(UsageError, match="stem is convolutional"):
        initialise_from_clip(VideoModel(small_config(stem="conv")), tmp_path / "clip.pt")


def full_size(path: Path, width: int, depth: int, patch: int, grid: int) -> Path:
    """A file with the real names and shapes; one zero stands for every element, so it is small."""
    shapes = tower_shapes(width, depth, patch, grid)
    torch.save({name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}, path)
    return path


@pytest.mark.parametrize(("name", "size"), [("base", (768, 12, 16, 14)), ("large", (1024, 24, 14, 16))])
def test_the_real_towers_fit_their_presets_and_no_other(
    tmp_path: Path, name: str, size: tuple[int, int, int, int]
) -> None:
    path = full_size(tmp_path / "clip.pt", *size)
    with torch.device("meta"):
        models = {key: VideoModel(preset(key)) for key in ("base", "large")}
    report = initialise_from_clip(models[name], path)
    assert len(report.loaded) == 12 * size[1] + 6
    assert report.unused == ("visual.class_embedding", "visual.proj")
    other = models["large" if name == "base" else "base"]
    with pytest.raises(
        WeightsError, match=f"holds a tower of width {size[0]}, .* but model '{other.config.name}' has"
    ):
        initialise_from_clip(other, path)


@pytest.mark.slow
def test_the_preset_is_chosen_by_the_towers_size(tmp_path: Path) -> None:
    model, report = load_clip(full_size(tmp_path / "clip.pt", 768, 12, 16, 14))
    assert model.config == preset("base")
    assert not model.encoder.stem.conv.weight.any()
    assert len(report.loaded) == 150


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_gives_its_class_token_to_a_model_that_keeps_it(
    tmp_path: Path, write: Callable[[Clip, Path], None]
) -> None:
    write(clip_model(), tmp_path / "clip.pt")
    action = ActionConfig(class_names=("a", "b"), token="cls")
    config = clip_config(temporal=False).model_copy(update={"action": action})
    model, report = load_clip(tmp_path / "clip.pt", config)
    images = torch.randn(2, 3, CLIP_GRID * CLIP_PATCH, CLIP_GRID * CLIP_PATCH)
    with torch.no_grad():
        found = model.encoder.encode(images[:, None]).class_token
        expected = clip_model().visual.with_class_token(images)
    assert found is not None
    torch.testing.assert_close(found[:, 0], expected[:, 0], atol=2e-5, rtol=2e-5)
    assert report.loaded["encoder.class_token"].endswith("class_embedding")
    assert report.loaded["encoder.class_position"] == report.loaded["encoder.positions"]
    assert not any("class" in name and "action" not in name for name in report.fresh)
    assert not any(name.endswith("class_embedding") for name in report.unused)
    assert {name for name in report.fresh if name.startswith("action.")} == {
        name for name in model.state_dict() if name.startswith("action.")
    }
