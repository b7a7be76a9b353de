"""A run over an action data set: answers are the model's, it goes on where it was, and nothing is lost."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.evaluate.action_data import CLASSES, SPLIT, make_index, model_of, read

from svit.data.actions import ActionViews, SamplingConfig, ViewConfig
from svit.errors import DataError, UsageError
from svit.evaluate.action import score_actions
from svit.evaluate.action_folder import SHARES
from svit.evaluate.action_run import ActionOptions, evaluate_actions
from svit.evaluate.verdict import Verdict
from svit.model.memory import StreamMemory
from svit.model.preprocess import preprocess
from svit.stream import Stream
from svit.types import no_progress
from svit.video import open_source

SAMPLING = SamplingConfig(length=4)
TOLERANCE = 1e-5


def options(clips=1, crops=1, **values):
    views = ViewConfig(size=32, clips=clips, crops=crops)
    return ActionOptions(**{"split": SPLIT, "views": views, "sampling": SAMPLING, **values})


@pytest.fixture(scope="module")
def model():
    return model_of()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def index(path):
    return read(path)


@pytest.fixture
def own(tmp_path):
    """An index whose videos may be damaged."""
    (tmp_path / "data").mkdir()
    return read(make_index(tmp_path / "data"))


def answers(evaluation):
    return np.stack([video.answer for video in evaluation.videos])


def plain_answers(model, index, views):
    """Every view as one clip, one after the other."""
    found = []
    for video in (ActionViews(index, SPLIT, SAMPLING, views)[n] for n in range(len(index.of(SPLIT)))):
        clips = [
            torch.stack([preprocess(frame, model.config.input, model.config.stride) for frame in clip])
            for clip in video.frames
        ]
        with torch.no_grad():
            logits = [model.classify(clip[None], StreamMemory(4))[0][0, -1] for clip in clips]
        found.append(torch.stack(logits).softmax(-1).mean(0).numpy())
    return np.stack(found)


@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (4, 3), (1, 3), (2, 3)])
def test_the_answer_is_the_mean_over_the_views(tmp_path, model, index, clips, crops):
    evaluation = evaluate_actions(model, index, tmp_path, options(clips, crops))
    expected = plain_answers(model, index, ViewConfig(size=32, clips=clips, crops=crops))
    np.testing.assert_allclose(answers(evaluation), expected, atol=TOLERANCE)
    labels = np.array([video.label for video in index.of(SPLIT)])
    assert evaluation.scores == pytest.approx(score_actions(expected, labels), nan_ok=True)
    assert len(set(expected.argmax(1).tolist())) > 1, "a blind model shows nothing"


def test_views_differ(model, index):
    one, many = (plain_answers(model, index, ViewConfig(size=32, clips=c, crops=3)) for c in (1, 4))
    assert abs(one - many).max() > 0.01


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_chunks_change_nothing_but_rounding(tmp_path, model, index, chunk):
    whole = evaluate_actions(model, index, tmp_path / "whole", options(2, 3))
    cut = evaluate_actions(model, index, tmp_path / "cut", options(2, 3, chunk=chunk))
    np.testing.assert_allclose(answers(cut), answers(whole), atol=TOLERANCE)


def test_streaming_is_one_pass_over_the_whole_video(tmp_path, model, index):
    evaluation = evaluate_actions(model, index, tmp_path, options(views=None, streaming=True))
    video = index.videos[2]
    stream, verdict, seen = Stream(model), Verdict(model.config.action), []
    with open_source(index.path_of(video)) as source:
        for frame in source:
            result = stream.step(frame.image, frame.timestamp)
            verdict.add(result)
            seen.append((frame.timestamp, verdict.scores.probabilities, result.actions.probabilities))
    assert len(seen) == 12
    with np.load(tmp_path / "videos" / "000002.npz") as found:
        for place, share in enumerate(SHARES):
            last = [each for each in seen if each[0] < share * video.duration - 1e-5][-1]
            np.testing.assert_allclose(found["verdicts"][place], last[1], atol=TOLERANCE)
            np.testing.assert_allclose(found["moments"][place], last[2], atol=TOLERANCE)
        assert found["ms"].shape == (12,)
        np.testing.assert_allclose(evaluation.videos[2].answer, found["verdicts"][-1])
    assert evaluation.scores is None
    assert evaluation.streaming.frames == 8 + 3 + 12 + 1 + 6
    assert evaluation.streaming.ms["mean"] > 0


def test_a_short_video_is_what_its_last_frame_says_and_a_long_one_the_mean_of_full_windows(model):
    with torch.no_grad():
        results = [
            Stream(model).step(np.random.default_rng(n).integers(0, 256, (48, 64, 3)).astype(np.uint8))
            for n in range(7)
        ]
    verdict = Verdict(model.config.action)
    assert verdict.scores is None
    for number, result in enumerate(results):
        verdict.add(result)
        full = [each.actions.probabilities for each in results[3 : number + 1]]
        expected = np.mean(full, 0) if full else result.actions.probabilities
        np.testing.assert_allclose(verdict.scores.probabilities, expected, atol=1e-6)


def test_workers_change_nothing(tmp_path, model, index):
    alone = evaluate_actions(model, index, tmp_path / "alone", options(streaming=True))
    shared = evaluate_actions(model, index, tmp_path / "shared", options(streaming=True, workers=2))
    np.testing.assert_allclose(answers(shared), answers(alone), atol=TOLERANCE)
    for mine, theirs in zip(shared.streaming.verdicts, alone.streaming.verdicts, strict=True):
        assert mine == pytest.approx(theirs, nan_ok=True)


def stop_after(count):
    def progress(items, label, total=None):
        for number, item in enumerate(items, 1):
            if number > count:
                raise KeyboardInterrupt
            yield item

    return progress


def count_into(counted):
    def progress(items, label, total=None):
        counted.append(total)
        return no_progress(items, label, total)

    return progress


def test_a_stopped_run_goes_on_at_the_video_it_was_in(tmp_path, model, index):
    whole = evaluate_actions(model, index, tmp_path / "whole", options())
    with pytest.raises(KeyboardInterrupt):
        evaluate_actions(model, index, tmp_path / "cut", options(), stop_after(2))
    assert not (tmp_path / "cut" / "results.json").exists()
    counted = []
    again = evaluate_actions(model, index, tmp_path / "cut", options(), count_into(counted))
    assert counted == [2]  # the third was computed before the stop was noticed
    np.testing.assert_array_equal(answers(again), answers(whole))
    assert (tmp_path / "cut/predictions.jsonl").read_bytes() == (
        tmp_path / "whole/predictions.jsonl"
    ).read_bytes()


def test_a_folder_of_another_run_is_refused_until_told(tmp_path, model, index):
    evaluate_actions(model, index, tmp_path, options())
    with pytest.raises(UsageError, match=r"views\.clips 1, now 2.*--overwrite"):
        evaluate_actions(model, index, tmp_path, options(clips=2))
    evaluate_actions(model, index, tmp_path, options(clips=2, overwrite=True))


def test_what_cannot_be_read_is_counted_and_listed_and_tried_again(tmp_path, model, own):
    lost = own.path_of(own.videos[0])
    data = lost.read_bytes()
    lost.unlink()
    evaluation = evaluate_actions(model, own, tmp_path / "out", options(streaming=True))
    assert evaluation.counts == {"scored": 4, "damaged": 0, "unreadable": 1, "broken": 1}
    content = json.loads((tmp_path / "out/results.json").read_text())
    assert [each["path"] for each in content["lost"]] == ["v0.mp4", "lost0.mp4"]
    assert "v0.mp4" in content["lost"][0]["reason"]
    records = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert [record["path"] for record in records] == [video.path for video in own.videos]
    assert records[0]["actions"] is None
    assert records[0]["notes"]
    assert all(record["actions"] for record in records[1:])
    rest = np.array([video.label for video in own.videos[1:]])
    expected = score_actions(np.stack([video.answer for video in evaluation.videos[1:]]), rest)
    assert evaluation.scores == pytest.approx(expected, nan_ok=True)
    lost.write_bytes(data)
    counted = []
    again = evaluate_actions(model, own, tmp_path / "out", options(streaming=True), count_into(counted))
    assert counted == [1]
    assert again.counts["unreadable"] == 0


def test_a_video_that_breaks_off_is_judged_by_what_was_seen_and_named(tmp_path, model, own):
    (own.root / "pictures" / "0005.png").write_bytes(b"no picture")
    evaluation = evaluate_actions(model, own, tmp_path, options(streaming=True))
    assert evaluation.counts["damaged"] == 1
    pictures = evaluation.videos[-1]
    assert pictures.answer is not None
    assert any("0005.png" in note for note in pictures.notes)
    with np.load(tmp_path / "videos" / "000004.npz") as found:
        assert len(found["ms"]) == 3  # from the third image on, up to the broken one
        assert found["verdicts"].shape == (10, 3)


def test_a_data_set_of_which_nothing_can_be_read_has_no_scores(tmp_path, model, own):
    for video in own.videos[:-1]:
        own.path_of(video).unlink()
    for image in (own.root / "pictures").iterdir():
        image.unlink()
    with pytest.raises(DataError, match=r"none of the 5 videos can be read; the first: .*v0"):
        evaluate_actions(model, own, tmp_path / "out", options())
    assert not (tmp_path / "out/results.json").exists()


def test_classes_are_matched_by_name(tmp_path, index, model):
    order = ("rest", "fall", "walk", "run")
    other = model_of(order)
    other.load_state_dict(
        {k: v for k, v in model.state_dict().items() if "classifier" not in k}, strict=False
    )
    with torch.no_grad():
        for name in ("weight", "bias"):
            mine, theirs = (getattr(m.action.classifier, name) for m in (other, model))
            mine.fill_(-100.0 if name == "bias" else 0.0)
            for place, label in enumerate(CLASSES):
                mine[order.index(label)] = theirs[place]
    one = evaluate_actions(model, index, tmp_path / "one", options())
    two = evaluate_actions(other, index, tmp_path / "two", options())
    assert two.scores["top-1"] == one.scores["top-1"]
    assert [two.classes[v.label] for v in two.videos] == [one.classes[v.label] for v in one.videos]


@pytest.mark.parametrize(
    ("model", "values", "says"),
    [
        (
            lambda: model_of(("walk", "run")),
            {},
            "2 classes and small 3, of which it does not know 'fall'; train a",
        ),
        (lambda: model_of().train(), {}, "training mode"),
        (model_of, {"views": None}, "nothing is asked"),
        (model_of, {"chunk": 0}, "chunk must be 1 or more"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, index, model, values, says):
    with pytest.raises(UsageError, match=says) as caught:
        evaluate_actions(model(), index, tmp_path / "out", options(**values))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
