"""The whole model against the official code's outputs, losses and gradients, through `load_official`.

Every inference case runs twice: frame by frame with the memory carried, and as one clip.
"""

from typing import Any, NamedTuple

import pytest
import torch
from tests.parity.golden import build_frames, load_manifest, load_tensors
from torch import Tensor

from svit.model.detector import HeadMap, select
from svit.model.detector import decode as decode_maps
from svit.model.detector_loss import detection_loss
from svit.model.memory import StreamMemory
from svit.model.video_model import VideoModel
from svit.weights import load_official
from svit.weights.names import official_name

ENCODER_CASES = [
    "stream_w7_nf3",
    "stream_w14_nf4",
    "stream_w7_nf1",
    "stream_w7_nf2_long",
    "space_w7",
    "space_global",
]
DETECTOR_CASES = ["infer_c1", "infer_c3"]
TRAIN_CASES = ["train_c1", "train_c1_l1", "train_c3_l1"]
TEMPORAL = ("_t", "_t.weight", "_t.bias", ".alpha")
KINDS = {"cls": "cls", "box": "reg", "obj": "obj"}
OUTPUTS = {1: "ln_post_out1", 2: "ln_post_out2", 3: "ln_post"}


class Case(NamedTuple):
    """One fixture: its manifest entry, its tensors and the model it was made with."""

    manifest: dict[str, Any]
    tensors: dict[str, Tensor]
    model: VideoModel
    frames: Tensor


@pytest.fixture(autouse=True)
def _one_thread(_deterministic: None) -> None:
    torch.set_num_threads(1)  # on tensors this small a second thread costs more than it gives


def official_model(weights: dict[str, Tensor], config: dict[str, Any]) -> VideoModel:
    if config["attn_type"] == "space":
        weights = {key: tensor for key, tensor in weights.items() if not key.endswith(TEMPORAL)}
    windows = [
        config["window_size"] if i in config["window_block_index"] else 0 for i in range(config["layers"])
    ]
    model = load_official(
        weights, config["heads"], windows, config["num_frames"], stages=config["stage_segment"]
    )
    assert model.config.encoder.temporal == (config["attn_type"] == "stream")
    assert model.config.encoder.residual_blocks == tuple(config["residual_block_index"])
    return model


def encoder_case(name: str) -> Case:
    manifest = load_manifest("encoder")
    case = manifest["cases"][name]
    weights = load_tensors(f"encoder/{manifest['weights'][case['weights']]['file']}")
    tensors = load_tensors(f"encoder/{case['file']}")
    frames = build_frames(tensors, case["input_shape_TBCHW"])
    return Case(case, tensors, official_model(weights, case["config"]), frames)


def detector_case(name: str) -> Case:
    manifest = load_manifest("detector")
    case = manifest["cases"][name]
    source = manifest["models"][case["model"]]
    tensors = load_tensors(f"detector/{case['file']}")
    model = official_model(
        load_tensors(f"detector/{source['file']}"), source["config"]["detector"]["backbone"]
    )
    return Case(case, tensors, model, build_frames(tensors, case["shape_TBCHW"]))


def chunks(frames: Tensor, form: str) -> list[Tensor]:
    return list(frames.split(1, dim=1)) if form == "step" else [frames]


@pytest.mark.parametrize("form", ["step", "clip"])
@pytest.mark.parametrize("name", ENCODER_CASES)
def test_stages_and_pyramid_are_the_official_ones(name: str, form: str) -> None:
    case = encoder_case(name)
    memory: StreamMemory | None = None
    parts: list[tuple[list[Tensor], list[Tensor]]] = []
    with torch.no_grad():
        for frames in chunks(case.frames, form):
            stages, memory = case.model.encoder(frames, memory)
            assert case.model.pyramid is not None
            parts.append((stages, case.model.pyramid(stages)))
    ours = {
        kind: [torch.cat([part[k][i] for part in parts], dim=1) for i in range(3)]
        for k, kind in enumerate(("stage", "level"))
    }
    stored = [key for key in case.tensors if key.startswith("frame")]
    assert len(stored) >= 6
    for key in stored:
        frame, _, output = key.removeprefix("frame").partition(".")
        official = case.tensors[key]
        found = ours[output[:-1]][int(output[-1])][: len(official), int(frame)]
        torch.testing.assert_close(found, official, **case.manifest["recommended_tolerance"])


@pytest.mark.parametrize("form", ["step", "clip"])
def test_encoder_gradients_are_the_official_ones(form: str) -> None:
    case = encoder_case("train_stream_w7_nf3")
    case.model.train()
    memory: StreamMemory | None = None
    # The loss is on frame 1; what comes later shows a reset that is not reproduced.
    for frames in chunks(case.frames[:, :2], form):
        stages, memory = case.model.encoder(frames, memory)
    assert case.model.pyramid is not None
    levels = case.model.pyramid(stages)
    loss = sum((levels[i][:, -1] * case.tensors[f"loss_weight.level{i}"]).sum() for i in range(3))
    assert isinstance(loss, Tensor)
    assert loss.item() == pytest.approx(case.manifest["loss"], rel=2e-4)
    loss.backward()
    check_gradients(case, tolerance=1e-3)


def check_gradients(case: Case, tolerance: float, prefixes: tuple[str, str] = ("", "")) -> None:
    """Against `grad.*` tensors and `grad_norms`; `prefixes` stand before detector and backbone names."""
    gradients = {}
    for own, parameter in case.model.named_parameters():
        name = official_name(own, OUTPUTS)
        detector = name.startswith(("neck.", "bbox_head."))
        assert parameter.grad is not None, own
        gradients[prefixes[0 if detector else 1] + name] = parameter.grad
    norms = case.manifest["grad_norms"]
    assert set(gradients) == set(norms)
    for name, norm in norms.items():
        # Below 1e-5 is rounding: a constant added before a batch norm in training mode has no gradient.
        assert gradients[name].norm().item() == pytest.approx(norm, rel=tolerance, abs=1e-5), name
    stored = [key for key in case.tensors if key.startswith("grad.")]
    assert stored
    for key in stored:
        official, ours = case.tensors[key], gradients[key.removeprefix("grad.")]
        assert (ours - official).abs().max() <= tolerance * official.abs().max(), key


@pytest.mark.parametrize("form", ["step", "clip"])
@pytest.mark.parametrize("name", DETECTOR_CASES)
def test_detections_are_the_official_ones(name: str, form: str) -> None:
    case = detector_case(name)
    tolerance, memory = case.manifest["recommended_tolerance"], None
    parts: list[list[HeadMap]] = []
    with torch.no_grad():
        for frames in chunks(case.frames, form):
            maps, memory = case.model.head_maps(frames, memory)
            parts.append(maps)
    whole = [{kind: torch.cat([part[i][kind] for part in parts], dim=1) for kind in KINDS} for i in range(3)]
    for frame in case.manifest["stored_frames"]:
        for i, level in enumerate(whole):
            for ours, theirs in KINDS.items():
                official = case.tensors[f"frame{frame}.{theirs}{i}"]
                torch.testing.assert_close(level[ours][:, frame], official, **tolerance["maps"])
        check_selection(
            case, [{k: x[:, frame : frame + 1] for k, x in level.items()} for level in whole], frame
        )


def check_selection(case: Case, maps: list[HeadMap], frame: int) -> None:
    """The kept boxes of one frame, in the original picture's pixels."""
    boxes_px, scores = (case.manifest["recommended_tolerance"][key] for key in ("boxes_px", "scores"))
    for b, (found,) in enumerate(
        select(*decode_maps(maps, case.model.strides), case.tensors["scale_factor"])
    ):
        prefix = f"frame{frame}.img{b}."
        official, priors = case.tensors[prefix + "det_rescaled"], case.tensors[prefix + "keep_prior_rescaled"]
        assert len(found.priors) == case.manifest["counts"][prefix[:-1]]["n_det"]
        # By prior, because boxes of nearly equal score may swap places.
        ours, theirs = found.priors.argsort(), priors.argsort()
        assert found.priors[ours].tolist() == priors[theirs].tolist()
        torch.testing.assert_close(found.boxes[ours], official[theirs, :4], **boxes_px)
        torch.testing.assert_close(found.scores[ours], official[theirs, 4], **scores, rtol=0)


@pytest.mark.parametrize("name", TRAIN_CASES)
def test_training_frame_by_frame_is_the_official_one(name: str) -> None:
    case = detector_case(name)
    case.model.train()
    memory: StreamMemory | None = None
    names = {"cls": "loss_cls", "box": "loss_bbox", "obj": "loss_obj", "l1": "loss_l1", "total": "loss"}
    for t, official in enumerate(case.manifest["losses_per_frame"]):
        case.model.zero_grad()
        maps, memory = case.model.head_maps(case.frames[:, t : t + 1], memory)
        prefixes = [f"frame{t}.img{b}." for b in range(len(case.frames))]
        targets = [[(case.tensors[p + "gt_boxes"], case.tensors[p + "gt_labels"])] for p in prefixes]
        losses = detection_loss(maps, targets, use_l1=case.manifest["use_l1"])
        for ours, theirs in names.items():
            assert (ours in losses) == (theirs in official)
            if ours in losses:
                assert losses[ours].item() == pytest.approx(official[theirs], rel=2e-4), (t, ours)
        losses["total"].backward()
    check_gradients(case, 2e-3, ("detector.", "detector.backbone."))
    check_running_statistics(case)


def check_running_statistics(case: Case) -> None:
    """The stored batch norms' `after.*`: running mean and variance after all frames."""
    buffers = {f"detector.{official_name(own, OUTPUTS)}": x for own, x in case.model.named_buffers()}
    after = {key.removeprefix("after."): x for key, x in case.tensors.items() if key.startswith("after.")}
    assert {name.rpartition(".")[2] for name in after} == {"running_mean", "running_var"}
    for name, official in after.items():
        torch.testing.assert_close(buffers[name], official, atol=1e-5, rtol=1e-4)
