"""How well a model finds people in single pictures: COCO AP, each picture a stream of its own.

python runs/photographs.py ../shared/data/detection/people_stills/val.json --model tiny-person
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import svit
from svit.data.coco_video import read_coco_video
from svit.data.images_root import find_images
from svit.data.people import corners
from svit.evaluate.detection import FrameBoxes, score_detections
from svit.video.images import read_image


def main() -> None:
    """Prints the scores in per cent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("annotations", type=Path, help="COCO file; crowd boxes are neither right nor wrong")
    parser.add_argument("--model", default="tiny-person", help="checkpoint, or the name of bundled weights")
    options = parser.parse_args()
    scores = score_detections(find_people(svit.load(options.model), options.annotations))
    print("  ".join(f"{name} {value:.1f}" for name, value in scores.items()))


def find_people(model: svit.VideoModel, annotations: Path) -> Iterator[FrameBoxes]:
    """What the model finds in each picture, beside what is there."""
    coco = read_coco_video(annotations)
    folder = find_images(coco)
    for image, name in enumerate(coco.images.file_name):
        boxes = coco.boxes_of(image)
        truth, crowd = corners(coco.boxes.xywh[boxes]), coco.boxes.iscrowd[boxes]
        found = svit.Stream(model).step(read_image(folder / name)).detections
        scores = np.zeros(0) if found.confidence is None else found.confidence
        yield FrameBoxes(truth[~crowd], truth[crowd], found.xyxy, scores)


if __name__ == "__main__":
    main()
