"""The command line: what it writes and prints, and one line and a status for everything a user gets wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file
from tests.integration.samples import SIZE, lively_model, moving, write_images
from tests.video.clips import Coding, noise, write_clip
from tests.weights.samples import official_state

import svit
from svit.cli import main
from svit.config import DetectorConfig, EncoderConfig, ModelConfig
from svit.model.video_model import VideoModel
from svit.types import Frame
from svit.video import MotWriter, Source, open_source
from svit.video.output import LineFile, output_error
from svit.weights import save

TIMES = [0.0, 0.1, 0.15, 0.5, 0.9, 1.0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "lively.safetensors"
    save(lively_model(), path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("in") / "clip.mp4", moving(6), times=TIMES)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, where unnamed outputs go."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def track(checkpoint, capfd):
    """Runs `svit track` with the small model; returns status, stdout, stderr."""

    def run(*words):
        capfd.readouterr()
        status = main(["track", *map(str, words), "--model", str(checkpoint)])
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def command(capfd):
    """Runs `svit` with these words; returns status, stdout, stderr."""

    def run(*words):
        capfd.readouterr()
        status = main([str(word) for word in words])
        return status, *capfd.readouterr()

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def mot_rows(frames: list[dict]) -> str:
    """The MOT file that agrees with these JSON lines."""
    rows = []
    for frame in frames:
        for each in frame["tracks"]:
            x1, y1, x2, y2 = each["box"]
            rows.append((frame["frame"] + 1, each["id"], x1, y1, x2 - x1, y2 - y1, each["score"], -1, -1, -1))
    return np.array(rows)


def one_line(text: str, says: str, kind: str = "error") -> None:
    assert text.startswith(f"svit: {kind}: ")
    assert text.count("\n") == 1, text
    assert text.endswith("\n")
    assert re.search(says, text), text


# What it writes


def test_all_outputs_of_one_run_agree(track, clip, checkpoint, here):
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
    assert [frame["timestamp"] for frame in frames] == pytest.approx(TIMES, abs=1e-3)
    rows = np.loadtxt(here / "a.txt", delimiter=",")
    assert len(rows) > 6
    np.testing.assert_allclose(rows, mot_rows(frames), atol=0.011)
    with av.open(str(here / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == SIZE
    with open_source(here / "a.mp4") as video:
        assert [frame.timestamp for frame in video] == pytest.approx(TIMES, abs=1e-3)
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
    from svit.cli import _stem

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


# Other commands


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
    monkeypatch.setattr("svit.cli.SAMPLE", str(clip))
    monkeypatch.setattr("svit.weights.catalog._bundled_path", lambda name: checkpoint)


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


# What a user gets wrong


def truncated(path: Path, source: Path, share: float) -> Path:
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def make_wrong_source(kind: str, folder: Path, clip: Path) -> Path:
    path = folder / "wrong.mp4"
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            truncated(path, clip, 0.5)
        case "text":
            path.write_text("not a video\n" * 100)
        case "bytes":
            path.write_bytes(np.random.default_rng(0).bytes(5000))
        case "text file":
            path = folder / "notes.txt"
            path.write_text("a shopping list\n" * 50)
        case "empty folder":
            path = folder / "images"
            path.mkdir()
        case "broken first image":
            path = write_images(folder / "images", moving(2))
            (path / "0000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no such file or folder; check the path"),
        ("empty", "the file is empty"),
        ("truncated", "cut off|damaged or incomplete"),
        ("text", "not a video file, or damaged"),
        ("bytes", "not a video file, or damaged"),
        ("text file", "not a video|holds no video"),
        ("empty folder", "no images in this folder"),
        ("broken first image", r"0000\.png: cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line_and_status_1(track, clip, tmp_path, here, kind, says):
    path = make_wrong_source(kind, tmp_path, clip)
    status, out, err = track(path, "-o", "a.mp4", "--mot", "a.txt")
    assert (status, out) == (1, "")
    one_line(err, says)
    assert str(path) in err
    assert names(here) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for a device file")
def test_a_camera_that_is_not_there_is_one_line(track):
    status, out, err = track("97")
    assert (status, out) == (1, "")
    one_line(err, "camera 97: not found")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["track", "CLIP", "--memry", "3"], "No such option.*--memory"),
        (["trak", "CLIP"], "No such command 'trak'.*track"),
        (["track"], "(?i)source"),
        (["track", "CLIP", "--memory", "a"], "'--memory'.*integer"),
        (
            ["track", "CLIP", "--model", "CHECKPOINT", "--memory", "0"],
            "memory capacity must be 1 frame or more, got 0",
        ),
        (["track", "CLIP", "--model", "tiny-persn"], "did you mean 'tiny-person'"),
        (["track", "CLIP", "--model", "bse"], "no model or file 'bse'; did you mean 'base'"),
        (["track", "CLIP", "--model", "base"], "no weights come with the preset 'base'"),
        (["track", "CLIP", "--precision", "fp61"], "unknown precision 'fp61'; did you mean 'fp16'"),
        (["track", "CLIP", "--device", "gpu"], "device 'gpu' cannot be used here"),
        (["track", "CLIP", "--no-video", "-o", "a.mp4"], "-o asks for a video and --no-video for none"),
        (["convert-checkpoint", "one"], "(?i)target"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_is_one_line_and_status_2(command, checkpoint, clip, here, words, says):
    files = {"CLIP": clip, "CHECKPOINT": checkpoint}
    status, out, err = command(*(files.get(word, word) for word in words))
    assert (status, out) == (2, "")
    one_line(err, says)
    assert names(here) == []


class Malicious:
    """Unpickling it would make a folder."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def make_wrong_checkpoint(kind: str, good: Path) -> Path:
    path = Path("wrong.safetensors")
    match kind:
        case "truncated":
            truncated(path, good, 0.6)
        case "other model":
            save_file({"transformer.weight": torch.zeros(3)}, path)
        case "other shape":
            with_config = lively_model()
            state = {key: torch.zeros(2) for key in with_config.state_dict()}
            save_file(state, path, {"svit": with_config.config.model_dump_json()})
        case "malicious":
            path = Path("wrong.pth")
            torch.save({"state_dict": {"weight": Malicious()}}, path)
        case "video":
            write_clip(path.with_suffix(".mp4"), moving(2)).rename(path)
        case "folder":
            path.mkdir()
        case "NaN":
            model = lively_model()
            model.encoder.norm_in.weight.data.fill_(float("nan"))
            save(model, path)
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no checkpoint at wrong.safetensors"),
        ("truncated", "wrong.safetensors is damaged, truncated"),
        ("other model", "wrong.safetensors is neither a checkpoint of svit"),
        ("other shape", "wrong.safetensors does not fit the model: [0-9]+ of another shape"),
        ("malicious", r"refused to open wrong\.pth: it would execute code"),
        ("video", "wrong.safetensors is damaged"),
        ("folder", "wrong.safetensors is a folder"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line_and_never_executed(command, checkpoint, clip, kind, says):
    path = make_wrong_checkpoint(kind, checkpoint)
    for words in (
        ["track", clip, "--mot", "a.txt", "--model", path],
        ["convert-checkpoint", path, "m.safetensors"],
    ):
        status, out, err = command(*words)
        assert (status, out) == (1, "")
        one_line(err, says)
    assert not Path("executed").exists()
    assert not Path("a.txt").exists()
    assert not Path("m.safetensors").exists()


def test_weights_with_nan_are_one_line(command, clip, checkpoint, here):
    path = make_wrong_checkpoint("NaN", checkpoint)
    status, out, err = command("track", clip, "--mot", "a.txt", "--model", path)
    assert status != 0
    assert out == ""
    one_line(err, "not finite: its weights")
    assert names(here) == ["wrong.safetensors"]


# What breaks on the way: everything before it is kept


def counts(folder: Path) -> dict[str, int]:
    """Frames in each of a run's outputs a.mp4, a.txt, a.jsonl."""
    with open_source(folder / "a.mp4") as video:
        frames = sum(1 for _ in video)
    rows = np.loadtxt(folder / "a.txt", delimiter=",")
    return {"mp4": frames, "txt": len(set(rows[:, 0])), "jsonl": len(records(folder / "a.jsonl"))}


OUTPUTS = ("-o", "a.mp4", "--mot", "a.txt", "--jsonl", "a.jsonl", "--sheet", "a.png")


def test_a_broken_image_in_the_middle_keeps_everything_before_it(track, tmp_path, here):
    folder = write_images(tmp_path / "images", moving(8))
    truncated(folder / "0005.png", folder / "0005.png", 0.5)
    status, out, err = track(folder, *OUTPUTS)
    assert status == 1
    one_line(err, r"0005\.png: cannot be read .*replace or remove it")
    assert counts(here) == {"mp4": 5, "txt": 5, "jsonl": 5}
    PillowImage.open(here / "a.png").verify()
    assert "summary:       5 frames" in out


def test_a_video_that_breaks_off_keeps_everything_before_that(track, tmp_path, here):
    whole = write_clip(tmp_path / "whole.mp4", noise(20), Coding(container={"movflags": "+faststart"}))
    status, _, err = track(truncated(tmp_path / "cut.mp4", whole, 0.6), *OUTPUTS)
    assert status == 1
    one_line(err, "breaks off after [0-9]+ frames")
    frames = int(re.search(r"after ([0-9]+) frames", err)[1])
    assert frames > 5
    assert counts(here) == {"mp4": frames, "txt": frames, "jsonl": frames}


def test_a_change_of_resolution_midway_is_one_warning_and_goes_on(track, tmp_path, here):
    first = write_clip(tmp_path / "a.ts", moving(4)).read_bytes()
    second = write_clip(tmp_path / "b.ts", moving(4, size=(64, 96))).read_bytes()
    (tmp_path / "both.ts").write_bytes(first + second)
    status, _, err = track(tmp_path / "both.ts", *OUTPUTS)
    assert status == 0
    one_line(err, "frame 4: the size changes to 64x96; the memory starts anew", "warning")
    assert counts(here) == {"mp4": 8, "txt": 8, "jsonl": 8}
    with open_source(here / "a.mp4") as video:
        assert {frame.image.shape for frame in video} == {(SIZE[1], SIZE[0], 3)}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize("option", ["--mot", "--jsonl"])
def test_a_full_disk_from_the_start_is_one_line_and_leaves_nothing(track, clip, here, option):
    status, out, err = track(clip, option, "/dev/full", "-o", "a.mp4")
    assert (status, out) == (1, "")
    one_line(err, "/dev/full: the disk is full; free some space or write elsewhere")
    assert names(here) == []


def test_a_disk_that_fills_up_under_the_text_keeps_what_was_written_and_the_video(
    track, clip, here, monkeypatch
):
    append = LineFile.append

    def fill_up(self, lines):
        if lines.startswith("4,"):  # rows of the fourth frame
            raise output_error(Path("a.txt"), OSError(28, os.strerror(28)))
        append(self, lines)

    monkeypatch.setattr(LineFile, "append", fill_up)
    status, out, err = track(clip, *OUTPUTS)
    assert status == 1
    one_line(err, "a.txt: the disk is full")
    assert counts(here) == {"mp4": 4, "txt": 3, "jsonl": 3}, "the video comes first"
    assert "summary:       3 frames" in out


def test_a_disk_that_fills_up_under_the_video_keeps_the_text(track, clip, here, monkeypatch):
    def full(self, image, ticks):
        if ticks > 0:
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr("svit.video.mp4._Encoder.encode", full)
    status, out, err = track(clip, "--jsonl", "a.jsonl", "-o", "a.mp4")
    assert status == 1
    one_line(err, "a.mp4: the disk is full")
    assert len(records(here / "a.jsonl")) == 1
    assert names(here) == ["a.jsonl"]
    assert "a.mp4" not in out, "a file that is not there is not announced"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize("buffer", [1, 8192], ids=["while printing", "at the end"])
def test_a_full_disk_behind_stdout_is_one_line(capfd, buffer):
    with Path("/dev/full").open("w", buffer) as full, redirect_stdout(full):
        status = main(["--version"])
    assert status == 1
    one_line(capfd.readouterr().err, "No space left on device")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing/a.mp4", "the folder missing does not exist; create it first"),
        ("folder.mp4", "is a folder; give the name of a file"),
        ("a.avi", r"must end in \.mp4"),
        ("-", r"-: cannot write this kind of file; its name must end in \.mp4"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line_before_anything_is_begun(track, clip, here, name, says):
    (here / "folder.mp4").mkdir()
    status, out, err = track(clip, "--mot", "a.txt", "-o", name)
    assert (status, out) == (1, "")
    one_line(err, says)
    assert names(here) == ["folder.mp4"]


@pytest.mark.parametrize(
    ("number", "says"), [(13, "no permission to write there"), (30, "the disk is read-only")]
)
def test_no_permission_is_one_line(track, clip, here, monkeypatch, number, says):
    really = Path.open

    def refuse(self, mode="r", *more, **options):
        if "w" in mode:
            raise OSError(number, os.strerror(number))
        return really(self, mode, *more, **options)

    monkeypatch.setattr("svit.video.output.Path.open", refuse)
    status, out, err = track(clip, "--mot", "a.txt")
    assert (status, out) == (1, "")
    one_line(err, says)
    assert names(here) == []


def test_the_input_is_never_overwritten(track, clip, tmp_path):
    before = clip.read_bytes()
    (tmp_path / "link.mp4").symlink_to(clip)
    for name in (clip, tmp_path / "link.mp4"):
        status, out, err = track(clip, "-o", name)
        assert (status, out) == (1, "")
        one_line(err, "is the input; choose another name")
    assert clip.read_bytes() == before


def test_one_name_for_two_outputs_is_one_line(track, clip, here):
    status, _, err = track(clip, "--mot", "-", "--jsonl", "-")
    assert status == 1
    one_line(err, "is named for two outputs")


# Ctrl-C


class Camera(Source):
    """Endless; somebody presses Ctrl-C during its fifth frame."""

    def __init__(self) -> None:
        super().__init__("camera", live=True)
        self.width, self.height = SIZE

    def _read(self):
        for number, image in enumerate(moving(20)):
            if number == 4:
                signal.raise_signal(signal.SIGINT)
            yield Frame(image, number, number / 25)

    def _release(self) -> None:
        pass


def test_ctrl_c_is_how_a_camera_is_stopped(track, here, monkeypatch):
    monkeypatch.setattr("svit.video.open_source", lambda *_, **__: Camera())
    before = signal.getsignal(signal.SIGINT)
    status, out, err = track("0", *OUTPUTS)
    assert (status, err) == (0, "stopped; what was written so far is complete\n")
    assert counts(here) == {"mp4": 4, "txt": 4, "jsonl": 4}
    assert "summary:       4 frames" in out
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_the_middle_of_writing_waits_for_every_output(track, clip, here, monkeypatch):
    """The video is written first: without waiting it would be one frame ahead."""
    append = MotWriter._append

    def interrupted(self, result):
        if result.frame_index == 2:
            signal.raise_signal(signal.SIGINT)
        append(self, result)

    monkeypatch.setattr(MotWriter, "_append", interrupted)
    assert track(clip, *OUTPUTS)[0] == 1
    assert counts(here) == {"mp4": 3, "txt": 3, "jsonl": 3}


def test_ctrl_c_before_the_first_frame_leaves_nothing(track, clip, here, monkeypatch):
    (here / "a.txt").write_text("older\n")
    monkeypatch.setattr("svit.stream.Stream.step", fail(KeyboardInterrupt()))
    assert track(clip, *OUTPUTS)[0] == 1
    assert (names(here), (here / "a.txt").read_text()) == (["a.txt"], "older\n")


def test_ctrl_c_while_the_model_loads_is_one_word(track, clip, monkeypatch):
    monkeypatch.setattr("svit.weights.load", fail(KeyboardInterrupt()))
    assert track(clip) == (1, "", "stopped\n")


# What nobody foresaw


def fail(error):
    def run(*_, **__):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            RuntimeError("shapes differ\nC++ stack:\n  0"),
            "internal error: RuntimeError: shapes differ; run again with",
        ),
        (KeyError("x"), "internal error: KeyError: 'x'; run again with --debug and report it"),
        (AssertionError(), "internal error: AssertionError: no reason given; run again with --debug"),
        (MemoryError(), "error: out of memory; remember fewer frames"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "error: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "error: out of memory"),
        (OSError(5, "Input/output error", "x"), r"error: \[Errno 5\] Input/output error: 'x'"),
    ],
    ids=repr,
)
def test_an_unexpected_error_is_one_line_too_and_keeps_what_was_written(
    track, clip, here, monkeypatch, error, says
):
    step = svit.Stream.step
    monkeypatch.setattr(
        "svit.stream.Stream.step",
        lambda self, *arguments: fail(error)() if self._frames == 3 else step(self, *arguments),
    )
    status, _, err = track(clip, *OUTPUTS)
    assert status == 1
    assert err.startswith("svit: ")
    assert err.count("\n") == 1
    assert re.search(says, err)
    assert counts(here) == {"mp4": 3, "txt": 3, "jsonl": 3}


@pytest.mark.parametrize("place", [0, 2, -1])
def test_debug_anywhere_shows_where_an_error_came_from(command, place):
    words = ["track", "missing.mp4", "--mot", "a.txt", "--model"]
    words.append("tiny-persn")
    words.insert(place if place >= 0 else len(words), "--debug")
    status, _, err = command(*words)
    assert status == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("svit: error: no model or file 'tiny-persn'")


# Progress


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
