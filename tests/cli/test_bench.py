"""`svit bench`: its table, its JSON and its errors."""

import json
import math

import pytest

from svit.cli import main

CPU_ROWS = (
    "base_step_fp32",
    "base_step_bf16",
    "base_step_memory",
    "chunk",
    "cameras_1",
    "cameras_4",
    "cameras_16",
    "endless",
    "tracker_20",
    "tracker_100",
    "tracker_400",
    "train_clip",
    "tiny_end_to_end",
    "startup",
)


def finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def test_one_area_gives_a_table_and_json(tmp_path, capfd):
    target = tmp_path / "bench.json"
    words = ["bench", "tracker", "--quick", "--device", "cpu", "--threads", "1", "--json", str(target)]
    assert main(words) == 0
    document, printed = json.loads(target.read_text()), capfd.readouterr()
    assert [row["name"] for row in document["rows"]] == ["tracker_20", "tracker_100", "tracker_400"]
    for row in document["rows"]:
        assert row["seconds"] > 0
        assert row["peak_bytes"] > 2**20
        assert {"speedup", "floor_ratio", "what", "spread_seconds", "repeats"} <= row.keys()
        assert row["name"] in printed.out
    assert document["machine"]["threads"] == 1
    assert {"cpu", "cores", "torch", "avx512_bf16", "amx_bf16"} <= document["machine"].keys()
    assert "measuring: tracker, 20 objects" in printed.err


def test_nothing_is_measured_for_a_mistake(tmp_path, capfd):
    assert main(["bench", "speed"]) == 2
    assert main(["bench", "--device", "tpu"]) == 2
    assert main(["bench", "--json", str(tmp_path / "none" / "b.json")]) == 1
    said = capfd.readouterr()
    assert "unknown area 'speed'" in said.err
    assert "does not exist" in said.err
    assert "measuring" not in said.err


def test_a_run_without_a_row_is_an_error_and_leaves_no_file(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("svit.bench.run.measure", lambda *_: iter(()))
    assert main(["bench", "tracker", "--json", str(tmp_path / "b.json")]) == 2
    assert "nothing of this can be measured here" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_all_areas_give_all_rows_with_finite_numbers(tmp_path):
    target = tmp_path / "bench.json"
    assert main(["bench", "--quick", "--device", "cpu", "--threads", "1", "--json", str(target)]) == 0
    rows = {row["name"]: row for row in json.loads(target.read_text())["rows"]}
    # Two are there where the processor multiplies bf16.
    assert tuple(name for name in rows if name not in ("train_clip_fp32", "chunk_fp32")) == CPU_ROWS
    assert all(finite(value) for row in rows.values() for value in row.values())
    assert rows["base_step_fp32"]["speedup"] > 0
    assert rows["base_step_fp32"]["floor_ratio"] > 0
    assert rows["train_clip"]["speedup"] > 0
