"""Work in a process of its own, and turns."""

import multiprocessing
import os
import signal
import time

import pytest

from svit.bench.alone import GIB, alone, in_turn, percentile, require_memory
from svit.bench.rows import CannotMeasureError, Row, timed_row
from svit.bench.turns import Times, Turns

HELD = 200 * 2**20


def hold(size: int) -> int:
    return len(bytearray(b"x") * size)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> Times:
    raise CannotMeasureError("no room")


def two_seconds() -> Times:
    return Times([2.0], {"half": [1.0]}, 10)


def test_a_process_of_its_own_tells_its_result_and_its_own_peak():
    large, small = alone(hold, HELD), alone(hold, 1)
    assert large.result == HELD
    assert large.peak_bytes > HELD
    assert small.peak_bytes < large.peak_bytes - HELD / 2


def test_a_killed_process_is_an_error_of_one_line():
    with pytest.raises(CannotMeasureError, match="killed"):
        alone(die)


def test_too_little_memory_is_said_before_it_is_used():
    with pytest.raises(CannotMeasureError, match="GiB"):
        require_memory(10**6 * GIB)


def test_works_take_turns_and_the_first_round_does_not_count():
    order = []
    works = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    seconds = in_turn(works, repeats=2, warm_up=1)
    assert order == ["a", "b"] * 3
    assert [len(each) for each in seconds.values()] == [2, 2]


def test_a_percentile_lies_between_its_neighbours():
    assert percentile([float(i) for i in range(101)], 0.99) == pytest.approx(99)


def test_turns_add_up_and_a_variant_that_failed_is_named_and_left():
    said = []
    turns = Turns(said.append)
    for _ in range(2):
        turns.take("ours", two_seconds)
        turns.take("reference", refuse)
    row = turns.row("name", "what", "ours", "reference")
    assert said == ["ours", "reference", "ours"]
    assert (row.seconds, row.repeats, row.speedup) == (2.0, 2, None)
    assert row.note == "reference: no room"
    assert row.details == {"part_seconds": {"half": 1.0}}


def test_a_row_tells_speedup_and_floor_ratio():
    row = timed_row("name", "what", [2.0, 1.0, 3.0])
    full = Row("name", "what", 2.0, reference_seconds=6.0, floor_seconds=1.0, details={"steps": 4.0})
    assert (row.seconds, row.spread, row.repeats) == (2.0, (1.0, 3.0), 3)
    assert (row.speedup, row.floor_ratio) == (None, None)
    record = full.as_json()
    assert (record["speedup"], record["floor_ratio"], record["steps"]) == (3.0, 2.0, 4.0)


def test_an_interrupted_measurement_leaves_no_process_behind(monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("multiprocessing.connection.Connection.recv", interrupt)
    with pytest.raises(KeyboardInterrupt):
        alone(time.sleep, 60)
    assert multiprocessing.active_children() == []
