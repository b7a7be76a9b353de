"""A model over a data set: what is found, written and scored, however it was run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.evaluate.sequences import RATE, make_sequence, person, write_rows
from tests.integration.samples import lively_model, moving

from svit import Stream
from svit.data.datasets import load_dataset, load_sequence
from svit.data.mot_files import read_rows
from svit.errors import DataError, SourceError, UsageError
from svit.evaluate.mot import combine, score_files
from svit.evaluate.run import RunOptions, evaluate_model
from svit.tracking import interpolate_tracks

STEP = RunOptions(chunk=1)


@pytest.fixture(scope="module")
def model():
    """In double precision, so that chunks differ from steps by nothing that two decimals show."""
    return lively_model().double()


def rows_of(model, images, first=1):
    """What a stream says, step by step: rows of detections and of tracks, (N, 7)."""
    stream, found, tracks = Stream(model), [], []
    for frame, image in enumerate(images, start=first):
        result = stream.step(image)
        for boxes, rows in ((result.detections, found), (result.tracks, tracks)):
            ids = [-1] * len(boxes) if boxes.tracker_id is None else boxes.tracker_id
            for identity, box, score in zip(ids, boxes.xyxy, boxes.confidence, strict=True):
                rows.append([frame, identity, *box, score])
    return np.array(found), np.array(tracks)


def as_truth(tracks):
    """Tracks (N, 7) as ground truth that they fit."""
    wh = tracks[:, 4:6] - tracks[:, 2:4]
    boxes = np.hstack((tracks[:, :2], tracks[:, 2:4], wh))
    return [(*row, 1, 1, 1) for row in boxes.tolist()]


@pytest.fixture
def root(tmp_path, model):
    """Three sequences; the ground truth is what the model finds in them."""
    folder = tmp_path / "data" / "train"
    for number, frames in enumerate((7, 12, 9)):
        _, tracks = rows_of(model, moving(frames, number))
        make_sequence(folder / f"S{number}", frames, as_truth(tracks), number)
    return folder


def texts(output):
    """All MOT files of a run."""
    return {str(path.relative_to(output)): path.read_text() for path in sorted(output.glob("*/*.txt"))}


def numbers(evaluation):
    """Every score but the processing times."""
    rows = json.loads(json.dumps(evaluation.as_json()))
    every = {**rows["sequences"], "COMBINED": rows["COMBINED"]}
    for row in every.values():
        del row["speed"]
    return every


def test_what_a_stream_finds_is_what_is_written(tmp_path, model, root):
    evaluate_model(model, load_dataset(root), tmp_path / "out", STEP)
    for number, frames in enumerate((7, 12, 9)):
        found, tracks = rows_of(model, moving(frames, number))
        with np.load(tmp_path / "out" / "detections" / f"S{number}.npz") as arrays:
            np.testing.assert_array_equal(arrays["frame"], found[:, 0])
            np.testing.assert_array_equal(arrays["xyxy"], found[:, 2:6].astype(np.float32))
            np.testing.assert_array_equal(arrays["score"], found[:, 6].astype(np.float32))
            assert len(arrays["detector_ms"]) == len(arrays["tracker_ms"]) == frames
        for part, rows in (("online", tracks), ("tracks", interpolate_tracks(tracks))):
            written = read_rows(tmp_path / "out" / part / f"S{number}.txt")
            np.testing.assert_array_equal(written[:, :2], rows[:, :2])
            np.testing.assert_allclose(written[:, 2:4], rows[:, 2:4], atol=0.00501)
            np.testing.assert_allclose(written[:, 4:6], rows[:, 4:6] - rows[:, 2:4], atol=0.00501)
    interpolated, online = (
        sum(len(text.splitlines()) for name, text in texts(tmp_path / "out").items() if name.startswith(part))
        for part in ("tracks", "online")
    )
    assert interpolated != online, "else it would not matter which is scored"


def test_the_scores_are_those_of_the_written_files(tmp_path, model, root):
    evaluation = evaluate_model(model, load_dataset(root), tmp_path / "out", STEP)
    for part in ("tracks", "online"):
        scores = score_files(root, tmp_path / "out" / part)
        for row, score in zip(
            (*evaluation.sequences, evaluation.combined), (*scores, combine(scores)), strict=True
        ):
            assert row.name == score.name
            assert (row.tracking if part == "tracks" else row.online) == score.metrics
    assert evaluation.combined.online["HOTA"] > 99, "they are the ground truth"
    assert evaluation.combined.tracking["HOTA"] < 99, "short tracks are left out of these"
    assert [score.name for score in evaluation.scores] == ["S0", "S1", "S2"]
    assert evaluation.combined_score.metrics == evaluation.combined.tracking


def test_a_half_is_written_so_that_it_can_be_scored_with_the_official_file(tmp_path, model):
    root = tmp_path / "MOT17" / "train"
    folder = make_sequence(root / "MOT17-02-FRCNN", 13)
    _, tracks = rows_of(model, moving(13)[7:], first=8)
    truth = [*person(999, range(1, 8)), *as_truth(tracks)]
    write_rows(folder / "gt" / "gt.txt", truth)
    write_rows(folder / "gt" / "gt_half-val.txt", as_truth(tracks))
    evaluation = evaluate_model(model, load_dataset("mot17-half", root.parent), tmp_path / "out", STEP)
    (score,) = score_files(root, tmp_path / "out" / "tracks", "gt_half-val.txt")
    assert evaluation.sequences[0].tracking == score.metrics
    assert evaluation.combined.online["HOTA"] > 99
    assert evaluation.combined.speed.frames == 6
    assert evaluation.settings["part"] == "half-val"


@pytest.mark.parametrize("chunk", [3, 50])
def test_chunks_and_steps_give_the_same(tmp_path, model, root, chunk):
    dataset = load_dataset(root)
    steps = evaluate_model(model, dataset, tmp_path / "steps", STEP)
    chunks = evaluate_model(model, dataset, tmp_path / "chunks", RunOptions(chunk=chunk))
    assert texts(tmp_path / "steps") == texts(tmp_path / "chunks")
    # The order of equally good detections decides nothing, but their scores are rounded differently.
    for name, row in numbers(steps).items():
        for group, values in row.items():
            assert values == pytest.approx(numbers(chunks)[name][group], abs=1e-6, nan_ok=True), group


def test_the_memory_is_a_setting(tmp_path, model, root):
    dataset = load_dataset(root / "S1")
    short, own = (
        evaluate_model(model, dataset, tmp_path / str(memory), RunOptions(chunk=4, memory=memory))
        for memory in (1, None)
    )
    assert (short.settings["memory"], own.settings["memory"]) == (1, 4)
    assert texts(tmp_path / "1") != texts(tmp_path / "None")


def test_results_are_plain_json_with_every_sequence_and_all_together(tmp_path, model, root):
    write_rows(root / "S0" / "gt" / "gt.txt", person(1, [1, 2], rest=(0, 1, 1)))  # nobody to be found
    evaluation = evaluate_model(model, load_dataset(root), tmp_path / "out", STEP)
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written == evaluation.as_json()
    assert list(written["sequences"]) == ["S0", "S1", "S2"]
    assert written["model"] == model.config.name
    assert written["settings"] == json.loads((tmp_path / "out" / "run.json").read_text())
    assert written["sequences"]["S0"]["detection"]["AP"] is None
    assert written["sequences"]["S0"]["latency"] == {"frames": None, "ms": None, "found": 0, "never": 0}
    combined = written["COMBINED"]
    assert combined["speed"]["frames"] == 28
    assert combined["speed"]["detector_ms"] > 0 < combined["speed"]["tracker_ms"]
    assert combined["detection"]["mAP@0.50"] > 50
    assert {"HOTA", "MOTA", "IDF1", "FP", "FN", "IDs"} <= combined["tracking"].keys()


def test_a_video_file_is_evaluated_like_a_folder_of_images(tmp_path, model):
    make_sequence(tmp_path / "clips" / "A", 9, video=True)
    evaluation = evaluate_model(model, load_dataset(tmp_path / "clips"), tmp_path / "out", STEP)
    assert evaluation.combined.speed.frames == 9
    assert read_rows(tmp_path / "out" / "online" / "A.txt")[:, 0].max() == 9


def test_only_people_count_where_a_model_knows_other_classes(tmp_path):
    several = lively_model(detector__class_names=("dog", "person"))
    dataset = [load_sequence(make_sequence(tmp_path / "A", 6))]
    evaluate_model(several, dataset, tmp_path / "out", STEP)
    stream, expected, others = Stream(several), 0, 0
    for image in moving(6):
        classes = stream.step(image).detections.class_id
        expected, others = expected + int((classes == 1).sum()), others + int((classes == 0).sum())
    with np.load(tmp_path / "out" / "detections" / "A.npz") as arrays:
        assert len(arrays["score"]) == expected > 0 < others
    with pytest.raises(UsageError, match="has no class called person or pedestrian"):
        evaluate_model(lively_model(detector__class_names=("dog", "cat")), dataset, tmp_path / "o", STEP)


def test_ground_truth_that_does_not_count_is_ignored_by_the_detection_scores(tmp_path, model):
    """The same boxes as people, as unsure people or as reflections: found, or passed over."""
    found, _ = rows_of(model, moving(5))
    scores = {}
    for name, rest in (("people", (1, 1, 1)), ("unsure", (0, 1, 1)), ("reflections", (1, 12, 1))):
        rows = [(row[0], number, *as_truth(found)[number][2:6], *rest) for number, row in enumerate(found)]
        rows = [row if row[1] % 2 else (*row[:6], 1, 1, 1) for row in rows]
        folder = make_sequence(tmp_path / name, 5, rows)
        evaluation = evaluate_model(model, [load_sequence(folder)], tmp_path / f"out-{name}", STEP)
        scores[name] = evaluation.combined.detection["mAP@0.50"]
    assert scores["people"] == pytest.approx(100, abs=1)
    assert scores["unsure"] == scores["reflections"] == pytest.approx(100, abs=1)
    rows = [row for row in rows if row[7] == 1]
    folder = make_sequence(tmp_path / "half", 5, rows)
    evaluation = evaluate_model(model, [load_sequence(folder)], tmp_path / "out-half", STEP)
    assert evaluation.combined.detection["mAP@0.50"] < 90, "unmarked, they are false alarms"


BAD_OPTIONS = [
    (RunOptions(chunk=0), "chunk must be 1 or more, got 0"),
    (RunOptions(workers=0), "workers must be 1 or more, got 0"),
    (RunOptions(memory=0), "memory must be 1 or more, got 0"),
]


@pytest.mark.parametrize(("options", "says"), BAD_OPTIONS)
def test_options_out_of_range_are_refused_before_anything_is_written(tmp_path, model, root, options, says):
    with pytest.raises(UsageError, match=says):
        evaluate_model(model, load_dataset(root), tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_a_model_or_data_set_that_cannot_be_evaluated_is_refused_before_anything_is_written(tmp_path, root):
    dataset, out = load_dataset(root), tmp_path / "out"
    for model, sequences, says in (
        (lively_model().train(), dataset, "training mode"),
        (lively_model(detector=None), dataset, "no detector"),
        (lively_model(), [], "needs sequences"),
        (lively_model(), [dataset[0], dataset[0]], "each with a name of its own"),
    ):
        with pytest.raises(UsageError, match=says):
            evaluate_model(model, sequences, out)
    assert not out.exists()


def test_ground_truth_that_cannot_be_scored_is_found_before_the_run(tmp_path, model, root):
    write_rows(root / "S2" / "gt" / "gt.txt", [*person(1, [1, 2]), *person(2, [3], rest=(1, 77, 1))])
    with pytest.raises(DataError, match=r"ground truth of S2, row 2.*class 77"):
        evaluate_model(model, load_dataset(root), tmp_path / "out", STEP)
    assert not (tmp_path / "out").exists()


def test_a_frame_that_cannot_be_read_is_one_line_and_no_result_of_its_sequence(tmp_path, model, root):
    dataset = load_dataset(root)
    (root / "S1" / "img1" / "000009.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"000009\.png: cannot be read") as caught:
        evaluate_model(model, dataset, tmp_path / "out", STEP)
    assert "\n" not in str(caught.value)
    left = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert left == ["S0.npz", "S0.txt", "S0.txt", "run.json"]


def test_a_model_that_finds_nothing_has_empty_files_and_scores(tmp_path):
    blind = lively_model(detector__score_threshold=1.0)
    evaluation = evaluate_model(blind, [load_sequence(make_sequence(tmp_path / "A", 4))], tmp_path / "out")
    assert texts(tmp_path / "out") == {"online/A.txt": "", "tracks/A.txt": ""}
    assert evaluation.combined.tracking["FN"] == 4
    assert (evaluation.combined.latency.found, evaluation.combined.latency.never) == (0, 1)
    assert evaluation.combined.detection["AP50"] == 0


def test_the_model_and_its_threads_stay_as_they_are(tmp_path, model, root):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    threads = torch.get_num_threads()
    evaluate_model(model, load_dataset(root), tmp_path / "out", replace(STEP, chunk=4))
    assert torch.get_num_threads() == threads
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_latency_is_told_in_frames_and_in_the_videos_time(tmp_path, model):
    """The people are there two frames before their tracks, all but one, whom nobody sees."""
    _, tracks = rows_of(model, moving(8))
    first = {identity: row for row in reversed(as_truth(tracks)) for identity in [row[1]]}
    kept = [row for row in as_truth(tracks) if row[0] > 2]
    starts = {row[1]: row for row in reversed(kept)}
    shadows = [
        (row[0] - 2 + ahead, row[1], row[2] + 5000, *row[3:])
        for row in starts.values()
        for ahead in (0, 1)
        if first[row[1]][0] <= row[0]
    ]
    truth = [*kept, *shadows, *person(9999, [4], (9000, 0, 20, 40))]
    folder = make_sequence(tmp_path / "A", 8, truth)
    latency = evaluate_model(model, [load_sequence(folder)], tmp_path / "out", STEP).combined.latency
    assert (latency.found, latency.never) == (len(starts), 1)
    assert latency.frames == 2
    assert latency.ms == pytest.approx(1000 * 2 / RATE)
