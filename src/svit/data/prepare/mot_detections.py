"""Public detections of a subset in one file: the official `.pkl`, as JSON or npz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from svit.data.prepare.outputs import whole_file

Boxes = dict[str, npt.NDArray[np.float64]]
"""(N, 5) x1, y1, x2, y2 in pixels and score, by the image's file name."""

DetectionFormat = Literal["json", "npz"]


def write_detections(path: Path, boxes: Boxes) -> None:
    """Writes {"det_bboxes": {image: [boxes of class 0]}} to .json, or one array per image to .npz.

    Pickle, the official form, can run code when it is opened; neither of these can.

    Raises:
        OutputError: the file cannot be written.
    """
    with whole_file(path) as file:
        if path.suffix == ".npz":
            np.savez_compressed(file, allow_pickle=False, **boxes)
            return
        file.write(b'{"det_bboxes": {')
        for number, (image, rows) in enumerate(boxes.items()):
            text = f"{json.dumps(image)}: {json.dumps([rows.tolist()])}"
            file.write((",\n" if number else "\n").encode() + text.encode())
        file.write(b"\n}}\n")
