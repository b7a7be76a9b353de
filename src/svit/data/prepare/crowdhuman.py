"""CrowdHuman as COCO files.

CrowdHuman: crowdhuman.org (Shao et al., "CrowdHuman: A Benchmark for Detecting Human in a Crowd", 2018). The
pictures are for non-commercial research and education and must not be passed on. Nothing is downloaded here.

No row is dropped: every entry of `gtboxes` becomes an annotation with the full-body box, `fbox`, and the
visible one as `vis_bbox`. Those with `extra.ignore` 1 get `iscrowd`; `tag` ("person", "mask") is not looked
at. Head boxes are left out. All as in the S-ViT official settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from svit.data.bad_rows import BadRows
from svit.data.prepare.crowdhuman_images import CrowdHumanImages, find_zips
from svit.data.prepare.odgt import OdgtRow, Person, count_lines, read_odgt
from svit.data.prepare.outputs import Prepared, Record, Sink, make_folder, open_sink
from svit.data.prepare.zips import unpack_pictures
from svit.errors import DataError
from svit.types import Progress, no_progress

SPLITS = ("train", "val")


def prepare_crowdhuman(
    root: str | Path,
    output: str | Path,
    extract: bool = False,
    dry_run: bool = False,
    bad_rows: BadRows | None = None,
    progress: Progress = no_progress,
) -> list[Prepared]:
    """Writes `crowdhuman_train.json` and `crowdhuman_val.json`, or the one whose annotations are there.

    Pictures are single images: there are no `videos`. Image and annotation ids count from 1 in each file.
    Sizes come from `id_hw_{train,val}.json` beside the annotations, or else from the pictures' headers, which
    are read out of the official archives where these are not unpacked.

    Args:
        root: the folder of annotation_train.odgt and annotation_val.odgt. The pictures are in train/Images
            and val/Images (or train, val, or Images), or in CrowdHuman_train01.zip ..., CrowdHuman_val.zip.
        output: the folder for the results; made where it is missing.
        extract: first unpack the archives to train/Images and val/Images; goes on where it was broken off.
        dry_run: read and check everything, write nothing.
        bad_rows: what to do with malformed lines and missing pictures; None raises.
        progress: told of every line and unpacked picture.

    Returns:
        What was written, or in a dry run would be.

    Raises:
        DataError: the folder is at the wrong level, or a file or line is malformed; names file and line.
        OutputError: an output cannot be written.
    """
    root, output, bad_rows = Path(root), Path(output), bad_rows or BadRows()
    files = _find_annotations(root)
    if not dry_run:
        make_folder(output)
    written = []
    for split, path in files.items():
        if extract:
            written += _extract(root, split, bad_rows, dry_run, progress)
        rows = progress(read_odgt(path, bad_rows), f"{split} pictures", count_lines(path))
        with CrowdHumanImages(root, split) as images:
            target = output / f"crowdhuman_{split}.json"
            with open_sink(target, ("images", "annotations"), dry_run) as sink:
                counts = _convert(rows, path, images, sink, bad_rows)
            written.append(Prepared(target, counts, images.folder))
    return written


def _find_annotations(root: Path) -> dict[str, Path]:
    """The odgt file of each split that has one."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the folder that holds annotation_train.odgt")
    files = {split: root / f"annotation_{split}.odgt" for split in SPLITS}
    found = {split: path for split, path in files.items() if path.is_file()}
    if found:
        return found
    below = next(iter(sorted(root.glob("*/annotation_*.odgt"))), None)
    above = next(root.resolve().parent.glob("annotation_*.odgt"), None)
    hint = "download them to this folder"
    if below:
        hint = f"{below} is there, so this is one level too high: give {below.parent}"
    elif above:
        hint = f"{above} is there, so this is one level too low: give {above.parent}"
    raise DataError(f"{root}: neither annotation_train.odgt nor annotation_val.odgt in it; {hint}")


def _extract(root: Path, split: str, bad_rows: BadRows, dry_run: bool, progress: Progress) -> list[Prepared]:
    folder = root / split / "Images"
    archives = find_zips(root, split)
    unpacked = [unpack_pictures(path, folder, bad_rows, dry_run, progress) for path in archives]
    return [Prepared(folder, {"pictures": sum(unpacked)})] if archives else []


def _convert(
    rows: Iterable[OdgtRow], path: Path, images: CrowdHumanImages, sink: Sink, bad_rows: BadRows
) -> dict[str, int]:
    """Hands all records to the sink; returns their numbers."""
    counts = dict.fromkeys(("images", "boxes", "ignored boxes"), 0)
    for row in rows:
        try:
            height, width = images.size(row.identity)
        except DataError as error:
            bad_rows.report(f"{path}, line {row.number}: {error}")
            continue
        counts["images"] += 1
        size = {"height": height, "width": width}
        sink.image({"id": counts["images"], "file_name": images.file_name(row.identity), **size})
        for person in row.people:
            counts["boxes"] += 1
            counts["ignored boxes"] += person.ignored
            sink.annotation(_annotation(counts["boxes"], counts["images"], person))
    return counts | ({"pictures still zipped": images.zipped} if images.zipped else {})


def _annotation(identity: int, image: int, person: Person) -> Record:
    return {
        "id": identity,
        "image_id": image,
        "category_id": 1,
        "bbox": person.full,
        "vis_bbox": person.visible,
        "area": person.full[2] * person.full[3],
        "iscrowd": person.ignored,
    }
