"""Streams with an action head: what a video is taken for, sampled by its clock, with tracks or alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.integration.samples import ids, lively_model, moving, said

from svit import ActionScores, Stream, UsageError, WeightsError, track
from svit.config import ModelConfig
from svit.model.video_model import VideoModel
from svit.stream import Sampling
from svit.types import Frame
from svit.video import JsonLinesWriter, Source

NAMES = ("walk", "run", "fall", "jump", "rest", "wave")
ACTION = {"class_names": NAMES, "window": 4, "depth": 1}
ALONE = {"detector": None, "pyramid": False}


@pytest.fixture(scope="module")
def joint():
    return lively_model(action=ACTION).double()


def without_head(model: VideoModel) -> VideoModel:
    config = ModelConfig.model_validate(model.config.model_dump() | {"action": None})
    plain = VideoModel(config).eval().double()
    plain.load_state_dict({k: x for k, x in model.state_dict().items() if not k.startswith("action.")})
    return plain


def scores(results):
    return np.stack([result.actions.probabilities for result in results])


def steps(stream, images, times=None):
    times = [None] * len(images) if times is None else times
    return [stream.step(image, time) for image, time in zip(images, times, strict=True)]


def test_scores_name_the_classes_the_most_probable_first():
    found = ActionScores(("a", "b", "c"), np.array([0.2, 0.5, 0.3], np.float32))
    assert found.top(2) == [("b", 0.5), ("c", pytest.approx(0.3))]
    assert [name for name, _ in found.top()] == ["b", "c", "a"]


def test_a_stream_tracks_and_recognises_in_one_pass(joint):
    images = moving(9)
    passes = []
    hook = joint.encoder.blocks[0].register_forward_pre_hook(lambda *_: passes.append(1))
    results = steps(Stream(joint), images)
    hook.remove()
    assert len(passes) == 9
    probabilities = scores(results)
    assert probabilities.shape == (9, len(NAMES))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert np.abs(np.diff(probabilities, axis=0)).max() > 1e-3
    assert results[0].actions.names == NAMES
    plain = steps(Stream(without_head(joint)), images)
    assert [said(result) for result in results] == [said(result) for result in plain]
    assert [result.actions for result in plain] == [None] * 9


def test_a_model_without_detector_has_scores_and_no_tracks():
    model = lively_model(action=ACTION, **ALONE)
    stream = Stream(model)
    results = steps(stream, moving(3))
    assert all(len(result.detections) == len(result.tracks) == 0 for result in results)
    assert scores(results).shape == (3, len(NAMES))
    resumed = Stream(model)
    resumed.load_state_dict(stream.state_dict())
    (ours,), (theirs,) = (scores(steps(each, moving(1, seed=4))) for each in (stream, resumed))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("rate", [None, 12.0])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_chunks_and_steps_take_a_video_for_the_same(joint, size, rate):
    model = with_rate(joint, rate)
    images = moving(17)
    expected = steps(Stream(model), images)
    stream = Stream(model)
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    results = [result for part in parts for result in stream.chunk(part)]
    np.testing.assert_allclose(scores(results), scores(expected), atol=1e-5)
    assert [ids(result) for result in results] == [ids(result) for result in expected]


def test_two_interleaved_streams_never_mix(joint):
    clips = moving(8, seed=1), moving(8, seed=2)
    separate = [scores(steps(Stream(joint), clip)) for clip in clips]
    streams = Stream(joint), Stream(joint)
    pairs = [
        [s.step(image) for s, image in zip(streams, pair, strict=True)] for pair in zip(*clips, strict=True)
    ]
    for own, expected in zip(zip(*pairs, strict=True), separate, strict=True):
        assert np.array_equal(scores(own), expected)


@pytest.mark.parametrize("decoder", ["bidirectional", "causal", "mean", "patch_query"])
@pytest.mark.parametrize("paused_after", [0, 2, 7])
def test_a_resumed_stream_goes_on_identically(tmp_path, decoder, paused_after):
    rate = {} if decoder == "patch_query" else {"rate": 10.0}
    model = lively_model(action={**ACTION, "decoder": decoder, **rate})
    images = moving(11)
    stream = Stream(model)
    steps(stream, images[:paused_after])
    torch.save(stream.state_dict(), tmp_path / "paused.pt")
    expected = steps(stream, images[paused_after:])
    resumed = Stream(model)
    resumed.load_state_dict(torch.load(tmp_path / "paused.pt", weights_only=True))
    assert np.array_equal(scores(steps(resumed, images[paused_after:])), scores(expected))


# --- sampling ---


def with_rate(model: VideoModel, rate: float | None) -> VideoModel:
    """The same weights, sampled at another rate."""
    settings = model.config.model_dump()
    settings["action"]["rate"] = rate
    other = VideoModel(ModelConfig.model_validate(settings)).eval().double()
    other.load_state_dict(model.state_dict())
    return other


def taken(rate: float, times: list[float]) -> list[int]:
    """Numbers of the frames that enter."""
    sampling, numbers = Sampling(rate), []
    for number, time in enumerate(times):
        enters, sampling = sampling.next(time)
        numbers += [number] if enters else []
    return numbers


def clock(rate: float, seconds: float, start: float = 0.0) -> list[float]:
    return [start + number / rate for number in range(round(rate * seconds))]


@pytest.mark.parametrize("start", [0.0, 1234.567])
@pytest.mark.parametrize("rate", [5.0, 8.0, 12.0, 12.5, 30.0])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
def test_every_nth_frame_of_a_source_of_n_times_the_rate(rate, factor, start):
    times = clock(rate * factor, 20, start)
    numbers = taken(rate, times)
    steps_taken = set(np.diff(numbers[1:]).tolist())
    assert steps_taken == {factor}, "evenly, wherever rounding puts the timestamps"
    assert numbers[0] == 0
    assert abs(len(numbers) - 20 * rate) <= 1


@pytest.mark.parametrize("unit", [1 / 90_000, 1 / 1000])
def test_a_source_of_exactly_the_rate_loses_nothing_to_rounded_or_shaky_timestamps(unit):
    shaky = np.random.default_rng(0).uniform(-0.007, 0.007, 300)
    for times in (clock(12, 25), [max(0.0, t + d) for t, d in zip(clock(12, 25), shaky, strict=True)]):
        rounded = [round(time / unit) * unit for time in times]
        assert taken(12, rounded) == list(range(300))


def test_a_slow_or_broken_clock_still_gives_frames():
    assert taken(12, clock(10, 3)) == list(range(30)), "slower than the rate: all"
    assert taken(10, [0.0, 0.05, 0.1, 7.0, 7.05, 7.1]) == [0, 2, 3, 5], "a gap is no debt"
    back = taken(10, [50.0, 50.1, 50.2, 0.0, 0.05, 0.1, 0.2])
    assert back == [0, 1, 2, 3, 5, 6], "set back: goes on from there"


def test_a_fast_and_a_slow_source_are_seen_alike():
    """60 and 12 frames a second of one scene; without temporal attention the window is all that remembers."""
    model = lively_model(action={**ACTION, "rate": 12.0}, encoder__temporal=False, **ALONE)
    scene = moving(60)
    fast = steps(Stream(model), scene, clock(60, 1))
    slow = steps(Stream(model), scene[::5], clock(12, 1))
    assert np.abs(np.diff(scores(slow), axis=0)).max() > 1e-3
    np.testing.assert_allclose(scores(fast), np.repeat(scores(slow), 5, axis=0), atol=1e-6)


def test_a_model_that_only_recognises_looks_at_the_frames_that_enter():
    """60 frames a second cost what 12 do, remember what 12 do, and say the same, in steps and in chunks."""
    model = lively_model(action={**ACTION, "rate": 12.0}, **ALONE).double()
    scene, looked_at = moving(60), []
    hook = model.encoder.blocks[0].register_forward_pre_hook(
        lambda _, given: looked_at.append(given[0].shape[1])
    )
    fast = steps(Stream(model), scene, clock(60, 1))
    assert looked_at == [1] * 12
    stream, times = Stream(model), clock(60, 1)
    cut = [slice(start, start + 7) for start in range(0, 60, 7)]
    chunked = [result for part in cut for result in stream.chunk(scene[part], times[part])]
    hook.remove()
    assert sum(looked_at) == 24
    slow = steps(Stream(model), scene[::5], clock(12, 1))
    assert [result.frame_index for result in fast] == list(range(60))
    assert np.array_equal(scores(fast), np.repeat(scores(slow), 5, axis=0))
    np.testing.assert_allclose(scores(chunked), scores(fast), atol=1e-5)


def test_an_answer_that_holds_is_saved_too(tmp_path):
    model = lively_model(action={**ACTION, "rate": 5.0}, **ALONE)
    stream, images = Stream(model), moving(12)
    steps(stream, images[:7])
    torch.save(stream.state_dict(), tmp_path / "paused.pt")
    state = torch.load(tmp_path / "paused.pt", weights_only=True)
    resumed = Stream(model)
    resumed.load_state_dict(state)
    assert np.array_equal(scores(steps(resumed, images[7:])), scores(steps(stream, images[7:])))
    with pytest.raises(UsageError, match="other classes"):
        resumed.load_state_dict(state | {"scores": torch.zeros(2)})


def test_a_new_size_starts_window_and_sampling_anew():
    model = lively_model(action={**ACTION, "rate": 5.0}).double()
    stream, tall = Stream(model), moving(6, size=(64, 96))
    steps(stream, moving(4))
    with pytest.warns(UserWarning, match="the size changes"):
        results = stream.chunk(tall)
    times = [(4 + number) / 25 for number in range(6)]
    np.testing.assert_allclose(scores(results), scores(steps(Stream(model), tall, times)), atol=1e-6)


# --- bad input ---


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_timestamp_that_is_no_time_is_one_line_and_changes_nothing(joint, bad):
    stream, twin = Stream(joint), Stream(joint)
    image, *others = moving(4)
    with pytest.raises(UsageError, match="timestamps must be finite seconds"):
        stream.step(image, bad)
    assert np.array_equal(scores(steps(stream, others)), scores(steps(twin, others)))


@pytest.mark.parametrize("damage", ["late", [1.0], [1.0, "x"], None])
def test_a_damaged_clock_is_refused_in_one_line(damage):
    model = lively_model(action={**ACTION, "rate": 5.0})
    stream = Stream(model)
    steps(stream, moving(2))
    with pytest.raises(UsageError, match="not the state of a Stream") as error:
        Stream(model).load_state_dict(stream.state_dict() | {"sampling": damage})
    assert "\n" not in str(error.value)


def test_a_state_with_another_head_or_none_is_refused(joint):
    stream = Stream(joint)
    steps(stream, moving(2))
    with pytest.raises(UsageError, match="saved with an action head, the model has none"):
        Stream(without_head(joint)).load_state_dict(stream.state_dict())
    other = Stream(lively_model(action={**ACTION, "window": 5}).double())
    other.load_state_dict(stream.state_dict())
    with pytest.raises(UsageError, match="belongs to another model"):
        other.step(moving(1)[0])


def test_a_head_with_nan_is_one_line_and_no_result():
    model = lively_model(action=ACTION)
    model.action.classifier.bias.data.fill_(np.nan)
    with pytest.raises(WeightsError, match="not finite: its weights"):
        Stream(model).step(moving(1)[0])


# --- results ---


class Clip(Source):
    """Pictures as a source, 10 a second."""

    def __init__(self, images):
        super().__init__("clip")
        self._images = images

    def _read(self):
        yield from (Frame(image, number, number / 10) for number, image in enumerate(self._images))

    def _release(self):
        pass


def test_json_lines_name_the_best_classes_falling(tmp_path, joint):
    for path, wanted in ((tmp_path / "five.jsonl", 5), (tmp_path / "all.jsonl", None)):
        with JsonLinesWriter(path, wanted) as writer:
            results = list(track(Clip(moving(4)), joint))
            for result in results:
                writer.write(result)
        for line, result in zip(path.read_text().splitlines(), results, strict=True):
            record = json.loads(line)
            assert list(record) == ["frame", "timestamp", "tracks", "detections", "actions"]
            assert [entry["label"] for entry in record["actions"]] == [
                name for name, _ in result.actions.top(wanted)
            ]
            numbers = [entry["score"] for entry in record["actions"]]
            assert numbers == sorted(numbers, reverse=True)
            assert len(numbers) == (wanted or len(NAMES))


def test_json_lines_of_a_model_without_action_head_say_nothing_of_actions(tmp_path, joint):
    with JsonLinesWriter(tmp_path / "out.jsonl") as writer:
        for result in track(Clip(moving(2)), without_head(joint)):
            writer.write(result)
    assert "actions" not in (tmp_path / "out.jsonl").read_text()
