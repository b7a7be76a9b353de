from __future__ import annotations

import numpy as np
import pytest
from tests.data.augment.clips import empty_clip, rectangle_clip

from svit.data.augment import FrameLabels, LabelledClip
from svit.data.augment.clip import join_labels


def test_a_clip_knows_its_length_size_and_labels():
    clip = rectangle_clip(2, length=4, size=(100, 200), step=3)
    assert (len(clip), clip.height, clip.width) == (4, 100, 200)
    assert clip.labels(3).boxes.tolist() == [[69, 40, 109, 80]]
    assert clip.labels(3).ids.tolist() == [12]


def test_frames_may_be_a_list():
    clip = rectangle_clip()
    listed = LabelledClip(list(clip.frames), clip.boxes, clip.ids, clip.classes, clip.ignore)
    assert (len(listed), listed.height) == (3, 120)


def test_parts_that_do_not_fit_together_are_refused():
    clip = rectangle_clip()
    with pytest.raises(ValueError, match="for each of its frames"):
        LabelledClip(clip.frames[:2], clip.boxes, clip.ids, clip.classes, clip.ignore)
    with pytest.raises(ValueError, match="as many ids"):
        LabelledClip(clip.frames, clip.boxes, [np.arange(2)] * 3, clip.classes, clip.ignore)
    with pytest.raises(ValueError, match=r"\(N, 4\)"):
        LabelledClip(clip.frames, [np.zeros((1, 5), np.float32)] * 3, clip.ids, clip.classes, clip.ignore)
    frames = [clip.frames[0], clip.frames[1], clip.frames[2][:50]]
    with pytest.raises(ValueError, match="of one size"):
        LabelledClip(frames, clip.boxes, clip.ids, clip.classes, clip.ignore)
    with pytest.raises(ValueError, match="motion"):
        LabelledClip(clip.frames, clip.boxes, clip.ids, clip.classes, clip.ignore, np.eye(3)[None])


def test_labels_join_in_order_and_nothing_joins_to_nothing():
    first, second = rectangle_clip(1).labels(0), rectangle_clip(2).labels(1)
    joined = join_labels([first, empty_clip().labels(0), second])
    assert joined.ids.tolist() == [11, 12]
    assert joined.boxes.shape == joined.ignore.shape == (2, 4)
    nothing = join_labels([])
    assert [part.shape for part in nothing] == [(0, 4), (0,), (0,), (0, 4)]
    assert [part.dtype for part in nothing] == [np.float32, np.int64, np.int64, np.float32]


def test_keep_leaves_ids_and_classes_with_their_boxes():
    boxes, ignore = np.arange(12, dtype=np.float32).reshape(3, 4), np.zeros((2, 4), np.float32)
    labels = FrameLabels(boxes, np.array([5, 6, 7]), np.array([0, 1, 2]), ignore)
    kept = labels.keep(np.array([True, False, True]), np.array([False, True]))
    assert kept.boxes[:, 0].tolist() == [0, 8]
    assert (kept.ids.tolist(), kept.classes.tolist(), len(kept.ignore)) == ([5, 7], [0, 2], 1)
