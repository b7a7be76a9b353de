"""`svit.track`: from any source to results, one per frame, with the source's own numbers and times."""

from __future__ import annotations

import pytest
from PIL import Image as PillowImage
from tests.integration.samples import ids, lively_model, moving, said, write_images

import svit
from svit.errors import SourceError, UsageError, WeightsError
from svit.tracking import ByteTracker
from svit.video import open_source


def test_one_result_per_frame_with_the_times_of_the_file(model, clip, times):
    results = list(svit.track(clip, model))
    assert [result.frame_index for result in results] == list(range(6))
    assert [result.timestamp for result in results] == pytest.approx(times, abs=1e-3)
    assert all(result.image.shape == (64, 96, 3) for result in results)
    assert all(ids(result) for result in results)


def test_it_is_what_a_stream_says_of_the_same_frames(model, clip):
    stream = svit.Stream(model)
    with open_source(clip) as source:
        expected = [said(stream.step(frame.image, frame.timestamp)) for frame in source]
    assert [said(result) for result in svit.track(clip, model)] == expected


def test_paths_names_folders_and_opened_sources_are_taken(model, clip, tmp_path):
    expected = [said(result) for result in svit.track(clip, model)]
    assert [said(result) for result in svit.track(str(clip), model)] == expected
    svit.weights.save(model, tmp_path / "model.safetensors")
    for name in (tmp_path / "model.safetensors", str(tmp_path / "model.safetensors")):
        loaded = svit.track(clip, name, device="cpu", precision="fp32")
        assert [said(result) for result in loaded] == expected
    with open_source(clip) as source:
        next(source)
        rest = list(svit.track(source, model))
        assert [result.frame_index for result in rest] == [1, 2, 3, 4, 5], "numbers are the source's"
    folder = write_images(tmp_path / "images", moving(3))
    assert [result.timestamp for result in svit.track(folder, model)] == [0.0, 0.04, 0.08]


def test_memory_and_tracker_can_be_chosen(model, clip):
    usual = [said(result) for result in svit.track(clip, model)]
    assert [said(result) for result in svit.track(clip, model, memory=4)] == usual
    assert [said(result) for result in svit.track(clip, model, memory=1)] != usual
    strict = ByteTracker(high=1.0, init=1.0)
    assert not any(ids(result) for result in svit.track(clip, model, tracker=strict))


def test_a_run_that_is_broken_off_closes_what_it_opened(model, clip, monkeypatch):
    opened = []

    def remember(*arguments, **options):
        opened.append(open_source(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr("svit.stream.open_source", remember)
    results = svit.track(clip, model)
    next(results)
    results.close()
    assert len(opened) == 1
    assert next(opened[0], None) is None, "a closed source has no more frames"


def test_a_source_that_was_handed_over_stays_the_callers(model, clip):
    with open_source(clip) as source:
        results = svit.track(source, model)
        next(results)
        results.close()
        assert next(source).index == 1


def test_what_a_user_gets_wrong_is_one_line(model, clip, tmp_path):
    (tmp_path / "empty").mkdir()
    wrong = [
        (SourceError, "no such file", lambda: svit.track(tmp_path / "none.mp4", model)),
        (SourceError, "no images in this folder", lambda: svit.track(tmp_path / "empty", model)),
        (UsageError, "did you mean 'tiny-person'", lambda: svit.track(clip, "tiny-persn")),
        (WeightsError, "no checkpoint at", lambda: svit.track(clip, tmp_path / "none.safetensors")),
        (UsageError, "memory capacity must be 1", lambda: svit.track(clip, model, memory=0)),
        (UsageError, "a loaded model has its own", lambda: svit.track(clip, model, device="cpu")),
        (UsageError, "unknown precision 'fp8'", lambda: svit.track(clip, "tiny-person", precision="fp8")),
        (UsageError, "device 'gpu' cannot be used", lambda: svit.track(clip, "tiny-person", device="gpu")),
        (UsageError, "no detector", lambda: svit.track(clip, lively_model(detector=None))),
    ]
    for kind, says, run in wrong:
        with pytest.raises(kind, match=says) as caught:
            list(run())
        assert isinstance(caught.value, svit.SvitError)
        assert "\n" not in str(caught.value)


def test_a_broken_image_in_the_middle_ends_the_results_after_those_before_it(model, tmp_path):
    folder = write_images(tmp_path / "images", moving(5))
    (folder / "0003.png").write_bytes((folder / "0003.png").read_bytes()[:40])
    seen = []
    with pytest.raises(SourceError, match=r"0003\.png: cannot be read"):
        seen.extend(result.frame_index for result in svit.track(folder, model))
    assert seen == [0, 1, 2]


def test_a_folder_of_grey_rgba_and_16_bit_images_is_tracked(model, tmp_path):
    folder = write_images(tmp_path / "images", moving(1))
    grey = PillowImage.fromarray(moving(1)[0]).convert("L")
    grey.save(folder / "0001.png")
    grey.convert("RGBA").save(folder / "0002.png")
    PillowImage.new("I;16", grey.size, 40_000).save(folder / "0003.png")
    assert [result.image.shape for result in svit.track(folder, model)] == [(64, 96, 3)] * 4
