"""The tracks that are alive, one array per property, sorted by id (that is by birth)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from svit.errors import UsageError
from svit.tracking import kalman
from svit.tracking.boxes import Indices
from svit.tracking.kalman import Floats

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_DTYPES = {
    "ids": np.int64,
    "class_ids": np.int64,
    "last_seen": np.int64,
    "boxes_seen": np.int64,
    "confirmed": np.bool_,
    "kalman": np.float64,
}


@dataclass(frozen=True, slots=True)
class Tracks:
    """N tracks.

    Attributes:
        ids: (N,) increasing.
        class_ids: (N,) class of the object, fixed at birth.
        last_seen: (N,) index of the last frame with a box of this track.
        boxes_seen: (N,) boxes of this track so far.
        confirmed: (N,) False while a track is tentative.
        kalman: (5, 4, N) filter state, see `svit.tracking.kalman`.
    """

    ids: Integers
    class_ids: Integers
    last_seen: Integers
    boxes_seen: Integers
    confirmed: Flags
    kalman: Floats

    @classmethod
    def none(cls) -> Tracks:
        """Return no tracks."""
        return cls(**{name: np.zeros(_shape(name, 0), dtype) for name, dtype in _DTYPES.items()})

    @classmethod
    def born(cls, first_id: int, class_ids: Integers, boxes: Floats, frame: int, confirmed: bool) -> Tracks:
        """Return tracks that start in `frame` at the measurements `boxes` (4, N), ids from `first_id` on."""
        count = class_ids.size
        return cls(
            ids=np.arange(first_id, first_id + count),
            class_ids=class_ids,
            last_seen=np.full(count, frame),
            boxes_seen=np.ones(count, np.int64),
            confirmed=np.full(count, confirmed),
            kalman=kalman.initiate(boxes),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Tracks:
        """Return the tracks that `arrays` of another process describes; a copy.

        Raises:
            UsageError: an array has the wrong shape, the wrong type, or values that are not finite.
        """
        columns: dict[str, Any] = {}
        count = np.asarray(arrays["ids"]).size
        for name, dtype in _DTYPES.items():
            values = np.asarray(arrays[name])
            if values.shape != _shape(name, count) or values.dtype != dtype or not np.isfinite(values).all():
                raise UsageError(
                    f"tracker state: {name!r} is {values.dtype} {values.shape}, expected finite"
                    f" {np.dtype(dtype)} {_shape(name, count)}; save it again with state_dict()"
                )
            columns[name] = values.copy()
        return cls(**columns)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of every array by its name, the input of `from_arrays`."""
        return {field.name: getattr(self, field.name).copy() for field in fields(self)}

    def __len__(self) -> int:
        return self.ids.size

    def predict(self, rows: Indices, reset_growth: Flags) -> None:
        """Move the tracks at `rows` ahead by one frame, in place.

        Args:
            rows: (K,) the tracks to move.
            reset_growth: (N,) where True the velocity of the height is set to 0 first. An unseen object's box
                would otherwise go on growing or shrinking out of all proportion.
        """
        self.kalman[kalman.VELOCITY, kalman.HEIGHT, rows[reset_growth[rows]]] = 0
        self.kalman[:, :, rows] = kalman.predict(self.kalman[:, :, rows])

    def observe(self, rows: Indices, boxes: Floats, frame: int, enough: int) -> None:
        """Correct the tracks at `rows` by the measurements `boxes`, in place.

        Args:
            rows: (K,) the tracks that were found, each once.
            boxes: (4, K) where.
            frame: index of the frame.
            enough: number of boxes that makes a tentative track a confirmed one.
        """
        self.kalman[:, :, rows] = kalman.update(self.kalman[:, :, rows], boxes)
        self.last_seen[rows] = frame
        self.boxes_seen[rows] += 1
        self.confirmed[rows] |= self.boxes_seen[rows] >= enough

    def select(self, keep: Flags) -> Tracks:
        """Return the tracks where `keep` (N,) is True."""
        return Tracks(*(getattr(self, field.name)[..., keep] for field in fields(self)))

    def joined(self, younger: Tracks) -> Tracks:
        """Return these tracks followed by `younger` ones."""
        pairs = ((getattr(self, field.name), getattr(younger, field.name)) for field in fields(self))
        return Tracks(*(np.concatenate(pair, axis=-1) for pair in pairs))


def _shape(name: str, count: int) -> tuple[int, ...]:
    return (5, 4, count) if name == "kalman" else (count,)
