"""Kinetics-400 as an index of labelled videos.

Kinetics-400: Kay et al., "The Kinetics Human Action Video Dataset", 2017 (arXiv 1705.06950). Annotations
CC BY 4.0; the clips are YouTube's. Nothing is downloaded here. Kinetics-600 and -700 have
the same layouts.

Classes are numbered alphabetically, as everywhere; another order needs its label map. Class folders may have
`_` for spaces (mmaction2). Clips are called `{id}_{start:06d}_{end:06d}` or by their id alone, and are whole:
a clip is not cut again by the times in the list.
"""

from __future__ import annotations

from pathlib import Path

from svit.data.actions.find import walk_videos
from svit.data.actions.labels import spaced
from svit.data.bad_rows import BadRows
from svit.data.prepare.action_index import (
    ActionOptions,
    DataSet,
    PreparedActions,
    prepare_actions,
    source_folder,
)
from svit.data.prepare.action_rows import find_lists, folder_rows, read_lists
from svit.types import Progress, no_progress

CLASSES = 400


def prepare_kinetics400(
    source: str | Path,
    output: str | Path,
    options: ActionOptions | None = None,
    bad_rows: BadRows | None = None,
    progress: Progress = no_progress,
) -> PreparedActions:
    """Writes the index of Kinetics-400.

    Args:
        source: the data set's folder. Lists (official CSV or JSON, `path label`, `path,label`), named after
            their split, are looked for in it, in `annotations` and in `labels`; without any, the videos are
            in SPLIT/CLASS folders (torchvision).
        output: the index, .json.
        options: see `ActionOptions`; None is its defaults. Mirroring is allowed by default.
        bad_rows: what to do with malformed rows; None raises.
        progress: told of every video.

    Raises:
        DataError: a list or label map is malformed, or no video is there.
        OutputError: the index cannot be written.
    """
    options, bad_rows = options or ActionOptions(), bad_rows or BadRows()
    root, videos = source_folder(Path(source), options)
    paths = walk_videos(videos)
    lists = options.lists or find_lists(root, lambda path: "label" in path.stem.lower())
    rows = read_lists(lists, bad_rows) if lists else folder_rows(videos, paths)
    data = DataSet("kinetics400", videos, rows, spaced, "any", unique=True, classes=CLASSES)
    return prepare_actions(data, Path(output), options, bad_rows, progress, paths)
