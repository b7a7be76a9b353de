"""MOTChallenge, DanceTrack and SportsMOT as COCO-video files.

MOT15, MOT16, MOT17, MOT20: motchallenge.net, CC BY-NC-SA 3.0 (Leal-Taixe et al., "MOTChallenge 2015"; Milan
et al., "MOT16"; Dendorfer et al., "MOT20"). DanceTrack: github.com/DanceTrack/DanceTrack, for non-commercial
research (Sun et al., CVPR 2022). SportsMOT: github.com/MCG-NJU/SportsMOT, CC BY-NC 4.0 (Cui et al., ICCV
2023). Nothing is downloaded here.

Of the ground truth only class 1, pedestrians, is kept. The other twelve are dropped: vehicles and occluders
(3-6, 9-11) are no people; people on vehicles, static people, distractors, reflections and crowds (2, 7, 8,
12, 13) are no targets of the benchmark, and finding them is neither rewarded nor punished. Rows of class 1
with confidence 0, which a scorer ignores, are kept as in the S-ViT official settings; an option drops them.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from svit.data.bad_rows import BadRows
from svit.data.mot_files import SequenceInfo, read_sequence_info
from svit.data.prepare.mot_detections import Boxes, DetectionFormat, write_detections
from svit.data.prepare.mot_layout import find_subsets, list_frames
from svit.data.prepare.mot_rows import PEDESTRIAN, GroundTruthRow, read_detections, read_ground_truth
from svit.data.prepare.outputs import Prepared, Sink, make_folder, open_sink, whole_file
from svit.errors import DataError, OutputError
from svit.types import Progress, no_progress

HALVES = ("half-train", "half-val")


@dataclass(frozen=True)
class MotOptions:
    """What `prepare_mot` makes of a data set.

    Attributes:
        split_train: also `half-train` and `half-val`: of each training sequence of N frames the first
            N // 2 + 1, and the rest.
        convert_det: also the public detections, det/det.txt, of every subset.
        det_format: of the detections' files.
        write_gt: with `split_train`, also gt_half-train.txt and gt_half-val.txt beside each gt.txt, as the
            official converter does: the only files ever written into the data set.
        drop_ignored: leave out rows with confidence 0; the official converter keeps them.
        dry_run: read and check everything, write nothing.
    """

    split_train: bool = False
    convert_det: bool = False
    det_format: DetectionFormat = "json"
    write_gt: bool = True
    drop_ignored: bool = False
    dry_run: bool = False


def prepare_mot(
    root: str | Path,
    output: str | Path,
    options: MotOptions = MotOptions(),
    bad_rows: BadRows | None = None,
    progress: Progress = no_progress,
) -> list[Prepared]:
    """Writes `{subset}_cocoformat.json` for each of train, val and test that is there, and for the halves.

    As in the S-ViT official settings, ids of videos, images and annotations count on from one subset to the
    next (train, val, test, half-train, half-val), and `instance_id` counts from 0 in each. `frame_id` counts
    from 0 in each video of each file; `mot_frame_id` is the frame's number in the data set. A test file has
    no `annotations`. A sequence that is a video (`videoFile` in seqinfo.ini) has a `video_file`, relative to
    the subset's folder as every `file_name` is. Sequences go by name; the official script takes them as the
    disk lists them.

    Args:
        root: the folder that holds train, val or test, such as data/MOT17.
        output: the folder for the results; made where it is missing.
        options: see `MotOptions`.
        bad_rows: what to do with malformed rows and missing frames; None raises.
        progress: told of every sequence.

    Returns:
        What was written, or in a dry run would be.

    Raises:
        DataError: the folder is at the wrong level, or a file or row is malformed; names file and line.
        OutputError: an output cannot be written.
    """
    subsets = find_subsets(Path(root))
    if options.split_train and "train" not in subsets:
        raise DataError(f"{root}: has no train folder, which the half split is made from")
    if not options.dry_run:
        make_folder(Path(output))
    job, tell, written = _Job(Path(output), options), bad_rows or BadRows(), []
    for name in (*subsets, *(HALVES if options.split_train else ())):
        source = "train" if name in HALVES else name
        # What is bad in a half was told when the whole was read.
        subset = _Subset(name, job, BadRows(skip=True) if name in HALVES else tell)
        folders = progress(subsets[source], f"{name} sequences", len(subsets[source]))
        written += subset.convert(folders, Path(root) / source)
    return written


@dataclass
class _Job:
    """What all subsets share: the ids given so far count on."""

    output: Path
    options: MotOptions
    ids: Counter[str] = field(default_factory=Counter)

    def next(self, kind: str) -> int:
        self.ids[kind] += 1
        return self.ids[kind]


class _Subset:
    """Converts one subset; holds what counts on across its sequences."""

    def __init__(self, name: str, job: _Job, bad_rows: BadRows) -> None:
        self._name, self._job, self._bad_rows = name, job, bad_rows
        self._counts = dict.fromkeys(("videos", "images"), 0)
        if self._annotated:
            self._counts |= dict.fromkeys(("boxes", "ids", "rows dropped"), 0)
        self._instances: dict[tuple[Path, int], int] = {}
        self._boxes: Boxes = {}
        self._gt_half: dict[Path, int] = {}

    @property
    def _annotated(self) -> bool:
        return self._name != "test"

    def convert(self, folders: Iterable[Path], images: Path) -> list[Prepared]:
        """Writes the subset's files; `images` is the folder that its sequences are in."""
        options, path = self._job.options, self._job.output / f"{self._name}_cocoformat.json"
        sections = ("videos", "images", "annotations") if self._annotated else ("videos", "images")
        with open_sink(path, sections, options.dry_run) as sink:
            for folder in folders:
                self._add_sequence(folder, sink)
            sink.extra("num_instances", len(self._instances))
        written = [Prepared(path, self._counts, images)]
        if options.convert_det:
            written.append(self._write_detections())
        if self._gt_half:
            counts = {"files": len(self._gt_half), "rows": sum(self._gt_half.values())}
            written.append(Prepared(images / "*" / "gt" / f"gt_{self._name}.txt", counts))
        return written

    def _add_sequence(self, folder: Path, sink: Sink) -> None:
        info = read_sequence_info(folder)
        wanted = self._wanted(info.length)
        rows = self._read_rows(info, wanted) if self._annotated else {}
        detections = self._read_detections(info)
        video_id = self._job.next("video")
        sink.video(_video(video_id, info))
        self._counts["videos"] += 1
        frames = [frame for frame in list_frames(info, self._bad_rows) if frame[0] in wanted]
        for frame_id, (number, name) in enumerate(frames):
            image_id = self._job.next("image")
            size = {"height": info.height, "width": info.width}
            place = {"frame_id": frame_id, "mot_frame_id": number}
            sink.image({"id": image_id, "video_id": video_id, "file_name": name, **size, **place})
            self._counts["images"] += 1
            for row in rows.get(number, ()):
                self._add_box(folder, row, image_id, sink)
            if self._job.options.convert_det:
                self._boxes[name] = detections.get(number, np.zeros((0, 5)))

    def _add_box(self, folder: Path, row: GroundTruthRow, image_id: int, sink: Sink) -> None:
        instance = self._instances.setdefault((folder, row.identity), len(self._instances))
        sink.annotation(
            {
                "id": self._job.next("annotation"),
                "image_id": image_id,
                "category_id": 1,
                "instance_id": instance,
                "bbox": row.box,
                "area": row.box[2] * row.box[3],
                "iscrowd": False,
                "visibility": row.visibility,
                "mot_instance_id": row.identity,
                "mot_conf": row.confidence,
                "mot_class_id": row.class_id,
            }
        )
        self._counts["boxes"] += 1
        self._counts["ids"] = len(self._instances)

    def _wanted(self, length: int) -> range:
        """The frames of the subset in a sequence of `length`."""
        split = length // 2 + 1
        halves = {"half-train": range(1, split + 1), "half-val": range(split + 1, length + 1)}
        return halves.get(self._name, range(1, length + 1))

    def _read_rows(self, info: SequenceInfo, wanted: range) -> dict[int, list[GroundTruthRow]]:
        """The rows to keep of the wanted frames, by frame; writes those of all classes to gt_half-*.txt."""
        path = info.folder / "gt" / "gt.txt"
        rows = [row for row in read_ground_truth(path, info.length, self._bad_rows) if row.frame in wanted]
        if self._name in HALVES and self._job.options.write_gt:
            self._write_gt_half(path.with_name(f"gt_{self._name}.txt"), rows)
        kept = defaultdict(list)
        for row in rows:
            if row.class_id == PEDESTRIAN and (row.considered or not self._job.options.drop_ignored):
                kept[row.frame].append(row)
            else:
                self._counts["rows dropped"] += 1
        return kept

    def _write_gt_half(self, path: Path, rows: list[GroundTruthRow]) -> None:
        self._gt_half[path] = len(rows)
        if self._job.options.dry_run:
            return
        try:
            with whole_file(path) as file:
                file.write("".join(f"{row.text}\n" for row in rows).encode())
        except OutputError as error:
            raise OutputError(f"{error}; --no-write-gt writes nothing beside gt.txt") from None

    def _read_detections(self, info: SequenceInfo) -> dict[int, npt.NDArray[np.float64]]:
        path = info.folder / "det" / "det.txt"
        if not self._job.options.convert_det:
            return {}
        if not path.is_file():
            raise DataError(f"{path}: not found; without public detections leave --convert-det away")
        return read_detections(path, info.length, self._bad_rows)

    def _write_detections(self) -> Prepared:
        options = self._job.options
        path = self._job.output / f"{self._name}_detections.{options.det_format}"
        if not options.dry_run:
            write_detections(path, self._boxes)
        return Prepared(path, {"images": len(self._boxes), "boxes": sum(map(len, self._boxes.values()))})


def _video(video_id: int, info: SequenceInfo) -> dict[str, object]:
    rate = int(info.rate) if info.rate == int(info.rate) else info.rate
    size = {"width": info.width, "height": info.height}
    record: dict[str, object] = {"id": video_id, "name": info.name, "fps": rate, **size}
    if info.video:
        record["video_file"] = Path(os.path.relpath(info.video, info.folder.parent)).as_posix()
    return record
