"""A COCO-video file in memory: numpy columns instead of a dictionary per box."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
SmallInts = npt.NDArray[np.int32]
Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Videos:
    """The videos of a file, V of them, in its order; none in a plain COCO file.

    Attributes:
        id: (V,) as in the file.
        name: V names; of a MOT data set the sequence's.
        fps: (V,) frames per second, NaN where the file does not say.
        width, height: (V,) of a frame, pixels, 0 where the file does not say.
        video_file: V names of video files beside the images' root, None where the frames are pictures.
    """

    id: Ints
    name: list[str]
    fps: Reals
    width: SmallInts
    height: SmallInts
    video_file: list[str | None]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class Images:
    """The images of a file, I of them, in its order.

    Attributes:
        id: (I,) as in the file.
        video: (I,) index into the videos, -1 for a picture of its own.
        frame_id: (I,) position in the video, from 0, -1 for a picture of its own. A half of a sequence
            counts from 0 again.
        mot_frame_id: (I,) number of the frame in the whole sequence, from 1: what MOT files call it, and
            1 more than its position in a video file. 1 + frame_id where the file does not say, 0 for a
            picture of its own.
        file_name: I names relative to the images' root.
        width, height: (I,) pixels.
    """

    id: Ints
    video: SmallInts
    frame_id: SmallInts
    mot_frame_id: SmallInts
    file_name: list[str]
    width: SmallInts
    height: SmallInts

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class Boxes:
    """The boxes of a file, N of them, image by image: see `CocoVideo.boxes_of`.

    Attributes:
        id: (N,) as in the file.
        image: (N,) index into the images, ascending.
        category: (N,) index into the categories.
        instance_id: (N,) the person's; unique within a video, not beyond it. -1 where there is none.
        xywh: (N, 4) left, top, width, height in pixels; may reach beyond the image.
        iscrowd: (N,) neither a target nor background: `iscrowd` or mmtracking's `ignore`.
        visibility: (N,) 0 to 1; NaN where the file does not say, None where it never does.
        mot_conf: (N,) the ground truth's confidence, 0 for "not to be counted"; NaN and None likewise.
        score: (N,) 0 to 1, how sure a pseudo-label is; NaN and None likewise.
    """

    id: Ints
    image: SmallInts
    category: SmallInts
    instance_id: Ints
    xywh: Reals
    iscrowd: npt.NDArray[np.bool_]
    visibility: Reals | None
    mot_conf: Reals | None
    score: Reals | None

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class CocoVideo:
    """A COCO-video file in memory: numpy columns, about 45 bytes a box (125 while it is read).

    Attributes:
        path: of the file.
        categories: the names by the id they have in the file, in its order.
        annotated: False for a test set: the file has no annotations, which is not the same as no people.
        offsets: (I + 1,) the boxes of image i are offsets[i] to offsets[i + 1].
        video_frames: per video, the indices of its images in the order of `frame_id`.
        stills: (S,) indices of the images that belong to no video.
    """

    path: Path
    categories: dict[int, str]
    videos: Videos
    images: Images
    boxes: Boxes
    annotated: bool
    offsets: Ints
    video_frames: list[Ints]
    stills: Ints

    def boxes_of(self, image: int) -> slice:
        """Where the boxes of an image (by index) are in the columns of `boxes`."""
        return slice(int(self.offsets[image]), int(self.offsets[image + 1]))
