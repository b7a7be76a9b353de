"""Data sets to evaluate on: presets and own folders, parts, and what is wrong with them in one line."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluate.sequences import RATE, make_sequence, person, write_numbered, write_rows
from tests.integration.samples import SIZE, moving

from svit.data.datasets import dataset_config, dataset_names, load_dataset, load_sequence, read_frames
from svit.errors import DataError, SvitError, UsageError

PRESETS = {
    "dancetrack-val": ("val", "all"),
    "mot15-train": ("train", "all"),
    "mot16-train": ("train", "all"),
    "mot17-half": ("train", "half-val"),
    "mot17-train": ("train", "all"),
    "mot20-half": ("train", "half-val"),
    "mot20-train": ("train", "all"),
    "sportsmot-val": ("val", "all"),
}


@pytest.fixture
def root(tmp_path):
    """MOT17 as it is unpacked: every sequence thrice."""
    for number, length in ((2, 7), (4, 8)):
        for detector in ("DPM", "FRCNN", "SDP"):
            make_sequence(tmp_path / "MOT17" / "train" / f"MOT17-{number:02}-{detector}", length, seed=number)
    return tmp_path / "MOT17"


def test_every_data_set_says_where_it_is_expected():
    assert dataset_names() == sorted([*PRESETS, "sample"])
    for name, (folder, part) in PRESETS.items():
        config = dataset_config(name)
        assert (config.name, config.folder, config.part) == (name, folder, part)
        assert config.root.parts[0] == "data"


def test_the_sample_clip_is_a_data_set_that_is_always_there():
    (sample,) = load_dataset("sample")
    assert (sample.name, sample.frames) == ("one-by-one", 700)
    assert len(sample.ground_truth) == 565


def test_a_data_set_is_its_sequences_once_with_their_part_of_the_ground_truth(root):
    whole, half = (load_dataset(name, root) for name in ("mot17-train", "mot17-half"))
    for dataset in (whole, half):
        assert [sequence.name for sequence in dataset] == ["MOT17-02-FRCNN", "MOT17-04-FRCNN"]
        assert {(each.rate, each.width, each.height) for each in dataset} == {(RATE, *SIZE)}
    assert [(each.first, each.last, each.part) for each in whole] == [(1, 7, "all"), (1, 8, "all")]
    assert [(each.first, each.last, each.part) for each in half] == [(5, 7, "half-val"), (6, 8, "half-val")]
    assert [each.frames for each in half] == [3, 3]
    assert [each.ground_truth[:, 0].tolist() for each in half] == [[5, 6, 7], [6, 7, 8]]
    assert half[0].ground_truth.shape == (3, 9)


@pytest.mark.parametrize(("length", "first"), [(3, 3), (4, 4), (61, 32), (120, 62), (600, 302), (1050, 527)])
def test_halves_are_those_of_the_official_converter(tmp_path, length, first):
    """61 and 120 as in the reference ground truth, 600 and 1050 as MOT17-02 and MOT17-04 have."""
    folder = make_sequence(tmp_path / "A", 2)
    info = (folder / "seqinfo.ini").read_text().replace("seqLength=2", f"seqLength={length}")
    (folder / "seqinfo.ini").write_text(info)
    for number in range(3, length + 1):
        (folder / "img1" / f"{number:06}.png").touch()
    val, train = (load_sequence(folder, part) for part in ("half-val", "half-train"))
    assert (train.first, train.last, val.first, val.last) == (1, first - 1, first, length)


def test_half_val_has_the_rows_of_the_official_file(shared):
    folder = shared / "golden" / "evaluation" / "gt"
    for sequence in sorted(folder.iterdir()):
        rows = np.loadtxt(sequence / "gt" / "gt_half-val.txt", delimiter=",")
        length = int((sequence / "seqinfo.ini").read_text().split("seqLength=")[1].split()[0])
        assert rows[:, 0].min() == length // 2 + 2, "their frames count from 1 in the whole sequence"


def test_a_part_can_be_asked_for(root):
    assert [each.last for each in load_dataset("mot17-half", root, "half-train")] == [4, 5]
    assert [each.first for each in load_dataset(root / "train", part="half-val")] == [5, 5, 5, 6, 6, 6]


def test_a_folder_of_ones_own_is_a_data_set_and_so_is_one_sequence(tmp_path, root):
    assert len(load_dataset(root / "train")) == 6
    (one,) = load_dataset(str(root / "train" / "MOT17-02-SDP"))
    assert (one.name, one.source, one.part) == ("MOT17-02-SDP", one.source, "all")
    make_sequence(tmp_path / "own" / "lobby", 3, video=True)
    (lobby,) = load_dataset(tmp_path / "own")
    assert (lobby.name, lobby.source.name, lobby.last) == ("lobby", "video.mp4", 3)


def test_frames_are_those_of_the_part(root):
    images = moving(7, seed=2)
    half = load_dataset("mot17-half", root)[0]
    frames = list(read_frames(half))
    assert [frame.index for frame in frames] == [4, 5, 6]
    assert [frame.timestamp for frame in frames] == [0.4, 0.5, 0.6]
    for frame in frames:
        np.testing.assert_array_equal(frame.image, images[frame.index])


def test_images_are_found_by_their_number_whatever_its_zeros(tmp_path):
    """DanceTrack has eight digits, and people number as they like."""
    for digits in (1, 8):
        folder = make_sequence(tmp_path / f"{digits}", 0, person(1, [1]))
        (folder / "seqinfo.ini").write_text(
            (folder / "seqinfo.ini").read_text().replace("seqLength=0", "seqLength=11")
        )
        (folder / "img1").rmdir()
        write_numbered(folder / "img1", moving(11), digits)
        (folder / "img1" / "thumbnail.png").touch()
        frames = list(read_frames(load_sequence(folder)))
        assert [frame.index for frame in frames] == list(range(11))
        np.testing.assert_array_equal(frames[10].image, moving(11)[10])


def test_frames_of_a_video_are_those_of_the_part(tmp_path):
    folder = make_sequence(tmp_path / "A", 9, video=True)
    whole, half = load_sequence(folder), load_sequence(folder, "half-val")
    everything, second = list(read_frames(whole)), list(read_frames(half))
    assert [frame.index for frame in everything] == list(range(9))
    assert [frame.index for frame in second] == [5, 6, 7, 8]
    for frame in second:
        np.testing.assert_array_equal(frame.image, everything[frame.index].image)


def test_a_video_shorter_than_its_sequence_is_an_error(tmp_path):
    folder = make_sequence(tmp_path / "A", 9, video=True)
    (folder / "seqinfo.ini").write_text((folder / "seqinfo.ini").read_text().replace("=9", "=12"))
    with pytest.raises(DataError, match=r"video\.mp4: ends after 9 frames, frame 12 is needed"):
        list(read_frames(load_sequence(folder)))


def test_mot15_has_no_classes(tmp_path):
    folder = make_sequence(tmp_path / "A", 2, person(1, [1, 2], rest=(1, -1, -1, -1)))
    assert load_sequence(folder).ground_truth.shape == (2, 10)


def refused(kind, says, *arguments, **options):
    with pytest.raises(kind, match=says) as caught:
        load_dataset(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_a_misspelt_name_or_part_suggests_the_nearest(root):
    refused(UsageError, "no data set or folder 'mot17-haf'; did you mean 'mot17-half'", "mot17-haf")
    refused(
        UsageError,
        "unknown part 'half-vall'; it is all, half-train, half-val, or frames as in 281-397",
        "mot17-half",
        root,
        "half-vall",
    )
    refused(UsageError, "--root goes with a data set's name", root / "train", root)


def test_a_root_that_is_not_there_says_which_folder_and_which_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(
        DataError, r"data/MOT17/train: not found; .*mot17-half.* give the folder .* with --root", "mot17-half"
    )


def test_a_root_of_another_level_is_recognised(root):
    refused(DataError, f"one level too low, give --root {root}$", "mot17-half", root / "train")
    refused(DataError, f"one level too high, give --root {root}$", "mot17-half", root.parent)
    refused(DataError, f"holds no sequences itself, one level too high; give {root / 'train'}$", root)
    sequence = root / "train" / "MOT17-02-SDP"
    refused(DataError, f"inside a sequence, one level too low; give {sequence}$", sequence / "img1")
    refused(DataError, "no sequences here; a sequence is a folder with seqinfo.ini", root.parent)
    refused(DataError, "nowhere/here: no such folder", "nowhere/here")


def test_a_data_set_without_its_sequences_is_an_error(root):
    for folder in (root / "train").glob("*-FRCNN"):
        folder.rename(folder.with_name(folder.name.replace("FRCNN", "XYZ")))
    refused(DataError, r"train: no sequence \*-FRCNN", "mot17-half", root)


def lose_frames(*numbers):
    def damage(folder):
        for number in numbers:
            (folder / "img1" / f"{number:06}.png").unlink()

    return damage


def gt_of(*rows):
    return lambda folder: write_rows(folder / "gt" / "gt.txt", rows)


def lose_numbers(folder):
    for path in (folder / "img1").iterdir():
        path.rename(path.with_stem("a" + path.stem))


def name_a_video(folder):
    info = folder / "seqinfo.ini"
    info.write_text(info.read_text() + "videoFile=a.mp4\n")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda folder: (folder / "gt" / "gt.txt").unlink(),
            r"gt\.txt: not found; a sequence without ground",
        ),
        (gt_of(), r"A/gt/gt\.txt: is empty"),
        (gt_of(*person(3, [6, 7, 9])), r"gt\.txt: speaks of frame 9, but seqinfo\.ini says seqLength=7"),
        (gt_of((1, 1, 1, 1, 1, 1), (2, 1, float("nan"), 1, 1, 1)), r"A/gt/gt\.txt, line 2: "),
        (gt_of(*person(4, [2, 3]), *person(5, [2]), *person(4, [3])), r"gt\.txt: id 4 is twice in frame 3"),
        (lambda folder: (folder / "img1").rename(folder / "images"), r"A/img1: not found"),
        (lose_numbers, r"A/img1: holds no numbered images"),
        (lose_frames(3), r"A/img1/000003\.png: this frame is missing; "),
        (lose_frames(4, 7), r"A/img1/000004\.png: this frame is missing and 1 more; "),
        (lambda folder: (folder / "seqinfo.ini").write_text("[Sequence]\n"), r"A/seqinfo\.ini: .*seqLength"),
        (name_a_video, r"A/a\.mp4: not found; .*seqinfo\.ini names it as videoFile"),
    ],
    ids=["no gt", "empty", "beyond", "NaN", "twice", "images", "numbers", "frame", "frames", "info", "video"],
)
def test_a_damaged_sequence_is_one_line_that_names_the_file(tmp_path, damage, says):
    damage(make_sequence(tmp_path / "A", 7))
    refused(DataError, says, tmp_path)


def test_only_the_frames_of_the_part_have_to_be_there(tmp_path):
    lose_frames(3)(make_sequence(tmp_path / "A", 7))
    assert load_sequence(tmp_path / "A", "half-val").frames == 3


def test_a_frame_that_disappears_later_is_an_error_and_so_is_a_broken_one(tmp_path):
    sequence = load_sequence(make_sequence(tmp_path / "A", 7))
    (sequence.source / "000005.png").write_bytes(b"no picture")
    with pytest.raises(SvitError, match=r"000005\.png: cannot be read"):
        list(read_frames(sequence))
    (sequence.source / "000005.png").unlink()
    with pytest.raises(DataError, match=r"000005\.png: this frame is missing"):
        list(read_frames(sequence))


def test_a_part_may_be_any_frames(root):
    folder = root / "train" / "MOT17-04-FRCNN"
    sequence = load_sequence(folder, "3-5")
    assert (sequence.first, sequence.last) == (3, 5)
    assert set(sequence.ground_truth[:, 0]) == {3, 4, 5}
    with pytest.raises(DataError, match="has 8 frames, too few for 7-9"):
        load_sequence(folder, "7-9")
    for wrong in ("0-3", "5-3", "3-"):
        refused(UsageError, f"unknown part '{wrong}'", folder, None, wrong)


def test_a_pattern_chooses_sequences_before_they_are_looked_at(root):
    (only,) = load_dataset(root / "train", part="1-8", pattern="MOT17-04-SDP")
    assert only.name == "MOT17-04-SDP"


def test_a_sequence_too_short_to_halve_is_an_error(tmp_path):
    folder = make_sequence(tmp_path / "A", 2)
    with pytest.raises(DataError, match="has 2 frames, too few for half-val"):
        load_sequence(folder, "half-val")
