"""Head, decoding and selection against the official code's, from its neck outputs and raw maps."""

from typing import Any

import pytest
import torch
from tests.parity.golden import load_json, load_manifest, load_tensors
from torch import Tensor

from svit.model.detector import Detector, HeadMap, decode, select

KINDS = {"cls": "cls", "box": "reg", "obj": "obj"}
NECK, HEAD = "detector.neck.", "detector.bbox_head.multi_level_"


@pytest.fixture(params=["infer_c1", "infer_c3"])
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Tensor]]:
    manifest = load_manifest("detector")["cases"][request.param]
    return manifest, load_tensors(f"detector/{manifest['file']}")


def stored_maps(tensors: dict[str, Tensor], frame: int) -> list[HeadMap]:
    return [{k: tensors[f"frame{frame}.{v}{i}"][:, None] for k, v in KINDS.items()} for i in range(3)]


def renamed(official: str) -> str:
    """The official key as `Detector` calls it: a change of prefix."""
    return official.replace(NECK, "neck.").replace(HEAD, "head.")


def test_decoded_boxes_and_scores_are_the_official_ones(
    case: tuple[dict[str, Any], dict[str, Tensor]],
) -> None:
    manifest, tensors = case
    for frame in manifest["stored_frames"]:
        boxes, scores = decode(stored_maps(tensors, frame))
        for b in range(len(boxes)):
            prefix = f"frame{frame}.img{b}."
            official = tensors[prefix + "cls_sigmoid"] * tensors[prefix + "obj_sigmoid"][:, None]
            torch.testing.assert_close(scores[b, 0], official, atol=1e-6, rtol=0)
            torch.testing.assert_close(boxes[b, 0], tensors[prefix + "decoded_boxes"], atol=1e-3, rtol=1e-6)


@pytest.mark.parametrize("variant", ["rescaled", "input_scale"])
def test_selection_keeps_the_official_priors_in_order(
    case: tuple[dict[str, Any], dict[str, Tensor]], variant: str
) -> None:
    manifest, tensors = case
    scale = tensors["scale_factor"] if variant == "rescaled" else None
    for frame in manifest["stored_frames"]:
        for b, (found,) in enumerate(select(*decode(stored_maps(tensors, frame)), scale)):
            prefix = f"frame{frame}.img{b}."
            official = tensors[f"{prefix}det_{variant}"]
            assert found.priors.tolist() == tensors[f"{prefix}keep_prior_{variant}"].tolist()
            assert found.labels.tolist() == tensors[f"{prefix}labels_{variant}"].tolist()
            torch.testing.assert_close(found.boxes, official[:, :4], atol=1e-3, rtol=1e-6)
            torch.testing.assert_close(found.scores, official[:, 4], atol=1e-6, rtol=0)


@pytest.mark.parametrize("model", ["c1", "c3"])
def test_head_maps_from_the_official_neck_outputs(model: str) -> None:
    manifest = load_manifest("detector")
    config = manifest["models"][model]["config"]["detector"]
    neck, classes = config["neck"], config["bbox_head"]["num_classes"]
    detector = Detector(tuple(neck["in_channels"]), neck["out_channels"], classes, neck["num_csp_blocks"])
    weights = load_tensors(f"detector/{manifest['models'][model]['file']}")
    own = {renamed(key): x for key, x in weights.items() if key.startswith((NECK, HEAD))}
    detector.load_state_dict(own)
    detector.eval()
    tensors = load_tensors(f"detector/infer_{model}.safetensors")
    for frame in manifest["cases"][f"infer_{model}"]["stored_frames"]:
        with torch.no_grad():
            maps = detector.head([tensors[f"frame{frame}.neck{i}"][None] for i in range(3)])
        for i, level in enumerate(maps):
            for ours, theirs in KINDS.items():
                official = tensors[f"frame{frame}.{theirs}{i}"][:1]
                torch.testing.assert_close(level[ours][0], official, atol=2e-5, rtol=2e-5)


def test_every_official_key_and_shape_of_the_full_size_detector() -> None:
    official = load_json("full_size_keys.json")["param_shapes"]
    with torch.device("meta"):
        detector = Detector((384, 768, 1536), width=256, classes=1)
    ours = {key: list(x.shape) for key, x in detector.state_dict().items()}
    assert ours == {renamed(key): shape for key, shape in official.items() if key.startswith((NECK, HEAD))}
