"""A stream: its memory and ids are its own, it can be paused, and bad frames do not disturb it."""

from __future__ import annotations

import warnings
from importlib import resources
from itertools import islice

import numpy as np
import pytest
import supervision as sv
import torch
from tests.integration.samples import ids, lively_model, moving, said

from svit import Frame, SourceError, Stream, UsageError, WeightsError, load, track
from svit.tracking import ByteTracker
from svit.video import Source, open_source


@pytest.fixture(scope="module")
def model():
    return lively_model()


def follow(stream, images):
    return [said(stream.step(image)) for image in images]


def test_a_result_says_what_was_found_where_and_when(model):
    stream, images = Stream(model), moving(6)
    results = [stream.step(image) for image in images]
    assert [result.frame_index for result in results] == list(range(6))
    assert [result.timestamp for result in results] == [number / 25 for number in range(6)]
    for result, image in zip(results, images, strict=True):
        assert result.image is image
        assert (result.tracks.tracker_id >= 0).all()
        rows = {row.tobytes() for row in result.detections.xyxy}
        assert {row.tobytes() for row in result.tracks.xyxy} <= rows, "boxes are the detector's"
        assert len(set(ids(result))) == len(result.tracks) > 0
    assert set(ids(results[0])) & set(ids(results[5])), "somebody is followed through"


def test_boxes_are_in_pixels_of_the_frame(model):
    small = moving(1)[0]
    large = np.repeat(np.repeat(small, 3, axis=0), 3, axis=1)
    first, second = (Stream(model).step(image).detections for image in (small, large))
    scale = np.median(second.xyxy[:, 2:] - second.xyxy[:, :2]) / np.median(
        first.xyxy[:, 2:] - first.xyxy[:, :2]
    )
    assert 2 < scale < 4.5


def test_timestamps_are_the_callers_where_given(model):
    stream, images = Stream(model), moving(3)
    assert [
        stream.step(image, time).timestamp for image, time in zip(images, (0.5, 0.75, 9), strict=True)
    ] == [
        0.5,
        0.75,
        9.0,
    ]


def test_what_was_seen_before_changes_what_is_seen_now(model):
    """Else the tests below could not fail."""
    images = moving(4)
    remembering, fresh = Stream(model), Stream(model)
    for image in images[:3]:
        remembering.step(image)
    now, alone = remembering.step(images[3]).detections, fresh.step(images[3]).detections
    assert now.xyxy.tobytes() != alone.xyxy.tobytes()


def test_two_interleaved_streams_equal_two_separate_runs(model):
    clips = moving(12, seed=1), moving(12, seed=2)
    separate = [follow(Stream(model), clip) for clip in clips]
    streams = Stream(model), Stream(model)
    interleaved = [
        [said(stream.step(image)) for stream, image in zip(streams, pair, strict=True)]
        for pair in zip(*clips, strict=True)
    ]
    assert [list(run) for run in zip(*interleaved, strict=True)] == separate


@pytest.mark.parametrize("eviction", ["merge", "fifo"])
@pytest.mark.parametrize("paused_after", [0, 2, 9])
def test_a_resumed_stream_goes_on_identically(tmp_path, eviction, paused_after):
    """Before the first frame, while the memory of 4 fills, and long after it evicts."""
    model, images = lively_model(encoder__eviction=eviction), moving(14)
    stream = Stream(model)
    follow(stream, images[:paused_after])
    torch.save(stream.state_dict(), tmp_path / "paused.pt")
    expected = follow(stream, images[paused_after:])
    resumed = Stream(model)
    resumed.load_state_dict(torch.load(tmp_path / "paused.pt", weights_only=True))
    assert follow(resumed, images[paused_after:]) == expected


def test_a_saved_state_does_not_change_when_the_stream_goes_on(model):
    stream, images = Stream(model), moving(12)
    follow(stream, images[:6])
    state = stream.state_dict()
    expected = follow(stream, images[6:])
    for _ in range(2):
        resumed = Stream(model)
        resumed.load_state_dict(state)
        assert follow(resumed, images[6:]) == expected


def test_the_memory_length_is_saved_too(model):
    images = moving(8)
    stream = Stream(model, memory=2)
    follow(stream, images[:5])
    resumed = Stream(model)
    resumed.load_state_dict(stream.state_dict())
    assert follow(resumed, images[5:]) == follow(stream, images[5:])


def damaged(state, how):
    state = dict(state)
    match how:
        case "empty":
            return {}
        case "memory":
            del state["memory.layers.1.keys"]
        case "tracker":
            del state["tracker.ids"]
        case "frames":
            state["frames"] = "many"
        case "input_shape":
            state["input_shape"] = ["wide"]
        case "negative":
            state["frames"] = -3
    return state


@pytest.mark.parametrize("how", ["empty", "memory", "tracker", "frames", "input_shape", "negative"])
def test_a_damaged_state_is_refused_in_one_line_and_changes_nothing(model, how):
    images = moving(10)
    other = Stream(model)
    follow(other, images[:4])
    stream, twin = Stream(model), Stream(model)
    follow(stream, images[4:7])
    follow(twin, images[4:7])
    with pytest.raises(UsageError) as caught:
        stream.load_state_dict(damaged(other.state_dict(), how))
    assert "\n" not in str(caught.value)
    assert follow(stream, images[7:]) == follow(twin, images[7:])


def go_on_with_another_model(model, other, image):
    stream = Stream(other)
    stream.step(image)
    resumed = Stream(model)
    resumed.load_state_dict(stream.state_dict())
    resumed.step(image)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoder__width": 24}, "belongs to another model"),
        ({"encoder__window": (2, 2, 2)}, "belongs to another model"),
        ({"tracker__retain": 3}, "saved with retain=3"),
        (torch.bfloat16, r"saved in torch\.bfloat16, the model is in torch\.float32"),
    ],
    ids=str,
)
def test_a_state_of_another_model_or_precision_is_refused_in_one_line(model, change, says):
    other = lively_model(**change) if isinstance(change, dict) else lively_model().to(change)
    with pytest.raises(UsageError, match=says) as caught:
        go_on_with_another_model(model, other, moving(1)[0])
    assert "\n" not in str(caught.value)


def test_any_tracker_of_the_trackers_package_can_take_the_place(model):
    trackers = pytest.importorskip("trackers")
    images = moving(8)
    for kind in (trackers.ByteTrackTracker, trackers.SORTTracker, trackers.OCSORTTracker):
        stream = Stream(model, tracker=kind())
        results = [stream.step(image) for image in images]
        assert any(ids(result) for result in results), kind.__name__
        for result in results:
            assert min(ids(result), default=0) >= 0, kind.__name__
            assert len(result.tracks) <= len(result.detections)
        with pytest.raises(UsageError, match=f"{kind.__name__} cannot be saved: it has no state_dict"):
            stream.state_dict()


def test_a_tracker_of_ones_own_is_used(model):
    class Everything:
        def update(self, detections: sv.Detections) -> sv.Detections:
            detections.tracker_id = np.arange(len(detections)) + 100
            return detections

    result = Stream(model, tracker=Everything()).step(moving(1)[0])
    assert ids(result) == tuple(range(100, 100 + len(result.detections)))


def test_settings_of_the_tracker_come_from_the_model():
    tracker = Stream(lively_model(tracker__retain=7)).tracker
    assert isinstance(tracker, ByteTracker)
    assert (tracker.retain, tracker.high) == (7, 0.5)


def test_a_change_of_size_warns_once_and_goes_on(model):
    stream, wide, tall = Stream(model), moving(4), moving(5, size=(64, 96))
    for image in wide:
        stream.step(image)
    with pytest.warns(UserWarning, match="the size changes") as caught:
        results = [stream.step(image) for image in tall]
    assert [str(warning.message) for warning in caught] == [
        "frame 4: the size changes to 64x96; the memory starts anew"
    ]
    assert [result.frame_index for result in results] == [4, 5, 6, 7, 8]
    fresh = Stream(model)
    for result, image in zip(results, tall, strict=True):
        assert result.detections.xyxy.tobytes() == fresh.step(image).detections.xyxy.tobytes()


def test_a_stream_that_changed_its_size_can_be_paused(model):
    images = moving(3) + moving(6, size=(64, 96))
    stream = Stream(model)
    with pytest.warns(UserWarning, match="size changes"):
        follow(stream, images[:5])
    resumed = Stream(model)
    resumed.load_state_dict(stream.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert follow(resumed, images[5:]) == follow(stream, images[5:])


BAD = {
    "grey": (np.zeros((64, 96), np.uint8), r"RGB \(height, width, 3\), got \(64, 96\)"),
    "one channel": (np.zeros((64, 96, 1), np.uint8), "must be RGB"),
    "RGBA": (np.zeros((64, 96, 4), np.uint8), r"must be RGB .* got \(64, 96, 4\)"),
    "channels first": (np.zeros((3, 64, 96), np.uint8), "must be RGB"),
    "16 bit": (np.zeros((64, 96, 3), np.uint16), "must be uint8 .* got uint16"),
    "float": (np.zeros((64, 96, 3)), "must be uint8 .* got float64"),
    "NaN": (np.full((64, 96, 3), np.nan, np.float32), "must be uint8 .* got float32"),
    "no rows": (np.zeros((0, 96, 3), np.uint8), "must not be empty, got 96x0"),
    "no columns": (np.zeros((64, 0, 3), np.uint8), "must not be empty, got 0x64"),
    "no array": (None, "got NoneType"),
    "list": ([[1, 2, 3]], "got list"),
}


@pytest.mark.parametrize(("frame", "says"), BAD.values(), ids=BAD.keys())
def test_a_bad_frame_is_refused_in_one_line_and_the_stream_goes_on_unchanged(model, frame, says):
    images = moving(7)
    stream, twin = Stream(model), Stream(model)
    for number, image in enumerate(images):
        if number in (0, 5):
            with pytest.raises(UsageError, match=says) as caught:
                stream.step(frame)
            assert "\n" not in str(caught.value)
        assert said(stream.step(image)) == said(twin.step(image))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 200, 3), (300, 2, 3)])
def test_frames_of_any_size_are_taken(model, shape):
    stream = Stream(model)
    for index in range(2):
        result = stream.step(np.full(shape, 90, np.uint8))
        assert (result.frame_index, result.image.shape) == (index, shape)
        assert np.isfinite(result.detections.xyxy).all()


@pytest.mark.filterwarnings("error")
def test_read_only_and_mirrored_frames_are_taken_as_they_are(model):
    image = moving(1)[0]
    locked = image.copy()
    locked.flags.writeable = False
    expected = said(Stream(model).step(image))
    assert said(Stream(model).step(locked)) == expected
    assert said(Stream(model).step(np.ascontiguousarray(image[:, ::-1])[:, ::-1])) == expected


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("encoder.norm_in.weight", np.nan),
        ("encoder.norm_in.weight", np.inf),
        ("conv_cls.1.bias", np.nan),
        ("conv_reg.0.weight", np.nan),
    ],
)
def test_weights_with_nan_are_one_line_and_no_result(part, value):
    model = lively_model()
    broken = [parameter for name, parameter in model.named_parameters() if name.endswith(part)]
    assert broken
    broken[0].data.fill_(value)
    with pytest.raises(WeightsError, match="not finite: its weights") as caught:
        Stream(model).step(moving(1)[0])
    assert "\n" not in str(caught.value)


def test_a_model_without_a_detector_or_a_memory_below_one_is_refused(model):
    with pytest.raises(UsageError, match="no detector, so it cannot track"):
        Stream(lively_model(detector=None))
    for memory in (0, -1):
        with pytest.raises(UsageError, match=f"must be 1 frame or more, got {memory}"):
            Stream(model, memory=memory)


@pytest.fixture(scope="module")
def exact():
    """In double precision, because random weights blow single precision's rounding up."""
    return lively_model().double()


def same(left, right, tolerance=1e-3):
    """Two runs say the same up to rounding: ids, boxes in pixels, scores, indices and times."""
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert (a.frame_index, a.timestamp, ids(a)) == (b.frame_index, b.timestamp, ids(b))
        assert a.image is b.image
        for one, two in ((a.detections, b.detections), (a.tracks, b.tracks)):
            assert one.xyxy.shape == two.xyxy.shape
            np.testing.assert_allclose(one.xyxy, two.xyxy, atol=tolerance, rtol=0)
            np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-4)


def in_chunks(stream, images, size):
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    return [result for part in parts for result in stream.chunk(part)]


@pytest.mark.parametrize("eviction", ["merge", "fifo"])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_chunks_and_steps_say_the_same(eviction, size):
    """Long past the memory of 4, with a last chunk that is shorter."""
    model, images = lively_model(encoder__eviction=eviction).double(), moving(17)
    steps = Stream(model)
    expected = [steps.step(image) for image in images]
    assert sum(len(result.tracks) for result in expected) > 50
    same(in_chunks(Stream(model), images, size), expected)


def test_chunks_and_steps_follow_each_other_in_one_stream(exact):
    images = moving(12)
    one, other = Stream(exact), Stream(exact)
    mixed = [*one.chunk(images[:5]), one.step(images[5]), *one.chunk([]), *one.chunk(images[6:])]
    same(mixed, [other.step(image) for image in images])


def test_a_chunk_is_split_where_the_size_of_its_frames_changes(exact):
    """The last two sizes give the same input, so there the memory goes on."""
    double = [np.repeat(np.repeat(image, 2, axis=0), 2, axis=1) for image in moving(3, seed=5)]
    images = moving(4) + moving(5, size=(64, 96)) + moving(3, seed=5) + double
    steps, chunk = Stream(exact), Stream(exact)
    with pytest.warns(UserWarning, match="the size changes"):
        expected = [steps.step(image) for image in images]
    with pytest.warns(UserWarning, match="the size changes") as caught:
        same(chunk.chunk(images), expected)
    assert [str(warning.message) for warning in caught] == [
        "frame 4: the size changes to 64x96; the memory starts anew",
        "frame 9: the size changes to 96x64; the memory starts anew",
    ]


def test_a_chunk_with_a_bad_frame_or_too_few_times_changes_nothing(model):
    images = moving(9)
    stream, twin = Stream(model), Stream(model)
    same(stream.chunk(images[:3]), twin.chunk(images[:3]))
    with pytest.raises(UsageError, match="must be uint8"):
        stream.chunk([*images[3:5], images[5].astype(float)])
    with pytest.raises(UsageError, match="3 frames need as many timestamps, got 2"):
        stream.chunk(images[3:6], [0.1, 0.2])
    same(stream.chunk(images[3:], list(range(6))), twin.chunk(images[3:], list(range(6))), 0)


class Breaking(Source):
    """A source that breaks off."""

    def __init__(self, images):
        super().__init__("breaking")
        self._images = images

    def _read(self):
        yield from (Frame(image, 2 * number, number / 10) for number, image in enumerate(self._images))
        raise SourceError("breaking: breaks off")

    def _release(self):
        pass


@pytest.mark.parametrize("size", [1, 3, 5, 8])
def test_tracking_in_chunks_hands_out_all_that_came_before_a_source_broke_off(model, size):
    results = []
    with pytest.raises(SourceError, match="breaks off"):
        results.extend(track(Breaking(moving(5)), model, chunk=size))
    assert [(result.frame_index, result.timestamp) for result in results] == [
        (2 * number, number / 10) for number in range(5)
    ]


def test_a_chunk_below_one_is_refused(model):
    with pytest.raises(UsageError, match="chunk must be 1 frame or more, got 0"):
        next(track(Breaking(moving(2)), model, chunk=0))


def test_chunks_and_steps_say_the_same_on_a_real_clip():
    """The bundled weights on the sample clip: chunk 1, 3 and 8 against step, ids and boxes."""
    with resources.as_file(resources.files("svit") / "assets" / "one-by-one.mp4") as clip:
        images = [frame.image for frame in islice(open_source(clip), 63, 73)]
    model = load("tiny-person", "cpu")
    steps = Stream(model, memory=4)
    expected = [steps.step(image) for image in images]
    assert sum(len(result.tracks) for result in expected) >= 7
    for size in (1, 3, 8):
        same(in_chunks(Stream(model, memory=4), images, size), expected)
