"""Training clips by number: frames, order and augmentation are a function of seed and number alone.

So it does not matter which process or worker makes a clip, and a run that is resumed goes on with the clips
it would have had.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from svit.config import Settings
from svit.data.augment.clip import LabelledClip
from svit.data.augment.pipeline import augment_clip
from svit.data.augment.sampling import sample_clip_indices
from svit.data.augment.settings import AugmentConfig, StillConfig
from svit.data.augment.stills import still_to_clip
from svit.data.scenes import Pictures, Scene
from svit.errors import DataError, SvitError

TRIES = 8
"""So many clips are tried in the place of one that cannot be read."""

OPEN = 8
"""So many videos are held open by a worker."""


class ClipConfig(Settings):
    """Which frames make a clip."""

    length: int = Field(2, gt=0, description="frames of a clip (official: 2)")
    strides: tuple[int, int] = Field((1, 4), description="least and greatest distance of its frames")
    reverse: bool = Field(False, description="let half of the clips run backwards")
    still: StillConfig = StillConfig()


@dataclass(frozen=True)
class Sample:
    """A clip ready for a batch, and what could not be read on the way to it.

    Attributes:
        clip: augmented.
        broken: one line per clip that had to be left out for this one.
    """

    clip: LabelledClip
    broken: list[str]


class Clips:
    """All clips of a run by number, from 0 without end; epoch after epoch, each in an order of its own.

    Args:
        sources: lists of scenes with their share: passes over the frames per epoch.
        clip: which frames make a clip.
        augment: what is done to it.
        seed: of orders and augmentation.

    Attributes:
        per_epoch: clips of an epoch.
    """

    def __init__(
        self,
        sources: Sequence[tuple[list[Scene], float]],
        clip: ClipConfig,
        augment: AugmentConfig,
        seed: int = 0,
    ) -> None:
        self._sources = [(scenes, share) for scenes, share in sources]
        self._clip, self._augment, self._seed = clip, augment, seed
        self._plain_from: int | None = None
        self._open: OrderedDict[int, Pictures] = OrderedDict()
        self._starts = [np.cumsum([0, *(len(scene.starts) for scene in found)]) for found, _ in sources]
        shares = (share for _, share in sources)
        self._counts = [max(1, round(s * n[-1])) for s, n in zip(shares, self._starts, strict=True)]
        self.per_epoch = sum(self._counts)
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.zeros((0, 2), np.int64))

    def plain_from(self, number: int) -> Self:
        """The same clips, but from this number on neither joined nor blended."""
        clips = copy(self)
        clips._plain_from = number
        return clips

    def __getitem__(self, number: int) -> Sample:
        """The clip of this number; one that cannot be read is replaced, and told of.

        Raises:
            DataError: neither can a number of others.
        """
        broken: list[str] = []
        for attempt in range(TRIES):
            rng = np.random.default_rng([self._seed, number, attempt])
            try:
                first = self._load(*self._place(number), rng) if attempt == 0 else self._random(rng)
                augment = self._augment if self._mixes(number) else self._augment.without_mixing()
                return Sample(augment_clip(augment, self._random, first, rng), broken)
            except SvitError as error:
                broken.append(str(error))
        raise DataError(f"{TRIES} clips in a row cannot be read; the last: {broken[-1]}")

    def _mixes(self, number: int) -> bool:
        return self._plain_from is None or number < self._plain_from

    def _place(self, number: int) -> tuple[int, int]:
        """Source and frame that a clip starts with."""
        epoch, position = divmod(number, self.per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._shuffled(epoch))
        source, frame = self._order[1][position]
        return int(source), int(frame)

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        """(per_epoch, 2): source and frame; a share below one draws anew each epoch, without repeating."""
        rng = np.random.default_rng([self._seed, epoch])
        parts = []
        for source, (count, starts) in enumerate(zip(self._counts, self._starts, strict=True)):
            total = int(starts[-1])
            passes = [rng.permutation(total) for _ in range(-(-count // total))]
            frames = np.concatenate(passes)[:count]
            parts.append(np.stack([np.full(count, source), frames], axis=1))
        order: npt.NDArray[np.int64] = rng.permutation(np.concatenate(parts), axis=0)
        return order

    def _random(self, rng: np.random.Generator) -> LabelledClip:
        """Any clip, sources by their number of clips."""
        source = int(rng.choice(len(self._counts), p=np.array(self._counts) / self.per_epoch))
        return self._load(source, int(rng.integers(self._starts[source][-1])), rng)

    def _load(self, source: int, frame: int, rng: np.random.Generator) -> LabelledClip:
        starts, (scenes, _) = self._starts[source], self._sources[source]
        index = int(np.searchsorted(starts, frame, side="right")) - 1
        scene, length = scenes[index], self._clip.length
        self._use(scene.pictures)
        if len(scene) == 1:
            return still_to_clip(scene.clip([0]), length, self._clip.still, rng)
        start, strides = int(scene.starts[frame - starts[index]]), self._clip.strides
        return scene.clip(sample_clip_indices(len(scene), length, strides, rng, start, self._clip.reverse))

    def _use(self, pictures: Pictures) -> None:
        """Closes the video that was used longest ago where too many are open."""
        self._open[id(pictures)] = pictures
        self._open.move_to_end(id(pictures))
        if len(self._open) > OPEN:
            self._open.popitem(last=False)[1].close()
