"""A JSON file read in pieces says what it says as a whole, and a broken one says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from svit.data import json_records
from svit.data.json_records import read_records
from svit.errors import DataError

DOCUMENT = {
    "info": {"year": 2024, "text": 'a "quoted" ü 😀 \\ [ } text'},
    "number": -12.5e-3,
    "whole": 123456789012,
    "empty": [],
    "images": [{"id": k, "file_name": f"{k:06d}.jpg", "nested": [[k, [k]], {}]} for k in range(25)],
    "flags": [True, None, False, 1.5, 12345, -3e20, "text", []],
    "nothing": None,
    "last": 98765.4321,
}


def whole(path: Path) -> dict[str, Any]:
    """The document put together again."""
    parts: dict[str, Any] = {}
    for batch in read_records(path):
        if batch.first == 0:
            (parts[batch.section],) = batch.records
        else:
            assert batch.first == len(parts.setdefault(batch.section, [])) + 1
            parts[batch.section] += batch.records
    return parts


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_pieces_of_any_length_give_the_whole(
    tmp_path: Path, chunk: int, style: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(DOCUMENT, **style) + "\n", encoding="utf-8")
    monkeypatch.setattr(json_records, "CHUNK", chunk)
    monkeypatch.setattr(json_records, "BATCH", 4)
    assert whole(path) == DOCUMENT


def test_an_empty_object_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(" {} \n")
    assert list(read_records(path)) == []


@pytest.mark.parametrize("length", range(1, len(json.dumps(DOCUMENT)), 37))
def test_a_file_that_breaks_off_anywhere_says_so(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(DOCUMENT)[:length].rstrip("}"))
    with pytest.raises(DataError, match=r"a\.json: .*breaks off"):
        list(read_records(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "breaks off"),
        ("[1, 2]", "a JSON object"),
        ("{} {}", "goes on"),
        ('{"a": [1, 2}', "a record 2: a comma or ] is needed"),
        ('{"a": 1 "b": 2}', "a comma or }"),
        ('{"a" 1}', '"key": is needed'),
        ("{1: 2}", '"key": is needed'),
        ('{"images": [{"id": 1}, {"id" 2, "name": "' + "x" * 50 + '"}]}', "images record 2: Expecting ':'"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "a record 1: "),
    ],
)
def test_a_broken_file_names_section_and_record(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.json: ") as error:
        list(read_records(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_no_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json: not found"):
        list(read_records(tmp_path / "a.json"))
    (tmp_path / "b.json").write_bytes(b'{"a": "\xff\xfe"}')
    with pytest.raises(DataError, match=r"b\.json: is no UTF-8 text"):
        list(read_records(tmp_path / "b.json"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_records(tmp_path))
