"""`svit features`: numbers are the encoder's, files whole, memory bounded, misfits one line."""

from __future__ import annotations

import itertools
import resource
import signal
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tests.evaluate.action_data import model_of
from tests.integration.results import names, one_line, truncated
from tests.integration.samples import moving, write_images
from tests.video.clips import Coding, noise, write_clip

from svit import load
from svit.features import FeatureFile, FeatureStream
from svit.model.preprocess import preprocess
from svit.video import open_source
from svit.video.tensors import TensorWriter
from svit.weights import save

TIMES = [0.0, 0.1, 0.3, 0.35, 0.9, 1.0]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("in") / "clip.mp4", moving(6), times=TIMES)


def read(path):
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 - no mapping


def encoded(model, video):
    """The encoder over the whole video at once."""
    with open_source(video) as source:
        inputs = [preprocess(frame.image, model.config.input, model.config.stride) for frame in source]
    with torch.no_grad():
        return model.encoder(torch.stack(inputs)[None])[0]


@pytest.mark.parametrize("name", ["tracker", "actions"])
def test_tokens_and_maps_are_the_encoders(command, video, checkpoint, here, name):
    path = checkpoint
    if name == "actions":
        save(model_of(token="attention"), path := here / "actions.safetensors")
    status, out, err = command("features", video, "-o", "f.safetensors", "--stages", "--model", path)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split() == ["features:", "f.safetensors"]
    assert "6 frames" in out
    model = load(path)
    tensors, facts = read(here / "f.safetensors")
    maps, blocks = encoded(model, video), model.config.encoder.outputs
    assert set(tensors) == {"tokens", "timestamps", "frames", *(f"stages.{block}" for block in blocks)}
    for block, expected in zip(blocks, maps, strict=True):
        np.testing.assert_allclose(tensors[f"stages.{block}"], expected[0], atol=1e-4)
    with torch.no_grad():
        last = maps[-1]
        token = model.action.token.pool(last)[0] if model.action else last.mean((-2, -1))[0]
    np.testing.assert_allclose(tensors["tokens"], token, atol=1e-4)
    np.testing.assert_allclose(tensors["timestamps"], TIMES, atol=1e-3)
    assert tensors["timestamps"].dtype == torch.float64
    assert tensors["frames"].tolist() == list(range(6))
    assert facts["token"] == ("attention" if model.action else "mean")
    assert (facts["complete"], facts["source"]) == ("true", str(video))


def test_without_being_asked_there_are_no_maps_and_the_memory_can_be_chosen(command, video, checkpoint, here):
    for words in (["-o", "a.safetensors"], ["-o", "b.safetensors", "--memory", 1]):
        assert command("features", video, *words, "--model", checkpoint)[0] == 0
    (a, _), (b, _) = read(here / "a.safetensors"), read(here / "b.safetensors")
    assert set(a) == {"tokens", "timestamps", "frames"}
    assert torch.equal(a["tokens"][0], b["tokens"][0])
    assert not torch.allclose(a["tokens"][-1], b["tokens"][-1], atol=1e-4)


def test_precision_is_the_files_too(command, video, checkpoint, here):
    words = ("features", video, "-o", "f.safetensors", "--model", checkpoint, "--precision", "bf16")
    assert command(*words)[0] == 0
    (tensors, _), model = read(here / "f.safetensors"), load(checkpoint)
    assert tensors["tokens"].dtype == torch.bfloat16
    expected = encoded(model, video)[-1].mean((-2, -1))[0]
    assert abs(tensors["tokens"].float() - expected).mean() < 0.1 * abs(expected).mean()


def test_a_video_that_breaks_off_leaves_what_was_computed_marked(command, tmp_path, checkpoint, here):
    whole = write_clip(tmp_path / "whole.mp4", noise(24), Coding(container={"movflags": "faststart"}))
    cut = truncated(tmp_path / "cut.mp4", whole, 0.6)
    status, out, err = command("features", cut, "-o", "f.safetensors", "--stages", "--model", checkpoint)
    assert status == 1
    one_line(err, r"breaks off after \d+ frames")
    tensors, facts = read(here / "f.safetensors")
    assert facts["complete"] == "false"
    assert len({len(tensor) for tensor in tensors.values()}) == 1
    assert 0 < len(tensors["tokens"]) < 24
    assert "not seen to its end" in out
    assert names(here) == ["f.safetensors"]


def test_ctrl_c_leaves_a_whole_file(command, video, checkpoint, here, monkeypatch):
    seen, write = itertools.count(1), FeatureFile.write

    def write_and_stop(self, frame):
        write(self, frame)
        if next(seen) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(FeatureFile, "write", write_and_stop)
    status, _, err = command("features", video, "-o", "f.safetensors", "--model", checkpoint)
    assert status == 1
    assert "stopped" in err
    tensors, facts = read(here / "f.safetensors")
    assert (len(tensors["tokens"]), facts["complete"]) == (3, "false")


def test_an_older_file_stays_until_the_new_one_is_whole(command, checkpoint, tmp_path, here):
    (here / "f.safetensors").write_bytes(b"older")
    images = write_images(tmp_path / "images", moving(3))
    (images / "0000.png").write_bytes(b"broken")
    status, _, err = command("features", images, "-o", "f.safetensors", "--model", checkpoint)
    assert status == 1
    one_line(err, r"0000\.png")
    assert (here / "f.safetensors").read_bytes() == b"older"
    assert names(here) == ["f.safetensors"]


@pytest.mark.parametrize("stages", [False, True])
def test_where_the_size_changes_tokens_go_on_and_maps_cannot(command, tmp_path, checkpoint, here, stages):
    images = write_images(tmp_path / "images", moving(3))
    write_images(tmp_path / "more", moving(2, size=(64, 96)))
    for number in range(2):
        (tmp_path / "more" / f"{number:04}.png").rename(images / f"{number + 3:04}.png")
    words = ("features", images, "-o", "f.safetensors", "--model", checkpoint)
    status, _, err = command(*words, *(["--stages"] if stages else []))
    if stages:
        assert status == 2
        one_line(err, "frame 3: the size changes to 64x96, and maps of one file must be of one size")
        assert names(here) == []
    else:
        assert status == 0
        assert len(read(here / "f.safetensors")[0]["tokens"]) == 5


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["clip.mp4"], 2, "output"),
        (["missing.mp4", "-o", "f.safetensors"], 1, "no such file"),
        (["{video}", "-o", "f.npz"], 1, "must end in .safetensors"),
        (["{video}", "-o", "nowhere/f.safetensors"], 1, "does not exist"),
        (["{video}", "-o", "f.safetensors", "--memory", "0"], 2, "memory"),
        (["{video}", "-o", "f.safetensors", "--model", "base"], 2, "no weights come with the preset"),
    ],
)
def test_misfits_are_one_line(command, video, here, words, status, says):
    found, _, err = command("features", *(word.format(video=video) for word in words))
    assert found == status
    one_line(err, says)
    assert names(here) == []


def test_rows_wait_on_the_disk_not_in_memory(tmp_path):
    writer = TensorWriter(tmp_path / "big.safetensors")
    row = np.ones((1 << 18,), np.float32)  # 1 MiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(200):
        writer.add("a", row * number)
    writer.close({"format": "pt"})
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if sys.platform == "linux":  # elsewhere it counts other units
        assert grown < 60 << 10
    with safe_open(tmp_path / "big.safetensors", framework="np") as file:
        part = file.get_slice("a")
        assert part.get_shape() == [200, 1 << 18]
        np.testing.assert_array_equal(part[199:200, :3], [[199.0] * 3])
    assert names(tmp_path) == ["big.safetensors"]


def test_rows_of_another_shape_are_refused(tmp_path):
    writer = TensorWriter(tmp_path / "a.safetensors")
    writer.add("a", np.zeros(3, np.float32))
    for row in (np.zeros(4, np.float32), np.zeros(3, np.float16)):
        with pytest.raises(ValueError, match="a has rows"):
            writer.add("a", row)
    writer.discard()
    assert names(tmp_path) == []


def test_a_stream_of_features_starts_anew_where_the_size_changes():
    model = model_of()
    images = moving(3)
    wide, tall = images[0], np.ascontiguousarray(images[0].swapaxes(0, 1))
    stream = FeatureStream(model)
    first = stream.step(wide).token
    stream.step(wide)
    stream.step(tall)
    assert torch.equal(stream.step(wide).token, first)
