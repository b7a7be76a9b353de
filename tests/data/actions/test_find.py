"""Videos are found by path, by the end of a path, or by name, and never the wrong one."""

from __future__ import annotations

import pytest

from svit.data.actions.find import VideoFinder, walk_videos
from svit.errors import DataError

FILES = ["train/arm_wrestling/a.mp4", "train/bowling/b.mp4", "val/bowling/b.webm", "c.mkv", "frames/d"]


def finder(tmp_path, files=FILES, unique=False):
    return VideoFinder(tmp_path, files, unique)


def test_files_and_folders_of_images_are_videos(tmp_path):
    for name in (
        "a/x.mp4",
        "a/y.WEBM",
        "b/clip/1.jpg",
        "b/clip/2.jpg",
        "b/notes.txt",
        ".hidden/z.mp4",
        "1.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert walk_videos(tmp_path) == ["a/x.mp4", "a/y.WEBM", "b/clip"]
    with pytest.raises(DataError, match="no such folder"):
        walk_videos(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("train/arm_wrestling/a.mp4", FILES[0]),
        ("train/arm wrestling/a.mp4", FILES[0]),
        ("/somewhere/k400/train/arm_wrestling/a.mp4", FILES[0]),
        ("arm_wrestling/a.webm", FILES[0]),
        ("a.mp4", FILES[0]),
        ("a", FILES[0]),
        ("val/bowling/b.mp4", FILES[2]),
        ("./c.mkv", FILES[3]),
        ("d", FILES[4]),
    ],
)
def test_a_name_finds_its_video(tmp_path, name, path):
    assert finder(tmp_path).find([name]) == path


def test_two_files_of_one_name_are_told_apart_by_split_and_class_or_named(tmp_path):
    assert finder(tmp_path).find(["b"], ["val"]) == FILES[2]
    with pytest.raises(DataError, match=r"several files are called bowling/b: train/bowling/b\.mp4, val/"):
        finder(tmp_path).find(["bowling/b"])
    assert finder(tmp_path).find(["bowling/b.webm"]) == FILES[2]


def test_the_file_of_another_class_is_not_taken(tmp_path):
    with pytest.raises(DataError, match=r"dancing/a\.mp4 is not there"):
        finder(tmp_path).find(["dancing/a.mp4"])
    assert finder(tmp_path, unique=True).find(["elsewhere/a.mp4"]) == FILES[0]


def test_the_likelier_name_comes_first(tmp_path):
    files = ["x_000010_000020.mp4", "x.mp4", "y.mp4"]
    assert finder(tmp_path, files).find(["x_000010_000020", "x"]) == files[0]
    assert finder(tmp_path, files).find(["y_000010_000020", "y"]) == files[2]


def test_a_file_elsewhere_is_known_by_its_whole_path(tmp_path):
    (tmp_path / "far.mp4").write_bytes(b"")
    assert finder(tmp_path).find([str(tmp_path / "far.mp4")]) == str(tmp_path / "far.mp4")
