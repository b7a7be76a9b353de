"""`svit classify`: table, lines, picture and video; every odd or broken input; and labels in words."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as PillowImage
from tests.evaluate.action_data import CLASSES, model_of
from tests.integration.results import names, one_line, records, truncated
from tests.integration.samples import lively_model, moving, write_images
from tests.video.clips import Coding, noise, write_clip
from tests.weights.text_towers import write_clip_folder

from svit.evaluate.verdict import Verdict
from svit.stream import Stream
from svit.video import open_source
from svit.weights import save

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 9
ABSENT = ("cv2", "torchvision", "torchcodec", "transformers", "accelerate")


@pytest.fixture(scope="module")
def recogniser():
    return model_of()


@pytest.fixture(scope="module")
def actions(tmp_path_factory, recogniser):
    path = tmp_path_factory.mktemp("weights") / "actions.safetensors"
    save(recogniser, path)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("in") / "clip.mp4", moving(FRAMES), rate=10)


@pytest.fixture
def classify(command, actions):
    return lambda *words: command("classify", *words, "--model", actions)


def table(out):
    """Label and score of each row."""
    rows = re.findall(r"^(.+?) +([01]\.\d{4})$", out, re.MULTILINE)
    return [(label, float(score)) for label, score in rows]


def named(record):
    return [(each["label"], each["score"]) for each in record["actions"]]


def test_it_prints_the_most_probable_classes_and_nothing_else_is_written(classify, video, here):
    status, out, err = classify(video, "--top", 2)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split() == ["label", "score"]
    rows = table(out)
    assert len(rows) == 2
    assert rows == sorted(rows, key=lambda row: -row[1])
    assert {label for label, _ in rows} <= set(CLASSES)
    assert re.search(rf"^summary: +{FRAMES} frames, [\d.]+ frames/s$", out, re.MULTILINE)
    assert names(here) == []


def test_a_line_per_frame_and_the_last_on_the_whole_video(classify, video, here, recogniser):
    status, out, _ = classify(video, "--jsonl", "a.jsonl")
    assert status == 0
    *steps, last = records(here / "a.jsonl")
    assert [each["frame"] for each in steps] == list(range(FRAMES))
    assert [each["timestamp"] for each in steps] == pytest.approx([n / 10 for n in range(FRAMES)])
    for each in (*steps, last):
        scores = [score for _, score in named(each)]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-3)
    assert named(last) == table(out)
    assert last["verdict"] is True
    assert (last["frames"], last["frame"], last["complete"]) == (FRAMES, FRAMES - 1, True)
    stream, verdict = Stream(recogniser), Verdict(recogniser.config.action)
    with open_source(video) as source:
        for frame, record in zip(source, steps, strict=True):
            result = stream.step(frame.image, frame.timestamp)
            verdict.add(result)
            assert [label for label, _ in named(record)] == [label for label, _ in result.actions.top()]
    assert dict(named(last)) == pytest.approx(dict(verdict.scores.top()), abs=1e-4)


def test_json_lines_on_stdout_are_alone_there(classify, video):
    status, out, err = classify(video, "--jsonl", "-", "--top", 1)
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == FRAMES + 1
    assert all(len(each["actions"]) == 1 for each in lines)
    assert "label" in err


def test_video_and_timeline_show_the_scores(classify, video, here):
    status, out, _ = classify(video, "-o", "a.mp4", "--timeline", "a.png")
    assert status == 0
    assert re.search(r"^video: +a.mp4$", out, re.MULTILINE)
    assert re.search(r"^timeline: +a.png$", out, re.MULTILINE)
    with open_source(video) as before, open_source(here / "a.mp4") as after:
        pairs = [
            (one.image.astype(int), two.image.astype(int)) for one, two in zip(before, after, strict=True)
        ]
    assert len(pairs) == FRAMES
    for one, two in pairs:
        changed = abs(one - two).mean(2)
        assert changed[-12:, :20].mean() > 3 * changed[:20, -20:].mean()
    picture = PillowImage.open(here / "a.png")
    assert picture.width > 800
    colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert (0x1F, 0x5F, 0xBF) in colours, "a line"


def test_a_folder_of_images_is_a_source(classify, tmp_path):
    status, out, _ = classify(write_images(tmp_path / "images", moving(5)))
    assert status == 0
    assert "5 frames" in out


def test_it_runs_without_torchvision_torchcodec_and_opencv(video, actions, tmp_path):
    words = ["classify", str(video), "--model", str(actions), "-o", str(tmp_path / "a.mp4")]
    words += ["--timeline", str(tmp_path / "a.png")]
    code = (
        f"import sys\nfor name in {ABSENT}: sys.modules[name] = None\n"
        f"from svit.cli import main\nsys.exit(main({words!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "src", check=False
    )
    assert result.returncode == 0, result.stderr
    assert table(result.stdout)
    assert names(tmp_path) == ["a.mp4", "a.png"]


# Odd and broken videos


def test_a_video_of_no_bytes_or_no_frames_is_one_line(classify, tmp_path, here):
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    none = tmp_path / "none.mkv"
    with av.open(str(none), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    for path, says in (
        (empty, "the file is empty"),
        (none, "no frame can be decoded|holds no video|damaged"),
    ):
        status, out, err = classify(path, "--jsonl", "a.jsonl", "-o", "a.mp4", "--timeline", "a.png")
        assert (status, out) == (1, "")
        one_line(err, says)
        assert str(path) in err
        assert names(here) == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_video_shorter_than_the_window_is_what_its_last_frame_says(classify, tmp_path, here, count):
    path = write_clip(tmp_path / "short.mp4", moving(count), rate=10)
    status, out, _ = classify(path, "--jsonl", "a.jsonl", "--timeline", "a.png", "-o", "a.mp4")
    assert status == 0
    *steps, last = records(here / "a.jsonl")
    assert len(steps) == last["frames"] == count
    assert named(last) == named(steps[-1]) == table(out)
    assert names(here) == ["a.jsonl", "a.mp4", "a.png"]


def test_a_variable_frame_rate_keeps_its_times_and_is_sampled_by_them(command, tmp_path, here):
    times = [0.0, 0.02, 0.04, 0.5, 0.52, 1.0, 1.5]
    path = write_clip(tmp_path / "vfr.mp4", moving(7), times=times)
    save(model_of(action__rate=2.0), "slow.safetensors")
    status, *_ = command("classify", path, "--model", "slow.safetensors", "--jsonl", "a.jsonl")
    assert status == 0
    *steps, last = records(here / "a.jsonl")
    assert [each["timestamp"] for each in steps] == pytest.approx(times, abs=1e-3)
    # At 2 frames/s those at 0, 0.5, 1.0 and 1.5 enter, so the window of 4 is full at the very end.
    assert named(last) == named(steps[-1])


def test_a_missing_duration_does_not_matter(classify, tmp_path):
    path = tmp_path / "raw.h264"  # a bare stream: neither duration nor times
    write_clip(path, moving(6), Coding(options={"crf": "10", "preset": "ultrafast", "bf": "0"}), rate=25)
    status, out, _ = classify(path)
    assert status == 0
    assert "6 frames" in out


def damaged(folder):
    """A video with bytes that are no pictures in its middle."""
    path = write_clip(folder / "damaged.mp4", noise(24), Coding(keyframes=1))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    return path


def test_broken_frames_midway_are_left_out_and_said(classify, tmp_path, here, caplog):
    status, out, _ = classify(damaged(tmp_path), "--jsonl", "a.jsonl")
    assert status == 0
    *steps, last = records(here / "a.jsonl")
    assert 20 <= len(steps) < 24
    assert any("damaged frame" in record.message for record in caplog.records)
    assert last["frames"] == len(steps)
    assert steps[-1]["frame"] == 23
    assert table(out)


def test_a_video_that_breaks_off_is_judged_by_what_was_seen_and_says_so(classify, tmp_path, here):
    whole = write_clip(
        tmp_path / "whole.mp4", noise(24), Coding(container={"movflags": "faststart"}), rate=10
    )
    cut = truncated(tmp_path / "cut.mp4", whole, 0.6)
    status, out, err = classify(cut, "--jsonl", "a.jsonl", "-o", "a.mp4", "--timeline", "a.png")
    assert status == 1
    one_line(err, r"breaks off after \d+ frames")
    *steps, last = records(here / "a.jsonl")
    assert 0 < len(steps) < 24
    assert (last["complete"], last["frames"]) == (False, len(steps))
    assert named(last) == table(out)
    assert re.search(rf"^summary: +{len(steps)} frames, .*; not seen to its end$", out, re.MULTILINE)
    assert names(here) == ["a.jsonl", "a.mp4", "a.png"]


def test_ctrl_c_leaves_whole_files_and_a_verdict_that_says_it_is_partial(
    classify, video, here, monkeypatch, recogniser
):
    seen = itertools.count(1)
    add = Verdict.add

    def add_and_stop(self, result):
        add(self, result)
        if next(seen) == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Verdict, "add", add_and_stop)
    status, out, err = classify(video, "--jsonl", "a.jsonl", "-o", "a.mp4")
    assert status == 1
    assert "stopped" in err
    *steps, last = records(here / "a.jsonl")
    assert len(steps) == last["frames"] == 4
    assert last["complete"] is False
    assert "not seen to its end" in out


# Misfits


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to classify; name a SOURCE"),
        (["a.mp4", "b.mp4"], "one source at a time; 'b.mp4' is too many"),
        (["a.mp4", "--clip", "x"], "--clip goes with --labels only"),
        (["a.mp4", "--labels", "one"], "--labels needs two classes or more"),
        (["a.mp4", "--labels", "one", "two"], "--labels needs --clip FOLDER"),
        (["a.mp4", "--top", "0"], "top"),
    ],
)
def test_a_usage_error_is_one_line_and_status_2(command, here, words, says):
    status, out, err = command("classify", *words)
    assert (status, out) == (2, "")
    one_line(err, says)


def test_a_model_without_an_action_head_is_one_line(command, video, checkpoint, here):
    status, _, err = command("classify", video, "--model", checkpoint, "--jsonl", "a.jsonl")
    assert status == 2
    one_line(err, "has no action head, so it recognises no actions; give one that has with --model")
    assert names(here) == []


@pytest.mark.parametrize("name", ["a.txt", "missing/a.png"])
def test_a_picture_that_cannot_be_written_is_one_line_before_anything_is_begun(classify, video, here, name):
    status, out, err = classify(video, "--timeline", name, "--jsonl", "a.jsonl")
    assert (status, out) == (1, "")
    one_line(err, name)
    assert names(here) == []


# Labels in words


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return write_clip_folder(tmp_path_factory.mktemp("clip"))


def test_labels_in_words_are_compared_by_clip_alone(command, video, clip_folder, here):
    labels = ("a man falls", "a dog runs", "rain")
    status, out, err = command(
        "classify", video, "--labels", *labels, "--clip", clip_folder, "--jsonl", "a.jsonl"
    )
    assert (status, err) == (0, "")
    rows = table(out)
    assert {label for label, _ in rows} == set(labels)
    assert named(records(here / "a.jsonl")[-1]) == rows


def test_a_model_with_clips_token_may_be_compared_and_one_trained_further_is_warned_of(
    command, video, clip_folder, here
):
    labels = ("a man falls", "a dog runs")
    cls = {"encoder__stem": "patch", "encoder__width": 32, "encoder__heads": 2, "token": "cls"}
    save(model_of(**cls), "cls.safetensors")
    words = ("classify", video, "--labels", *labels, "--clip", clip_folder, "--model")
    status, out, err = command(*words, "cls.safetensors")
    assert status == 0, err
    one_line(err, "the encoder of .* is not this CLIP's", "warning")
    assert len(table(out)) == 2
    save(model_of(), "mean.safetensors")
    status, _, err = command(*words, "mean.safetensors")
    assert status == 2
    one_line(err, "has no frame token of CLIP's")
    save(model_of(token="cls"), "narrow.safetensors")
    status, _, err = command(*words, "narrow.safetensors")
    assert status == 2
    one_line(err, "this CLIP has frame tokens of width 32, model 'tiny' of 12")


# Both tasks


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "joint.safetensors"
    head = {"class_names": CLASSES, "window": 4}
    save(lively_model(action=head), path)
    return path


def test_track_with_actions_writes_both_into_the_same_lines_and_onto_the_video(command, video, joint, here):
    words = ("track", video, "--model", joint)
    assert command(*words, "--actions", "-o", "a.mp4", "--jsonl", "a.jsonl", "--mot", "a.txt")[0] == 0
    assert command(*words, "-o", "b.mp4", "--jsonl", "b.jsonl", "--mot", "b.txt")[0] == 0
    both, tracks = records(here / "a.jsonl"), records(here / "b.jsonl")
    assert len(both) == FRAMES
    assert any(each["tracks"] for each in both)
    for one, other in zip(both, tracks, strict=True):
        assert {label for label, _ in named(one)} == set(CLASSES)
        assert {key: value for key, value in one.items() if key != "actions"} == other
    assert (here / "a.txt").read_bytes() == (here / "b.txt").read_bytes()
    with open_source(here / "a.mp4") as with_actions, open_source(here / "b.mp4") as without:
        corners = [
            abs(one.image[-12:, :20].astype(int) - two.image[-12:, :20]).mean()
            for one, two in zip(with_actions, without, strict=True)
        ]
    assert np.mean(corners) > 20


def test_actions_of_a_model_without_the_head_and_tracks_without_a_detector_are_refused(
    command, video, checkpoint, actions, here
):
    for words, says in (
        (("--model", checkpoint, "--actions"), "--actions: model 'tiny' has no action head; leave it away"),
        (("--model", actions), "has no detector, so it cannot track; use svit classify"),
    ):
        status, out, err = command("track", video, *words)
        assert (status, out) == (2, "")
        one_line(err, says)
        assert names(here) == []
    status, _, err = command("track", "--detections", "x.txt", "--actions")
    assert status == 2
    one_line(err, "--actions needs pictures, and --detections has none")
