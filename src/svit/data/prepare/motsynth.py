"""MOTSynth's annotations as one COCO-video file.

MOTSynth: Fabbri et al., "MOTSynth: How Can Synthetic Data Help Pedestrian Detection and Tracking?", ICCV
2021, from motchallenge.net/data/MOTSynth. For research only: its licence comes with the download. Nothing is
downloaded here.

Every annotated box is kept, of hidden and blurred people too, as in the S-ViT official settings. Keypoints,
segmentations, attributes and camera data are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from svit.data.bad_rows import BadRows
from svit.data.json_records import read_records
from svit.data.prepare.outputs import Prepared, open_sink
from svit.errors import DataError, SourceError
from svit.types import Progress, no_progress
from svit.video import open_source

RATE, WIDTH, HEIGHT = 20, 1920, 1080
"""Frames per second and size of every MOTSynth video."""

LARGEST = 1e6
"""Pixels; no coordinate of a box is this far off."""

SECTIONS = ("videos", "images", "annotations")

USED = {
    "images": ("id", "frame_n", "height", "width"),
    "annotations": ("image_id", "ped_id", "bbox", "iscrowd"),
}
"""What is kept of the records of a file, by section; keypoints and the like would fill the memory."""

Record: TypeAlias = dict[str, Any]
Records: TypeAlias = Generator[tuple[str, Record]]
"""Records of the COCO-video file, each with the name of its section."""


@dataclass(frozen=True)
class MotSynthOptions:
    """What `prepare_motsynth` makes of the data set.

    Attributes:
        videos: the folder of 000.mp4, 001.mp4 ..., to train from the videos themselves: each video gets a
            `video_file` relative to that folder's parent ("videos/000.mp4"), which is then the images' root,
            and each image its number in the video from 1 (`mot_frame_id`). The videos are opened to check
            their size and length. None for extracted frames.
        official_ids: as the official script has them: `instance_id` is `ped_id`, which videos share, and
            `num_instances` is the number of annotations + 1. Else instance ids count from 0 and no two
            videos share one, and `num_instances` is their number.
        dry_run: read and check everything, write nothing.
    """

    videos: Path | None = None
    official_ids: bool = False
    dry_run: bool = False


def prepare_motsynth(
    annotations: str | Path,
    output: str | Path,
    options: MotSynthOptions = MotSynthOptions(),
    bad_rows: BadRows | None = None,
    progress: Progress = no_progress,
) -> Prepared:
    """Joins MOTSynth's annotation files, one per video, into one COCO-video file.

    One annotation file is in memory at a time, without its keypoints. `frame_id` n is the n-th decoded frame
    of the video, counted from 0, which `extract_frames` names n + 1.

    Args:
        annotations: the folder of 000.json, 001.json ...
        output: the file to write, .json.
        options: see `MotSynthOptions`.
        bad_rows: what to do with records and files that cannot be read; None raises at the first.
        progress: told of every annotation file.

    Returns:
        What was written, or in a dry run would be.

    Raises:
        DataError: a missing folder, a malformed file or record, a video that is missing or does not fit; the
            message names the file and the record.
        OutputError: the output cannot be written.
    """
    files = numbered_files(Path(annotations), ".json")
    if options.videos:
        numbered_files(options.videos, ".mp4")
    converter = _Converter(options, bad_rows or BadRows())
    with open_sink(Path(output), SECTIONS, options.dry_run) as sink:
        add = dict(zip(SECTIONS, (sink.video, sink.image, sink.annotation), strict=True))
        for section, record in converter.convert(progress(files, "annotation files", len(files))):
            add[section](record)
        sink.extra("num_instances", converter.num_instances)
    counts = {section: converter.counts[section] for section in SECTIONS} | {"instances": converter.instances}
    return Prepared(Path(output), counts, options.videos.absolute().parent if options.videos else None)


def numbered_files(folder: Path, suffix: str) -> list[Path]:
    """The files called by a number, such as 000.mp4, in the order of their numbers.

    Raises:
        DataError: no such folder, or no such files in it; the message says which level was expected.
    """
    wanted = f"MOTSynth's 000{suffix}, 001{suffix} ..."
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}; give the folder of {wanted}")
    files = _numbered(folder, suffix)
    if not files:
        below = next((child for child in sorted(folder.iterdir()) if _numbered(child, suffix)), None)
        advice = f"one level too high: give {below}" if below else f"give the folder of {wanted}"
        raise DataError(f"{folder}: no files called 000{suffix}, 001{suffix} ... in this folder; {advice}")
    return files


def _numbered(folder: Path, suffix: str) -> list[Path]:
    files = [path for path in folder.glob(f"*{suffix}") if path.stem.isdecimal() and path.is_file()]
    return sorted(files, key=lambda path: (int(path.stem), path.name))


def read_annotations(path: Path) -> dict[str, list[Record]]:
    """The images and annotations of one annotation file, each with the keys it has of those in `USED`.

    A record that is no object comes back empty.

    Raises:
        DataError: the file cannot be read, is no JSON (the message says where), or has another layout.
    """
    found: dict[str, list[Record]] = {}
    for batch in read_records(path):
        if batch.section in USED and batch.first > 0:
            slim = [_pick(record, USED[batch.section]) for record in batch.records]
            found.setdefault(batch.section, []).extend(slim)
    if found.keys() != USED.keys():
        raise DataError(
            f'{path}: has no lists "images" and "annotations"; not an annotation file of MOTSynth'
        )
    return found


def _pick(record: object, keys: tuple[str, ...]) -> Record:
    return {key: record[key] for key in keys if key in record} if isinstance(record, dict) else {}


@dataclass
class _Converter:
    """Turns annotation files into records; holds what counts on from video to video.

    Attributes:
        options, bad_rows: see `prepare_motsynth`.
        counts: records made, by section.
        instances: people seen, each once per video.
    """

    options: MotSynthOptions
    bad_rows: BadRows
    counts: Counter[str] = field(default_factory=Counter)
    instances: int = 0

    @property
    def num_instances(self) -> int:
        """The value of that name in the file."""
        return self.counts["annotations"] + 1 if self.options.official_ids else self.instances

    def convert(self, files: Iterable[Path]) -> Records:
        """The records of all files; one that cannot be read is left out whole."""
        for path in files:
            yield from self._file(path)

    def _file(self, path: Path) -> Records:
        try:
            content = read_annotations(path)
            video = self._video(path, content["images"])
        except (DataError, SourceError) as error:
            self.bad_rows.report(str(error))
            return
        yield video
        ids = yield from self._images(path, content["images"])
        yield from self._annotations(path, content["annotations"], ids)

    def _video(self, path: Path, images: list[Record]) -> tuple[str, Record]:
        video: Record = {"name": path.stem, "fps": RATE, "height": HEIGHT, "width": WIDTH}
        if self.options.videos:
            video["video_file"] = _video_file(self.options.videos / f"{path.stem}.mp4", path, images)
        return self._numbered_record("videos", video)

    def _images(
        self, path: Path, images: list[Record]
    ) -> Generator[tuple[str, Record], None, dict[int, int]]:
        """Yields the images; returns the id in the COCO-video file for every id in this file."""
        ids: dict[int, int] = {}
        for number, item in enumerate(images, start=1):
            problem = _image_problem(item, ids)
            if problem:
                self.bad_rows.report(f"{path}, image {number}: {problem}")
                continue
            record = {
                "file_name": f"{path.stem}/img1/{item['frame_n']:06d}.jpg",
                "height": item["height"],
                "width": item["width"],
                "frame_id": item["frame_n"] - 1,
                "video_id": self.counts["videos"],
            }
            if self.options.videos:
                record["mot_frame_id"] = item["frame_n"]
            yield self._numbered_record("images", record)
            ids[item["id"]] = self.counts["images"]
        return ids

    def _annotations(self, path: Path, annotations: list[Record], ids: dict[int, int]) -> Records:
        people: dict[int, int] = {}
        for number, item in enumerate(annotations, start=1):
            problem = _annotation_problem(item, ids)
            if problem:
                self.bad_rows.report(f"{path}, annotation {number}: {problem}")
                continue
            person = people.setdefault(item["ped_id"], self.instances)
            self.instances = max(self.instances, person + 1)
            yield self._numbered_record(
                "annotations",
                {
                    "category_id": 1,
                    "bbox": item["bbox"],
                    "area": item["bbox"][2] * item["bbox"][3],
                    "iscrowd": bool(item["iscrowd"]),
                    "image_id": ids[item["image_id"]],
                    "instance_id": item["ped_id"] if self.options.official_ids else person,
                },
            )

    def _numbered_record(self, section: str, record: Record) -> tuple[str, Record]:
        self.counts[section] += 1
        return section, {"id": self.counts[section]} | record


def _video_file(video: Path, annotation: Path, images: list[Record]) -> str:
    """The video's name beside the other folders of the data set, after a look whether it fits.

    Raises:
        DataError: fewer frames or another size than annotated.
        SourceError: missing or damaged.
    """
    good = [item for item in images if _image_problem(item, {}) is None]
    last = max((item["frame_n"] for item in good), default=0)
    with open_source(video) as source:
        if source.frames is not None and source.frames < last:
            raise DataError(f"{video}: {source.frames} frames, but {annotation} has a frame_n of {last}")
        size = (source.width, source.height)
    other = next(((x["width"], x["height"]) for x in good if (x["width"], x["height"]) != size), None)
    if other:
        raise DataError(
            f"{video}: {size[0]}x{size[1]}, but {annotation} has an image of {other[0]}x{other[1]}"
        )
    # Not resolved: where the folder is a link, its own name is the one beside the others.
    return f"{video.parent.absolute().name}/{video.name}"


def _image_problem(item: Record, ids: dict[int, int]) -> str | None:
    for key in ("id", "frame_n", "height", "width"):
        if type(item.get(key)) is not int:
            return f'"{key}" is missing or no whole number'
    if item["id"] in ids:
        return f"id {item['id']} comes twice"
    if min(item["frame_n"], item["height"], item["width"]) < 1:
        return "frame_n, height and width must be above 0"
    return None


def _annotation_problem(item: Record, ids: dict[int, int]) -> str | None:
    for key in ("image_id", "ped_id", "iscrowd"):
        if not isinstance(item.get(key), int):
            return f'"{key}" is missing or no whole number'
    if item["image_id"] not in ids:
        return f"there is no image with id {item['image_id']}"
    box = item.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)):
        return '"bbox" is not 4 numbers x, y, w, h'
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < LARGEST  # false for NaN too
