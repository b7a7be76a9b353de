"""Zero-shot recognition: CLIP's own numbers for a frame, their mean over frames, misfits in one line."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.weights.text_towers import SIZE, write_clip_folder

from svit.errors import UsageError, WeightsError
from svit.features import compare_with_labels
from svit.types import Frame
from svit.weights.text import MEAN, STD, clip_video_model, embed_labels, is_same_tower

LABELS = ("a man falls", "a dog runs", "nothing")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def official(folder):
    transformers = pytest.importorskip("transformers")
    model = transformers.CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    return model, transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def pictures(count, height=SIZE, width=SIZE, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3)).astype(np.uint8) for _ in range(count)]


def frames(images):
    return [Frame(image, number, number / 10) for number, image in enumerate(images)]


def official_embeddings(official, images):
    """Unit embeddings of frames and labels, by transformers alone."""
    model, tokenizer = official
    pixels = torch.tensor(np.stack(images)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    tokens = tokenizer(list(LABELS), padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model(pixel_values=(pixels - mean) / std, **tokens)
    return out.image_embeds, out.text_embeds, out.logits_per_image


def test_a_frame_gets_the_probabilities_of_transformers_clip_model(folder, official):
    images = pictures(3)
    _, _, logits = official_embeddings(official, images)
    expected = logits.softmax(-1).numpy()
    labels, model = embed_labels(folder, LABELS), clip_video_model(folder, LABELS)
    for image, row in zip(images, expected, strict=True):
        (result,) = compare_with_labels(frames([image]), model, labels, as_clip=True)
        assert result.actions.names == LABELS
        np.testing.assert_allclose(result.actions.probabilities, row, atol=1e-5)
    assert abs(expected[0] - expected[1]).max() > 0.01, "a blind model shows nothing"


def test_the_window_is_the_mean_of_its_frames(folder, official):
    images = pictures(6)
    seen, words, _ = official_embeddings(official, images)
    scale = official[0].logit_scale.exp()
    labels, model = embed_labels(folder, LABELS), clip_video_model(folder, LABELS, window=4)
    results = list(compare_with_labels(frames(images), model, labels, as_clip=True))
    for number, result in enumerate(results):
        mean = seen[max(0, number - 3) : number + 1].mean(0)
        expected = (scale * (words @ (mean / mean.norm()))).softmax(-1).detach().numpy()
        np.testing.assert_allclose(result.actions.probabilities, expected, atol=1e-5)


def test_of_a_wide_picture_clip_sees_the_centre(folder):
    (wide,) = pictures(1, SIZE, 2 * SIZE)
    labels, model = embed_labels(folder, LABELS), clip_video_model(folder, LABELS)
    centre = np.ascontiguousarray(wide[:, SIZE // 2 : -SIZE // 2])
    one, two = (
        next(compare_with_labels(frames([image]), model, labels, as_clip=True)).actions.probabilities
        for image in (wide, centre)
    )
    np.testing.assert_array_equal(one, two)


def test_a_trained_encoder_is_told_from_clips(folder):
    model = clip_video_model(folder, LABELS)
    assert is_same_tower(model, folder)
    assert is_same_tower(model.half(), folder)
    with torch.no_grad():
        model.float().encoder.class_token.add_(0.01)
    assert not is_same_tower(model, folder)


def test_labels_that_are_no_choice_are_refused(folder):
    for labels in ([], ["one"], ["one", "one"], ["one", " "]):
        with pytest.raises(UsageError, match="two phrases or more, all different"):
            embed_labels(folder, labels)
    with pytest.raises(UsageError, match=r"label 'abababab.*' is too long: 42 tokens, at most 24"):
        embed_labels(folder, ["ab" * 20, "one"])


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_folder_without_a_whole_clip_is_one_line(copy, tmp_path):
    def says(text, action=embed_labels):
        with pytest.raises(WeightsError, match=text) as caught:
            action(copy, LABELS)
        assert "\n" not in str(caught.value)

    (copy / "vocab.json").rename(tmp_path / "vocab.json")
    says("has no tokenizer.json, nor vocab.json and merges.txt")
    shutil.move(tmp_path / "vocab.json", copy / "vocab.json")
    config = json.loads((copy / "config.json").read_text())
    config["projection_dim"] = 12
    (copy / "config.json").write_text(json.dumps(config))
    says("its CLIP model cannot be loaded .size mismatch for")
    config["projection_dim"] = 16
    (copy / "config.json").write_text(json.dumps(config))
    tensors = load_file(copy / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    says("has no visual_projection.weight: it is no whole CLIP model")
    config["vision_config"]["hidden_act"] = "gelu"
    (copy / "config.json").write_text(json.dumps(config))
    says("its activation is gelu", clip_video_model)
    (copy / "config.json").write_text("{}")
    says("describes no CLIP image tower", clip_video_model)
    (copy / "model.safetensors").unlink()
    says("has no model.safetensors or pytorch_model.bin")
    shutil.rmtree(copy)
    says("no folder")


def test_without_transformers_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install .streaming-video-model\[text\]"):
        embed_labels(folder, LABELS)
