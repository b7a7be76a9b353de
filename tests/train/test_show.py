"""What a training says while it runs: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest

from svit.train.loop import Note, Scores
from svit.train.meter import Report
from svit.train.show import last_scores, line, open_screen, time_left

REPORT = Report(
    step=20, steps=100, epoch=0.2, losses={"cls": 0.5, "box": 2.0, "l1": 0.0, "total": 2.5}, positives=9.0,
    rate=1e-3, norm=4.0, samples_per_s=5.0, frames_per_s=10.0, data_share=0.1, memory_gib=0.0,
    seconds_left=3723.0, broken=0,
)  # fmt: skip


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_a_report_is_a_line_with_everything_one_watches():
    assert line(REPORT) == (
        "step 20/100  epoch 0.20  cls 0.500  box 2.000  total 2.500  rate 1.00e-03  norm 4.00  5.00 clips/s  "
        "data 10%  1:02:03 left"
    )


def test_a_gpus_memory_and_broken_clips_are_told_where_there_are_any():
    assert "data 10%  12.3 GiB  2 broken  1:02:03" in line(replace(REPORT, memory_gib=12.34, broken=2))


@pytest.mark.parametrize(
    ("seconds", "says"), [(0, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (360000, "100:00:00")]
)
def test_time_left_is_hours_minutes_and_seconds(seconds, says):
    assert time_left(seconds) == says


def test_what_is_no_terminal_gets_one_plain_line_per_event():
    stream = io.StringIO()
    events = [Note("going on from step 10"), REPORT, Note("left out", True), Scores(20, {"HOTA": 51.23})]
    with open_screen(stream, 100, 10) as screen:
        for event in events:
            screen.show(event)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "going on from step 10"
    assert lines[1] == line(REPORT)
    assert lines[2:] == ["svit: warning: left out", "step 20: HOTA 51.2"]
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_a_bar_with_losses_speed_and_time_left_and_notes_above(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with open_screen(stream, 100, 10) as screen:
        screen.show(REPORT)
        screen.show(Note("checkpoint: [run]/step-00000020"))
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "20/100 steps, epoch 0.20, 1:02:03 left" in text
    assert "cls 0.500  box 2.000  total 2.500  rate 1.00e-03" in text
    assert "checkpoint: [run]/step-00000020\n" in text, "brackets are no markup"


def test_the_last_scores_of_a_run_are_those_of_its_log(tmp_path):
    assert last_scores(tmp_path) is None
    records = [{"step": 5, "HOTA": 1.0}, {"step": 8, "losses": {}}, {"step": 9, "HOTA": 2.0, "MOTA": 3.0}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert last_scores(tmp_path) == {"HOTA": 2.0, "MOTA": 3.0}
