"""Something-Something v2 as an index of labelled videos.

Something-Something: Goyal et al., "The 'Something Something' Video Database for Learning and Evaluating
Visual Common Sense", 2017 (arXiv 1706.04261). For research only, under its own licence. Nothing is
downloaded here.

Classes are numbered as labels.json says, or else alphabetically, which is the same. Their names are the
templates without brackets. Videos are not mirrored unless asked for: in six classes left and right matter.
"""

from __future__ import annotations

from pathlib import Path

from svit.data.actions.labels import without_brackets
from svit.data.bad_rows import BadRows
from svit.data.prepare.action_index import (
    ActionOptions,
    DataSet,
    PreparedActions,
    prepare_actions,
    source_folder,
)
from svit.data.prepare.action_rows import LIST_FOLDERS, find_lists, read_lists
from svit.errors import DataError
from svit.types import Progress, no_progress

CLASSES = 174


def prepare_ssv2(
    source: str | Path,
    output: str | Path,
    options: ActionOptions | None = None,
    bad_rows: BadRows | None = None,
    progress: Progress = no_progress,
) -> PreparedActions:
    """Writes the index of Something-Something v2.

    Args:
        source: the data set's folder, with the official JSON files in it or in `labels` (train.json or
            something-something-v2-train.json, and so on) or `path label` lists, and the videos (.webm) or
            folders of their frames anywhere below. The official test set has no labels and is left out,
            unless test-answers.csv is there.
        output: the index, .json.
        options: see `ActionOptions`; None is its defaults. Mirroring is forbidden by default; "swap" pairs
            the classes whose names differ in left and right alone, unless `pairs` says otherwise.
        bad_rows: what to do with malformed rows; None raises.
        progress: told of every video.

    Raises:
        DataError: a list or label map is malformed, or no video is there.
        OutputError: the index cannot be written.
    """
    options, bad_rows = options or ActionOptions(), bad_rows or BadRows()
    root, videos = source_folder(Path(source), options)
    lists = options.lists or find_lists(root, _is_no_list)
    if not lists:
        raise DataError(
            f"{root}: no lists; expected train.json or something-something-v2-train.json here or in labels"
        )
    data = DataSet(
        name="ssv2",
        root=videos,
        rows=read_lists(lists, bad_rows),
        canonical=without_brackets,
        flip="never",
        unique=True,
        classes=CLASSES,
        labels=_label_map(root),
    )
    return prepare_actions(data, Path(output), options, bad_rows, progress)


def _is_no_list(path: Path) -> bool:
    """The label map, and the official test set, which has no labels."""
    return path.stem.endswith("labels") or (path.suffix == ".json" and path.stem.endswith("test"))


def _label_map(root: Path) -> Path | None:
    files = (path for folder in LIST_FOLDERS for path in sorted((root / folder).glob("*labels.json")))
    return next(files, None)
