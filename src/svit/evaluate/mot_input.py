"""Finds the ground truth and the results of each sequence: folders, files, rows in memory, or mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from svit.data.mot_files import Rows, read_rows, read_sequence_length
from svit.errors import DataError
from svit.evaluate.mot_rows import Table

One = str | Path | Rows
"""One sequence's rows: a file, a sequence's folder (ground truth only), or an array."""
Source = One | Mapping[str, One]

_SEQUENCE_PARTS = ("img1", "det", "seqinfo.ini")
_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """One sequence's ground truth and results.

    Attributes:
        name: the sequence's.
        truth: its file, or rows.
        results: its file, or rows.
    """

    name: str
    truth: Path | Rows
    results: Path | Rows

    def read_truth(self) -> Table:
        """The ground truth's rows.

        Raises:
            DataError: see `read_rows`.
        """
        return _table(self.truth, f"ground truth of {self.name}")

    def read_results(self) -> Table:
        """The results' rows.

        Raises:
            DataError: see `read_rows`.
        """
        return _table(self.results, f"results of {self.name}")

    def length(self) -> int | None:
        """The sequence's frames as its seqinfo.ini has them; None where there is no such file.

        Raises:
            DataError: seqinfo.ini is malformed.
        """
        if not isinstance(self.truth, Path) or self.truth.parent.name != "gt":
            return None
        return read_sequence_length(self.truth.parent.parent)


def pair_up(
    ground_truth: Source, results: Source, gt_file: str, sequences: Sequence[str] | None = None
) -> list[Pair]:
    """Finds what belongs together; reads nothing.

    Args:
        ground_truth: see `svit.evaluate.mot.score_files`, as for the others.
        results: of the tracker.
        gt_file: name of the ground truth.
        sequences: only these.

    Raises:
        DataError: a folder or file that is not there, a folder of another level, a sequence that only one
            side has.
    """
    truth, found = _find_truth(ground_truth, gt_file), _find_results(results)
    if isinstance(truth, _Single):
        if isinstance(found, _Single):
            return [Pair(truth.name or found.name or "sequence", truth.one, found.one)]
        truth_of, chosen = _only_sequence(truth, found)
        return [Pair(truth_of, truth.one, chosen)]
    if isinstance(found, _Single):
        found = {found.name or "sequence": found.one}
    wanted = list(truth) if sequences is None else list(sequences)
    _check_names(truth, found, wanted, sequences is None)
    return [Pair(name, truth[name], found[name]) for name in wanted]


@dataclass(frozen=True)
class _Single:
    """One sequence whose name may be unknown."""

    one: Path | Rows
    name: str | None = None


def _table(one: Path | Rows, name: str) -> Table:
    if isinstance(one, Path):
        return Table(read_rows(one), str(one), one)
    return Table(np.asarray(one, np.float64), name)


def _only_sequence(truth: _Single, found: Mapping[str, Path | Rows]) -> tuple[str, Path | Rows]:
    """The results of a single sequence among those of several."""
    if truth.name is not None and truth.name in found:
        return truth.name, found[truth.name]
    if truth.name is None and len(found) == 1:
        return next(iter(found.items()))
    raise DataError(
        f"no results for {truth.name or 'the ground truth file'} (results: {_listed(found)}); name the file"
    )


def _check_names(
    truth: Mapping[str, Path | Rows], found: Mapping[str, Path | Rows], wanted: list[str], complete: bool
) -> None:
    if not wanted:
        raise DataError("there are no sequences to score")
    unknown = [name for name in wanted if name not in truth]
    if unknown:
        raise DataError(f"no ground truth for {_listed(unknown)}; there is some for {_listed(truth)}")
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(
            f"no results for {_listed(missing)} (results: {_listed(found)}); where nothing was found, "
            "give an empty file, or choose the sequences to score"
        )
    extra = [name for name in found if name not in truth] if complete else []
    if extra:
        raise DataError(f"results for {_listed(extra)}, but the ground truth has {_listed(truth)}")


def _listed(names: Mapping[str, object] | Sequence[str]) -> str:
    each = list(names)
    more = f" and {len(each) - _SHOWN} more" if len(each) > _SHOWN else ""
    return ", ".join(each[:_SHOWN]) + more if each else "none"


def _find_truth(source: Source, gt_file: str) -> _Single | dict[str, Path | Rows]:
    if isinstance(source, Mapping):
        return {name: _one_truth(one, gt_file).one for name, one in source.items()}
    if isinstance(source, np.ndarray) or not _is_root(Path(source)):
        return _one_truth(source, gt_file)
    root = Path(source)
    sequences = [folder for folder in sorted(root.iterdir()) if _is_sequence(folder)]
    if not sequences:
        raise DataError(_wrong_level(root))
    return {folder.name: _gt_path(folder, gt_file) for folder in sequences}


def _one_truth(one: One, gt_file: str) -> _Single:
    if isinstance(one, np.ndarray):
        return _Single(one)
    path = Path(one)
    if _is_sequence(path):
        return _Single(_gt_path(path, gt_file), path.resolve().name)
    if path.is_dir():
        raise DataError(f"{path}: not a sequence; a folder with gt/{gt_file} is expected")
    if not path.exists():
        raise DataError(f"{path}: not found")
    in_sequence = path.resolve().parent.name == "gt"
    return _Single(
        path.resolve() if in_sequence else path, path.resolve().parent.parent.name if in_sequence else None
    )


def _is_root(path: Path) -> bool:
    return path.is_dir() and not _is_sequence(path)


def _is_sequence(folder: Path) -> bool:
    if any((folder / part).exists() for part in _SEQUENCE_PARTS):
        return True
    gt = folder / "gt"  # a sequence's holds files; a folder of sequences may be called so too
    return gt.is_dir() and not any(each.is_dir() for each in gt.iterdir())


def _gt_path(sequence: Path, gt_file: str) -> Path:
    path = sequence / "gt" / gt_file
    if path.is_file():
        return path
    there = sorted(each.name for each in (sequence / "gt").glob("*.txt"))
    half = "; `svit prepare mot --split-train` writes gt_half-*.txt" if gt_file.startswith("gt_half") else ""
    raise DataError(f"{path}: not found (there: {_listed(there)}){half}")


def _wrong_level(root: Path) -> str:
    expected = f"{root}: no sequences here; expected is the folder that holds them (SEQ/gt/gt.txt)"
    absolute = root.resolve()
    for above in (absolute.parent, absolute.parent.parent):
        if _is_sequence(above) and above != absolute:
            return f"{expected}, one level higher: {above.parent}, or the sequence {above}"
    below = [
        folder
        for folder in sorted(root.iterdir())
        if folder.is_dir() and any(_is_sequence(each) for each in folder.iterdir())
    ]
    return f"{expected}, one level lower: {_listed([str(each) for each in below])}" if below else expected


def _find_results(source: Source) -> _Single | dict[str, Path | Rows]:
    if isinstance(source, Mapping):
        return {
            name: one if isinstance(one, np.ndarray) else _file(Path(one)) for name, one in source.items()
        }
    if isinstance(source, np.ndarray):
        return _Single(source)
    path = Path(source)
    if not path.is_dir():
        return _Single(_file(path), path.stem)
    for folder in (path / "data", path):
        files = sorted(folder.glob("*.txt"))
        if files:
            return {file.stem: file for file in files}
    below = [
        str(each)
        for each in sorted(path.iterdir())
        if each.is_dir() and (any(each.glob("*.txt")) or any(each.glob("data/*.txt")))
    ]
    hint = f", one level lower: {_listed(below)}" if below else ""
    raise DataError(f"{path}: no results here; expected is a folder with SEQ.txt or data/SEQ.txt{hint}")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: not found")
    return path
