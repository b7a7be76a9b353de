"""What a test looks at of each video: clips x crops (1x1, 4x3, 1x3, 2x3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svit.data.actions.augment import Box, resize_crop
from svit.data.actions.decode import read_frames
from svit.data.actions.index import ActionIndex
from svit.data.actions.sampling import sample_test_frames
from svit.data.actions.settings import SamplingConfig, ViewConfig
from svit.errors import SvitError

PLACES = {1: (0.5,), 3: (0.0, 0.5, 1.0)}
"""Where crops lie along the longer side: 0 is the left or upper end, 1 the other."""


@dataclass(frozen=True)
class ViewedVideo:
    """All views of one video.

    Attributes:
        frames: (clips x crops, T, size, size, 3) uint8, RGB, the crops of a clip beside each other; without
            views, (0, T, size, size, 3), where the video cannot be read.
        label: class, from 0.
        timestamps: (clips x crops, T) seconds since the video's first frame.
        name: path of the video, as the index has it.
        broken: one line where the video cannot be read, or only in part.
    """

    frames: npt.NDArray[np.uint8]
    label: int
    timestamps: npt.NDArray[np.float64]
    name: str
    broken: list[str]


class ActionViews:
    """The videos of a split as a test sees them: by number, in the index's order, nothing random.

    Args:
        index: the data set.
        split: which of its videos.
        sampling: which frames make a clip.
        views: None is one clip, one crop.

    Raises:
        DataError: the split has no videos.
    """

    def __init__(
        self, index: ActionIndex, split: str, sampling: SamplingConfig, views: ViewConfig | None = None
    ) -> None:
        self._index, self._videos = index, index.of(split)
        self._sampling, self._views = sampling, views or ViewConfig()
        self.classes = index.classes

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, number: int) -> ViewedVideo:
        """The views of video `number`, from 0; none, and the reason, where it cannot be read."""
        if not 0 <= number < len(self):
            raise IndexError(f"there is no video {number}; there are {len(self)}, counted from 0")
        video, size, length = self._videos[number], self._views.size, self._sampling.length
        numbers = sample_test_frames(video, self._sampling, self._views.clips)
        try:
            found = read_frames(self._index.path_of(video), video, numbers.ravel())
        except SvitError as error:
            nothing = np.zeros((0, length, size, size, 3), np.uint8)
            return ViewedVideo(nothing, video.label, np.zeros((0, length)), video.path, [str(error)])
        height, width = found.frames[0].shape[:2]
        boxes = crop_boxes(height, width, self._views)
        crops = np.stack([resize_crop(found.frames, box, size) for box in boxes])
        crops = crops.reshape(len(boxes), self._views.clips, length, size, size, 3)
        times = video.clock()[found.numbers].reshape(self._views.clips, length)
        frames = np.ascontiguousarray(crops.swapaxes(0, 1)).reshape(-1, length, size, size, 3)
        return ViewedVideo(frames, video.label, times.repeat(len(boxes), 0), video.path, found.broken)


def crop_boxes(height: int, width: int, views: ViewConfig) -> list[Box]:
    """The squares that a test looks at, in pixels of the picture."""
    short = min(height, width)
    side = short * views.size / (views.short_side or views.size)
    boxes = []
    for place in PLACES[views.crops]:
        across, down = (place, 0.5) if width >= height else (0.5, place)
        left, top = across * (width - side), down * (height - side)
        boxes.append((left, top, left + side, top + side))
    return boxes
