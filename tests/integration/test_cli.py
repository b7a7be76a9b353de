"""The command line: what each command writes and prints."""

from __future__ import annotations

import json
import os
import re
import sys
import threading

import av
import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from tests.integration.results import names, one_line, records
from tests.integration.samples import SIZE, moving, write_images
from tests.weights.samples import official_state

import svit
from svit.cli import main
from svit.config import DetectorConfig, EncoderConfig, ModelConfig
from svit.model.video_model import VideoModel
from svit.video import open_source


def mot_rows(frames: list[dict]) -> str:
    """The MOT file that agrees with these JSON lines."""
    rows = []
    for frame in frames:
        for each in frame["tracks"]:
            x1, y1, x2, y2 = each["box"]
            rows.append((frame["frame"] + 1, each["id"], x1, y1, x2 - x1, y2 - y1, each["score"], -1, -1, -1))
    return np.array(rows)


def test_all_outputs_of_one_run_agree(track, clip, times, checkpoint, here):
    status, out, err = track(clip, "-o", "a.mp4", "--mot", "a.txt", "--jsonl", "a.jsonl", "--sheet", "a.png")
    assert (status, err) == (0, ""), "no progress bar where stderr is no terminal"
    assert names(here) == ["a.jsonl", "a.mp4", "a.png", "a.txt"]
    frames = records(here / "a.jsonl")
    expected = list(svit.track(clip, checkpoint))
    assert [(frame["frame"], frame["detections"]) for frame in frames] == [
        (result.frame_index, len(result.detections)) for result in expected
    ]
    assert [[each["id"] for each in frame["tracks"]] for frame in frames] == [
        result.tracks.tracker_id.tolist() for result in expected
    ]
    assert [frame["timestamp"] for frame in frames] == pytest.approx(times, abs=1e-3)
    rows = np.loadtxt(here / "a.txt", delimiter=",")
    assert len(rows) > 6
    np.testing.assert_allclose(rows, mot_rows(frames), atol=0.011)
    with av.open(str(here / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == SIZE
    with open_source(here / "a.mp4") as video:
        assert [frame.timestamp for frame in video] == pytest.approx(times, abs=1e-3)
    PillowImage.open(here / "a.png").verify()
    ids = {each["id"] for frame in frames for each in frame["tracks"]}
    assert re.sub(r"[0-9.]+ frames/s", "N frames/s", out).splitlines() == [
        "video:         a.mp4",
        "MOT file:      a.txt",
        "JSON lines:    a.jsonl",
        "contact sheet: a.png",
        f"summary:       6 frames, N frames/s, {len(ids)} tracks",
    ]


def test_without_names_the_outputs_are_named_after_the_source(track, clip, tmp_path, here):
    assert track(clip)[0] == 0
    assert names(here) == ["clip_tracks.mp4", "clip_tracks.txt"]
    assert track(clip, "--no-video")[0] == 0
    assert track(f"{write_images(tmp_path / 'my walk', moving(2))}/", "--no-video")[0] == 0
    assert names(here) == ["clip_tracks.mp4", "clip_tracks.txt", "my_walk_tracks.txt"]


def test_a_password_in_an_address_gets_into_no_file_name():
    from svit.cli.track import _stem

    assert _stem("rtsp://admin:secret@camera") == "camera"
    assert _stem("rtsp://admin:secret@10.0.0.1/live/1?token=secret") == "1"
    assert _stem("0") == "camera0"


def test_only_what_is_asked_for_is_written(track, clip, here):
    assert track(clip, "--sheet", "a.png")[0] == 0
    assert names(here) == ["a.png"]


def test_results_on_stdout_are_nothing_but_results(track, clip, here):
    """Here stdout is a file, as with `>`: it must be neither emptied nor replaced."""
    status, out, err = track(clip, "--jsonl", "-", "--mot", "a.txt")
    assert status == 0
    assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(6))
    assert re.fullmatch(r"MOT file: +a\.txt\nsummary: +6 frames, .* tracks\n", err)
    assert names(here) == ["a.txt"]


def test_an_older_result_is_replaced(track, clip, here):
    (here / "a.txt").write_text("old\n")
    assert track(clip, "--mot", "a.txt")[0] == 0
    assert "old" not in (here / "a.txt").read_text()


def test_the_memory_can_be_chosen(track, clip):
    default, same, short = (
        track(clip, "--jsonl", "-", *more)[1] for more in ([], ["--memory", 4], ["--memory", 1])
    )
    assert default == same != short


def test_the_memory_can_be_kept_in_8_bits_and_in_no_other_number(track, clip):
    assert track(clip, "--jsonl", "-", "--memory-bits", 8)[0] == 0
    status, out, err = track(clip, "--jsonl", "-", "--memory-bits", 4)
    assert (status, out) == (2, "")
    assert "encoder.memory_bits" in err


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_tracks_too(track, clip, precision):
    status, out, _ = track(clip, "--jsonl", "-", "--precision", precision, "--device", "cpu")
    assert status == 0
    assert all(json.loads(line)["detections"] for line in out.splitlines())


def test_an_image_and_a_file_address_are_sources(track, clip, tmp_path, here):
    image = write_images(tmp_path / "images", moving(1)) / "0000.png"
    assert track(image, "--no-video")[0] == 0
    assert track(clip.as_uri(), "--mot", "a.txt")[0] == 0
    assert names(here) == ["0000_tracks.txt", "a.txt"]


def test_it_works_outside_the_main_thread(checkpoint, clip, here):
    """Where no signal handlers can be set."""
    status = []
    words = ["track", str(clip), "--mot", "a.txt", "--model", str(checkpoint)]
    thread = threading.Thread(target=lambda: status.append(main(words)))
    thread.start()
    thread.join()
    assert status == [0]


def test_version_and_help(command):
    assert command("--version") == (0, f"svit {svit.__version__}\n", "")
    for words in ([], ["--help"], ["-h"]):
        status, out, err = command(*words)
        assert (status, err) == (0, "")
        assert all(name in out for name in ("track", "demo", "models", "convert-checkpoint", "--debug"))
    status, out, _ = command("track", "--help")
    assert status == 0
    assert all(option in out for option in ("--mot", "--jsonl", "--sheet", "--memory", "--every-frame"))


def test_models_lists_presets_and_weights_with_their_sizes(command):
    status, out, err = command("models")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert {"tiny", "small", "base", "large"} <= rows.keys()
    assert "199.5 M" in rows["base"]
    assert "1440x800" in rows["base"]
    assert "person" in rows["base"]


def official_model() -> VideoModel:
    """As small as the official layout can be: 12 blocks, 12 heads, windows of 14."""
    encoder = EncoderConfig(width=24, position_grid=3)
    return VideoModel(ModelConfig(encoder=encoder, detector=DetectorConfig(width=16, csp_blocks=1))).eval()


def test_an_official_checkpoint_is_converted_and_tracks(command, track, clip, here, monkeypatch):
    outputs = {5: "ln_post_out1", 8: "ln_post_out2", 11: "ln_post"}
    monkeypatch.setattr("tests.weights.samples.OUTPUTS", outputs)
    torch.save({"state_dict": official_state(official_model())}, here / "epoch_10.pth")
    status, out, err = command("convert-checkpoint", "epoch_10.pth", "m.safetensors", "--half")
    assert (status, err) == (0, "")
    assert "encoder.positions <- detector.backbone.positional_embedding" in out
    assert out.endswith("checkpoint: m.safetensors\n")
    model = svit.load(here / "m.safetensors", device="cpu")
    assert (model.config.encoder.depth, model.config.detector.width) == (12, 16)


@pytest.fixture
def embedded(monkeypatch, checkpoint, clip):
    """The small clip and the small model in place of the embedded ones."""
    monkeypatch.setattr("svit.cli.track.SAMPLE", str(clip))
    monkeypatch.setattr("svit.weights.catalog.bundled_path", lambda name: checkpoint)


@pytest.mark.usefixtures("embedded")
def test_the_demo_writes_every_output_into_its_folder_and_says_where(command, here):
    status, out, err = command("demo", "-o", "some/where")
    assert (status, err) == (0, "")
    written = ["contact_sheet.png", "tracks.jsonl", "tracks.mp4", "tracks.txt"]
    assert names(here / "some" / "where") == written
    assert all(f"some/where/{name}\n" in out for name in written)
    assert re.search(r"summary: +6 frames, [0-9.]+ frames/s, [0-9]+ tracks\n$", out)


@pytest.mark.usefixtures("embedded")
def test_the_demo_says_where_it_cannot_write(command, here):
    (here / "demo").write_text("")
    status, out, err = command("demo")
    assert (status, out) == (1, "")
    one_line(err, "cannot make the folder demo: File exists; choose another with -o")


@pytest.mark.slow
def test_the_real_demo_finds_and_follows_people(command, here):
    status, out, _ = command("demo")
    assert status == 0
    frames = records(here / "demo" / "tracks.jsonl")
    assert sum(bool(frame["tracks"]) for frame in frames) > len(frames) / 2
    assert f"{len(frames)} frames" in out


class Terminal:
    """A terminal in place of stderr; `text` is what was shown on it."""

    def __init__(self, monkeypatch) -> None:
        self._reading, writing = os.openpty()
        self._file = os.fdopen(writing, "w")
        monkeypatch.setattr(sys, "stderr", self._file)
        monkeypatch.setenv("TERM", "xterm")

    def text(self) -> str:
        self._file.flush()
        os.set_blocking(self._reading, False)
        shown = b""
        try:
            while more := os.read(self._reading, 65536):
                shown += more
        except (BlockingIOError, OSError):
            pass
        self._file.close()
        os.close(self._reading)
        return shown.decode()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo terminals")
def test_a_terminal_gets_a_progress_bar_with_frames_per_second(track, clip, monkeypatch):
    terminal = Terminal(monkeypatch)
    status, out, _ = track(clip, "--mot", "a.txt")
    shown = terminal.text()
    assert status == 0
    assert re.search(r"[0-9.]+ frames/s", shown)
    assert "6/6" in shown
    assert "frames/s" in out, "the summary is printed all the same"
    assert "\x1b" not in out
