"""Files in MOTChallenge's form: `seqinfo.ini`, and rows of ground truth, results and detections."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from svit.data.bad_rows import BadRows
from svit.errors import DataError

Rows = npt.NDArray[np.float64]
"""(N, C): frame (from 1), id, x, y, w, h in pixels, then confidence, class, visibility if there are some."""

MIN_COLUMNS = 6


@dataclass(frozen=True)
class SequenceInfo:
    """What `seqinfo.ini` says of a sequence.

    Attributes:
        folder: of the sequence.
        name: the folder's name; what results are called.
        length: frames.
        rate: frames per second.
        width, height: of a frame, pixels.
        images: folder of the pictures, 000001.jpg ...; None where the sequence is a video.
        extension: of the pictures, with the dot.
        video: the video file that stands for the pictures (`videoFile`, an addition of ours), or None.
    """

    folder: Path
    name: str
    length: int
    rate: float
    width: int
    height: int
    images: Path | None
    extension: str
    video: Path | None

    def image(self, frame: int) -> str:
        """The name of frame `frame` (from 1) beside the sequences: SEQ/img1/000001.jpg."""
        folder = self.images.name if self.images else "img1"
        return f"{self.folder.name}/{folder}/{frame:06d}{self.extension}"


def read_sequence_info(folder: Path) -> SequenceInfo:
    """Reads FOLDER/seqinfo.ini.

    Raises:
        DataError: it is missing or malformed; the message names the file and the key.
    """
    path = folder / "seqinfo.ini"
    if not path.exists():
        raise DataError(f"{path}: not found; a sequence has a seqinfo.ini beside its img1")
    section = _section(path)
    length = int(_positive(path, section, "seqLength", int))
    width, height = (int(_positive(path, section, key, int)) for key in ("imWidth", "imHeight"))
    rate = float(_positive(path, section, "frameRate", float))
    video = section.get("videoFile")
    images = None if video else folder / section.get("imDir", "img1")
    extension = section.get("imExt", ".jpg")
    return SequenceInfo(
        folder, folder.name, length, rate, width, height, images, extension, folder / video if video else None
    )


def read_sequence_length(folder: Path) -> int | None:
    """The number of frames that FOLDER/seqinfo.ini gives, or None where there is no such file.

    Raises:
        DataError: the file is there but has no seqLength above 0.
    """
    path = folder / "seqinfo.ini"
    return int(_positive(path, _section(path), "seqLength", int)) if path.exists() else None


def _section(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
        return parser["Sequence"]
    except KeyError as error:
        raise DataError(f"{path}: {error} is missing") from None
    except (configparser.Error, ValueError, OSError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from None


def _positive(
    path: Path, section: configparser.SectionProxy, key: str, kind: type[int] | type[float]
) -> float:
    try:
        value = kind(section[key])
    except KeyError:
        raise DataError(f"{path}: '{key}' is missing") from None
    except (configparser.Error, ValueError) as error:
        raise DataError(f"{path}: {key}: {str(error).splitlines()[0]}") from None
    if not value > 0 or value == float("inf"):
        raise DataError(f"{path}: {key} is {value}; it must be above 0")
    return value


def read_rows(path: Path, bad_rows: BadRows | None = None, min_columns: int = MIN_COLUMNS) -> Rows:
    """Reads comma-separated rows; blank lines are passed over, short rows are filled with -1.

    Args:
        path: gt.txt, det.txt or a result file; ids as integers or floats ("3.0").
        bad_rows: what to do with a malformed row; None raises.
        min_columns: fewer are an error.

    Returns:
        (N, C) in the file's order; C is that of its longest row. An empty file gives (0, min_columns).

    Raises:
        DataError: missing file, or a malformed row: a word or NaN for a number, too few columns, a frame
            below 1.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: not found") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
    lines = text.splitlines()
    rows = _read_flawless(lines, min_columns)
    return rows if rows is not None else _read_carefully(path, lines, bad_rows or BadRows(), min_columns)


def line_of_row(path: Path, row: int) -> int:
    """The line (from 1) of row `row` (from 0) of a file without malformed rows: blank lines are no rows."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [number for number, line in enumerate(lines, start=1) if line.strip()][row]


def _read_flawless(lines: list[str], min_columns: int) -> Rows | None:
    """The rows of a file in which nothing is wrong and all rows are equally long; else None."""
    # numpy's parser is ten times as fast, but does not say which line it could not read, nor fill short rows.
    if not any(line.strip() for line in lines):
        return np.zeros((0, min_columns))
    try:
        rows: Rows = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        return None
    frames = rows[:, 0]
    if rows.shape[1] < min_columns or not np.isfinite(rows).all() or (frames < 1).any():
        return None
    return rows if (frames == np.floor(frames)).all() else None


def _read_carefully(path: Path, lines: list[str], bad_rows: BadRows, min_columns: int) -> Rows:
    rows = list(_parse(path, lines, bad_rows, min_columns))
    width = max((len(row) for row in rows), default=min_columns)
    return np.array([row + [-1.0] * (width - len(row)) for row in rows]).reshape(-1, width)


def _parse(path: Path, lines: list[str], bad_rows: BadRows, min_columns: int) -> Iterator[list[float]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = [float(word) for word in line.rstrip(", \r").split(",")]
            problem = _problem(row, min_columns)
        except ValueError as error:
            problem = str(error)
        if problem:
            bad_rows.report(f"{path}, line {number}: {problem}")
        else:
            yield row


def _problem(row: list[float], min_columns: int) -> str | None:
    if len(row) < min_columns:
        return f"{len(row)} columns, at least {min_columns} are needed (frame,id,x,y,w,h)"
    if not np.isfinite(row).all():
        return "a number is NaN or infinite"
    if row[0] < 1 or row[0] != int(row[0]):
        return f"frame {row[0]:g}; frames are whole numbers from 1"
    return None
