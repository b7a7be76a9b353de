"""Several outputs at once: all or none begun, all finished, the input never overwritten."""

from __future__ import annotations

import pytest
from PIL import Image as PillowImage
from tests.video.clips import Coding, detections, flat, noise, result, write_clip

from svit.errors import OutputError, SourceError
from svit.video import open_source, open_writers


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "in").mkdir()
    return write_clip(tmp_path / "in" / "clip.mp4", [flat(80)] * 6)


@pytest.fixture
def wanted(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    names = {"video": "a.mp4", "mot": "a.txt", "jsonl": "a.jsonl", "contact_sheet": "a.png"}
    return {kind: out / name for kind, name in names.items()}


def run(source, outputs):
    with open_writers(source, **outputs) as writers:
        for frame in source:
            writers.write(result(frame.index, frame.image, detections([(5, 5, 40, 40)])))


def left(wanted):
    return sorted(path.name for path in wanted["mot"].parent.iterdir())


def test_every_output_is_written(clip, wanted):
    with open_source(clip) as source:
        run(source, wanted)
    assert left(wanted) == ["a.jsonl", "a.mp4", "a.png", "a.txt"]
    assert len(wanted["mot"].read_text().splitlines()) == 6
    assert len(wanted["jsonl"].read_text().splitlines()) == 6
    with open_source(wanted["video"]) as video:
        assert len(list(video)) == 6


def test_no_output_is_fine(clip):
    before = sorted(clip.parent.iterdir())
    with open_source(clip) as source:
        run(source, {})
    assert sorted(clip.parent.iterdir()) == before


def test_a_source_that_breaks_off_leaves_everything_readable(tmp_path, wanted):
    coding = Coding(container={"movflags": "+faststart"})
    path = write_clip(tmp_path / "clip.mp4", noise(40), coding)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_source(path) as source, pytest.raises(SourceError, match="breaks off"):
        run(source, wanted)
    frames = len(wanted["jsonl"].read_text().splitlines())
    assert frames >= 15
    assert len(wanted["mot"].read_text().splitlines()) == frames
    PillowImage.open(wanted["contact_sheet"]).verify()
    with open_source(wanted["video"]) as video:
        assert len(list(video)) == frames


def test_if_one_cannot_be_opened_none_is_begun_and_older_files_stay(clip, wanted):
    wanted["mot"].write_text("old")
    wanted["contact_sheet"].mkdir()
    with open_source(clip) as source, pytest.raises(OutputError, match="is a folder"):
        open_writers(source, **wanted)
    assert left(wanted) == ["a.png", "a.txt"]
    assert wanted["mot"].read_text() == "old"


def test_if_one_fails_the_others_are_finished(clip, wanted, monkeypatch):
    def fail(self):
        raise OutputError("a.txt: the disk is full; free some space or write elsewhere")

    monkeypatch.setattr("svit.video.writers.LineFile.close", fail)
    with open_source(clip) as source, pytest.raises(OutputError, match="disk is full"):
        run(source, wanted)
    with open_source(wanted["video"]) as video:
        assert len(list(video)) == 6
    PillowImage.open(wanted["contact_sheet"]).verify()


def test_the_input_is_never_overwritten(clip, tmp_path):
    before = clip.read_bytes()
    (tmp_path / "link.mp4").symlink_to(clip)
    with open_source(clip) as source:
        for name in (clip, str(clip), clip.parent / ".." / "in" / "clip.mp4", tmp_path / "link.mp4"):
            with pytest.raises(OutputError, match="is the input"):
                open_writers(source, video=name)
    assert clip.read_bytes() == before


def test_an_image_of_the_input_folder_is_never_overwritten(tmp_path):
    image = tmp_path / "1.png"
    PillowImage.fromarray(flat(30)).save(image)
    with open_source(tmp_path) as source, pytest.raises(OutputError, match="is the input"):
        open_writers(source, contact_sheet=image)


def test_two_outputs_of_one_name_are_refused(clip, tmp_path):
    with open_source(clip) as source, pytest.raises(OutputError, match="two outputs"):
        open_writers(source, mot=tmp_path / "out.txt", jsonl=tmp_path / "out.txt")
