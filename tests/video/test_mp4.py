"""The annotated video: plays in browsers, keeps the times, survives interruption and a full disk."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from tests.video.clips import detections, flat, levels, noise, read_levels, result, write_and_fail

from svit.errors import OutputError, SourceError, UsageError
from svit.video import VideoWriter, open_source


def write(path, images, times=None, rate=10):
    with VideoWriter(path, rate) as writer:
        for index, image in enumerate(images):
            writer.write(result(index, image, timestamp=None if times is None else times[index]))
    return path


def boxes(path: Path) -> list[bytes]:
    """Kinds of the top-level boxes of an mp4, in order."""
    data, kinds, position = path.read_bytes(), [], 0
    while position < len(data):
        kinds.append(data[position + 4 : position + 8])
        position += int.from_bytes(data[position : position + 4], "big")
    return kinds


def test_it_is_what_browsers_play(tmp_path):
    path = write(tmp_path / "out.mp4", [flat(level) for level in levels(30)])
    kinds = boxes(path)
    assert kinds.index(b"moov") < kinds.index(b"mdat"), "the index comes first"
    assert b"moof" not in kinds
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert stream.frames == 30
        assert float(stream.average_rate) == pytest.approx(10, rel=0.05)
        assert stream.codec_context.colorspace == stream.codec_context.color_primaries == 1
        assert stream.codec_context.color_range == 1


def test_frames_come_back_in_order_and_colour(tmp_path):
    path = write(tmp_path / "out.mp4", [flat(level) for level in levels(40)])
    with open_source(path) as source:
        assert np.allclose(read_levels(frame.image for frame in source), levels(40), atol=2)


@pytest.mark.parametrize("colour", [(220, 30, 40), (30, 200, 60), (40, 50, 230), (255, 255, 255), (0, 0, 0)])
def test_colours_survive(tmp_path, colour):
    path = write(tmp_path / "out.mp4", [np.full((64, 96, 3), colour, np.uint8)] * 3)
    with open_source(path) as source:
        assert np.abs(next(source).image.astype(int) - colour).max() <= 6


def test_variable_times_are_kept(tmp_path):
    times = [0.0, 0.033, 0.1, 0.5, 0.52, 1.4, 1.5, 9.0]
    path = write(tmp_path / "out.mp4", noise(8), times)
    with open_source(path) as source:
        assert [frame.timestamp for frame in source] == pytest.approx(times, abs=1e-4)


def test_times_that_do_not_increase_are_made_to(tmp_path):
    path = write(tmp_path / "out.mp4", noise(4), [0.0, 0.1, 0.1, 0.05])
    with open_source(path) as source:
        assert len(list(source)) == 4


@pytest.mark.parametrize("size", [(97, 64), (96, 65), (33, 17), (1, 1)])
def test_odd_sizes_are_padded_to_even_ones(tmp_path, size):
    path = write(tmp_path / "out.mp4", [flat(150, size)] * 3)
    with open_source(path) as source:
        image = next(source).image
    assert image.shape[:2] == (size[1] + size[1] % 2, size[0] + size[0] % 2)
    assert np.abs(image.astype(int) - 150).max() <= 3, "the border is repeated, not black"


def test_a_change_of_size_is_fitted_into_the_first_size(tmp_path):
    path = write(tmp_path / "out.mp4", [flat(200)] * 3 + [flat(200, (64, 64))] * 3)
    with open_source(path) as source:
        frames = [frame.image for frame in source]
    assert {image.shape for image in frames} == {(64, 96, 3)}
    last = frames[-1].astype(int)
    assert np.abs(last[:, 20:76] - 200).max() <= 6
    assert last[:, :12].max() <= 10
    assert last[:, -12:].max() <= 10


def test_tracks_are_drawn(tmp_path):
    image = flat(100, (320, 240))
    with VideoWriter(tmp_path / "out.mp4", 10) as writer:
        for index in range(3):
            writer.write(result(index, image, detections([(60, 60, 200, 200)])))
    with open_source(tmp_path / "out.mp4") as source:
        shown = next(source).image.astype(int)
    assert np.abs(shown[130, 59:62] - 100).sum(axis=1).max() > 60
    assert np.abs(shown[100:180, 90:170] - 100).max() <= 6
    assert (image == 100).all()


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_what_was_written_before_a_failure_or_ctrl_c_plays(tmp_path, failure):
    path = tmp_path / "out.mp4"
    results = [result(index, flat(level)) for index, level in enumerate(levels(25))]
    with pytest.raises(failure):
        write_and_fail(VideoWriter(path, 10), results, failure)
    with open_source(path) as source:
        assert len(list(source)) == 25
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_without_a_frame_nothing_is_left_and_an_older_file_stays(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    with VideoWriter(path, 10):
        pass
    with pytest.raises(RuntimeError), VideoWriter(path, 10):
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]


def test_an_older_file_is_replaced(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    write(path, [flat(50)] * 3)
    with open_source(path) as source:
        assert len(list(source)) == 3


def run_child(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that needs a process of its own, in `folder`."""
    head = (
        "import sys, os, warnings\nwarnings.simplefilter('ignore')\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from svit.video import VideoWriter\nfrom svit.errors import OutputError\n"
        "from tests.video.clips import noise, result\n"
        "images = noise(20, size=(192, 160))\n"
    )
    command = [sys.executable, "-c", head + script, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_that_fills_up_leaves_a_video_that_plays(tmp_path):
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "try:\n"
        "    with VideoWriter('out.mp4', 10) as writer:\n"
        "        for index in range(120):\n"
        "            writer.write(result(index, images[index % 20]))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    child = run_child(script, tmp_path)
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("out.mp4: the file is larger than allowed here")
    assert child.stdout.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]
    with open_source(tmp_path / "out.mp4") as source:
        assert len(list(source)) >= 10


def test_a_video_whose_writer_was_killed_plays(tmp_path):
    script = (
        "writer = VideoWriter('out.mp4', 10)\n"
        "for index in range(120):\n"
        "    writer.write(result(index, images[index % 20]))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    child = run_child(script, tmp_path)
    assert child.returncode != 0
    frames = []
    # The last fragment may be incomplete, which the source says after the frames before it.
    with open_source(tmp_path / ".out.mp4.part") as source, suppress(SourceError):
        frames.extend(frame.index for frame in source)
    assert len(frames) >= 80


def test_nothing_is_printed_while_writing(tmp_path, capfd):
    write(tmp_path / "out.mp4", noise(5))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_rate_is_refused(tmp_path, rate):
    with pytest.raises(UsageError, match="frame rate"):
        VideoWriter(tmp_path / "out.mp4", rate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [0.2, 14.0, 23.976, 29.97002997, 1000.0])
def test_any_sensible_rate_is_taken(tmp_path, rate):
    times = [number / rate for number in range(4)]
    path = write(tmp_path / "out.mp4", noise(4), times, rate)
    with open_source(path) as source:
        assert [frame.timestamp for frame in source] == pytest.approx(times, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "says"), [("out.avi", "must end in"), ("missing/out.mp4", "does not exist")]
)
def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path, name, says):
    with pytest.raises(OutputError, match=says):
        VideoWriter(tmp_path / name, 10)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs the device /dev/null")
def test_a_device_is_refused():
    with pytest.raises(OutputError, match="not a regular file"):
        VideoWriter("/dev/null", 10)
