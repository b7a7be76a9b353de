"""Many streams on one model: each hears what it would hear alone, whoever else comes and goes."""

from __future__ import annotations

import numpy as np
import pytest
from tests.integration.samples import ids, lively_model, moving

from svit import Stream, StreamBatch, UsageError, build
from svit.model.memory import StreamMemory
from svit.stream_batch import SETTLED

STEPS = 3 * SETTLED


@pytest.fixture(scope="module")
def model():
    return lively_model()


def assert_alike(together, alone):
    """Equal up to rounding: boxes, scores, ids, number and time."""
    assert len(together) == len(alone) > 0
    for left, right in zip(together, alone, strict=True):
        assert (left.frame_index, left.timestamp) == (right.frame_index, right.timestamp)
        assert left.image is right.image
        assert ids(left) == ids(right)
        for a, b in ((left.detections, right.detections), (left.tracks, right.tracks)):
            np.testing.assert_allclose(a.xyxy, b.xyxy, atol=0.01)
            np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-4)


def alone(model, images, **options):
    stream = Stream(model, **options)
    return [stream.step(image) for image in images]


def run(batch, clips, comes):
    """All clips, each stepping on where `comes(name, step)`: the results by name."""
    ahead, results = {name: iter(clip) for name, clip in clips.items()}, {name: [] for name in clips}
    for step in range(STEPS):
        frames = {name: next(ahead[name]) for name in clips if comes(name, step)}
        found = batch.step(frames)
        assert list(found) == list(frames)
        for name, result in found.items():
            results[name].append(result)
    return results


@pytest.mark.parametrize(
    "comes",
    [
        pytest.param(lambda name, step: True, id="in step"),
        pytest.param(lambda name, step: step >= 3 * name, id="later and later"),
        pytest.param(lambda name, step: name < 2 or step < 5 or step > 11, id="one pauses"),
        pytest.param(lambda name, step: step % (name + 1) == 0, id="slower and slower"),
        pytest.param(lambda name, step: step < STEPS - 6 * name, id="one after the other ends"),
    ],
)
def test_every_stream_gets_what_it_would_get_alone(model, comes):
    clips = {name: moving(STEPS, seed=name) for name in range(3)}
    together = run(StreamBatch(model), clips, comes)
    assert sum(len(results) for results in together.values()) > STEPS
    for name, results in together.items():
        assert_alike(results, alone(model, clips[name][: len(results)]))


def test_cameras_of_different_sizes_go_together(model):
    clips = {
        "wide": moving(STEPS, seed=1),
        "tall": moving(STEPS, seed=2, size=(48, 64)),
        "larger": moving(STEPS, seed=3, size=(192, 128)),  # the same input as "wide", from more pixels
    }
    for name, results in run(StreamBatch(model), clips, lambda name, step: True).items():
        assert_alike(results, alone(model, clips[name]))


def test_actions_are_those_of_single_streams_each_by_its_own_clock():
    """A window takes 5 frames a second: of the first all that come, of the second every fifth."""
    action = {"class_names": ("walk", "run", "fall"), "window": 4, "depth": 1, "rate": 5}
    model, clips = lively_model(action=action), {name: moving(14, seed=name) for name in range(2)}
    streams, batch = {name: Stream(model) for name in clips}, StreamBatch(model)
    for step in range(14):
        times = {0: step / 5, 1: step / 25}
        found = batch.step({name: clip[step] for name, clip in clips.items()}, times)
        for name, clip in clips.items():
            single = streams[name].step(clip[step], times[name])
            assert_alike([found[name]], [single])
            np.testing.assert_allclose(
                found[name].actions.probabilities, single.actions.probabilities, atol=1e-5
            )
        if step == 2:  # one comes alone: windows are taken apart, and later put together
            assert_alike([batch.step({0: clips[0][4]}, {0: 0.5})[0]], [streams[0].step(clips[0][4], 0.5)])


def test_streams_in_step_share_a_pass_and_their_memory_is_not_copied(model, monkeypatch):
    """Also after one had a pause: once they are in step again for a while."""
    batch, passes, copies = StreamBatch(model), [], []
    perceive, stack, unstack = model.perceive, StreamMemory.stack, StreamMemory.unstack
    monkeypatch.setattr(model, "perceive", lambda x, *rest: passes.append(len(x)) or perceive(x, *rest))
    monkeypatch.setattr(StreamMemory, "stack", lambda parts: copies.append("stack") or stack(parts))
    monkeypatch.setattr(StreamMemory, "unstack", lambda own: copies.append("unstack") or unstack(own))
    clips = {name: moving(STEPS, seed=name) for name in range(4)}
    run(batch, clips, lambda name, step: True)
    assert passes == [4] * STEPS
    assert copies == []
    passes.clear()
    run(batch, clips, lambda name, step: name > 0 or step != 0)
    assert passes[0] == 3
    assert passes[-1] == 4
    assert len(copies) <= 6
    passes.clear()
    copies.clear()
    run(batch, clips, lambda name, step: name > 0 or step % 2 == 0)
    assert len(copies) <= 6, "a stream that keeps another time must not cost a copy each time"


def test_a_camera_that_fails_does_not_disturb_the_others(model):
    clips = {"door": moving(6, seed=1), "yard": moving(6, seed=2)}
    batch, results = StreamBatch(model), []
    for step, (door, yard) in enumerate(zip(*clips.values(), strict=True)):
        if step == 3:
            with pytest.raises(UsageError, match=r"stream yard: a frame must be uint8"):
                batch.step({"door": door, "yard": yard.astype(float)})
            with pytest.raises(UsageError, match="stream yard: its timestamp"):
                batch.step({"door": door, "yard": yard}, {"door": 1.0})
        results.append(batch.step({"door": door} | ({"yard": yard} if step < 3 else {}))["door"])
    assert_alike(results, alone(model, clips["door"]))


def test_streams_come_from_elsewhere_and_leave_again(model):
    clips = {name: moving(STEPS + 6, seed=name) for name in range(2)}
    expected = {name: alone(model, clip) for name, clip in clips.items()}
    runner, batch = Stream(model), StreamBatch(model)
    for image in clips[0][:3]:
        runner.step(image)
    batch.join(0, runner)
    batch.join(2, Stream(model, memory=2))  # of another memory, it must go alone
    for step in range(STEPS):
        found = batch.step({0: clips[0][3 + step], 1: clips[1][step], 2: clips[1][step]})
    assert_alike([found[0]], [expected[0][STEPS + 2]])
    assert_alike([found[2]], alone(model, clips[1][:STEPS], memory=2)[-1:])
    batch.leave(2)
    gone = batch.leave(0)
    assert batch.names == (1,)
    assert_alike([gone.step(image) for image in clips[0][STEPS + 3 :]], expected[0][STEPS + 3 :])
    assert_alike([batch.step({1: image})[1] for image in clips[1][STEPS:]], expected[1][STEPS:])
    saved = Stream(model)
    saved.load_state_dict(batch.leave(1).state_dict())
    assert batch.names == ()
    assert batch.step({}) == {}


def test_a_new_size_starts_that_streams_memory_anew_and_no_others(model):
    first, second = moving(8, seed=1), moving(8, seed=2)
    first[4:] = moving(4, seed=3, size=(48, 64))
    batch = StreamBatch(model)
    with pytest.warns(UserWarning, match="the memory starts anew"):
        results = [batch.step({"a": a, "b": b}) for a, b in zip(first, second, strict=True)]
    assert_alike([each["b"] for each in results], alone(model, second))
    with pytest.warns(UserWarning, match="the memory starts anew"):
        assert_alike([each["a"] for each in results], alone(model, first))


def test_what_does_not_go_is_refused_in_one_line(model):
    batch = StreamBatch(model)
    batch.step({"a": moving(1)[0]})
    with pytest.raises(UsageError, match="here already"):
        batch.join("a", Stream(model))
    with pytest.raises(UsageError, match="another model"):
        batch.join("b", Stream(lively_model()))
    with pytest.raises(UsageError, match="no stream b"):
        batch.leave("b")
    with pytest.raises(UsageError, match="no detector"):
        StreamBatch(build("tiny", detector=None))
