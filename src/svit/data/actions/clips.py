"""Training clips of an action data set by number: all that is random comes from seed and number alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svit.data.actions.augment import augment_action_clip
from svit.data.actions.decode import read_frames
from svit.data.actions.index import ActionIndex, ActionVideo
from svit.data.actions.randaugment import Clip
from svit.data.actions.sampling import sample_training_frames
from svit.data.actions.settings import ActionAugmentConfig, SamplingConfig
from svit.errors import DataError, SvitError

TRIES = 8
"""So many videos are tried in the place of one that cannot be read."""


@dataclass(frozen=True)
class ActionSample:
    """A clip ready for a batch.

    Attributes:
        frames: (T, size, size, 3) uint8, RGB; normalised on the device.
        label: class, from 0.
        timestamps: (T,) seconds since the video's first frame.
        name: path of the video, as the index has it.
        broken: one line per video that could not be read, or only in part.
    """

    frames: Clip
    label: int
    timestamps: npt.NDArray[np.float64]
    name: str
    broken: list[str]


class ActionClips:
    """All clips of a run by number, from 0 without end; epoch after epoch, each in an order of its own.

    Which process makes a clip does not matter, and a run that is resumed goes on with the clips it would have
    had. Nothing is held open between two clips.

    Args:
        index: the data set.
        split: which of its videos.
        sampling: which frames make a clip.
        augment: what is done to it. Mirroring obeys the data set's flip rule.
        seed: of orders, frames and augmentation.
        repeats: clips of each video per epoch, one after the other (Hoffer et al. 2020)

    Attributes:
        per_epoch: clips of an epoch.
        classes: their names, by label.

    Raises:
        DataError: the split has no videos.
    """

    def __init__(
        self,
        index: ActionIndex,
        split: str,
        sampling: SamplingConfig,
        augment: ActionAugmentConfig,
        seed: int = 0,
        repeats: int = 1,
    ) -> None:
        self._index, self._videos, self._mirrored = index, index.of(split), index.mirrored
        self._sampling, self._augment = sampling, augment
        self._seed, self._repeats = seed, repeats
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.zeros(0, np.int64))
        self.per_epoch = len(self._videos) * repeats
        self.classes = index.classes

    def __getitem__(self, number: int) -> ActionSample:
        """The clip of this number; a video that cannot be read is replaced by another, and told of.

        Raises:
            DataError: neither can a number of others.
        """
        broken: list[str] = []
        for attempt in range(TRIES):
            rng = np.random.default_rng([self._seed, number, attempt])
            video = (
                self._video(number) if attempt == 0 else self._videos[int(rng.integers(len(self._videos)))]
            )
            try:
                return self._clip(video, broken, rng)
            except SvitError as error:
                broken.append(str(error))
        raise DataError(f"{TRIES} videos in a row cannot be read; the last: {broken[-1]}")

    def _video(self, number: int) -> ActionVideo:
        epoch, position = divmod(number, self.per_epoch)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = (epoch, rng.permutation(len(self._videos)))
        return self._videos[int(self._order[1][position // self._repeats])]

    def _clip(self, video: ActionVideo, broken: list[str], rng: np.random.Generator) -> ActionSample:
        numbers = sample_training_frames(video, self._sampling, rng)
        found = read_frames(self._index.path_of(video), video, numbers)
        may_mirror = self._index.flip.kind != "never"
        clip = augment_action_clip(found.frames, self._augment, may_mirror, rng)
        label = self._mirrored[video.label] if clip.mirrored else video.label
        times = video.clock()[found.numbers]
        return ActionSample(clip.frames, label, times, video.path, [*broken, *found.broken])
