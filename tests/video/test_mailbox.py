"""Reading ahead and writing behind: same items, same order, errors in their place, nothing left running."""

from __future__ import annotations

import itertools
import threading

import pytest
from tests.video.clips import detections, flat, result

from svit.errors import OutputError, SourceError
from svit.video import BackgroundWriter, Writer
from svit.video.mailbox import ReadAhead


def breaking(count):
    yield from range(count)
    raise SourceError("breaks off")


def threads():
    return {thread.name for thread in threading.enumerate()}


def test_the_same_items_in_the_same_order_and_nothing_left_running():
    with ReadAhead(range(100), 3) as items:
        assert list(items) == list(range(100))
    assert "svit-ahead" not in threads()


def test_an_error_comes_after_the_items_before_it():
    seen = []
    with ReadAhead(breaking(5), 10) as items, pytest.raises(SourceError, match="breaks off"):
        seen.extend(items)
    assert seen == list(range(5))


def test_an_endless_source_waits_and_can_be_left():
    taken = itertools.count()
    with ReadAhead(taken, 3) as items:
        assert next(items) == 0
    assert next(taken) <= 6, "one taken, three waiting, one in hand"
    assert "svit-ahead" not in threads()


class Memory(Writer):
    """Keeps the numbers of what it is given, and what becomes of it; the third one may fail."""

    def __init__(self, fails=False):
        self.frames, self.end, self._fails, self.gate = [], None, fails, threading.Event()

    def _append(self, result):
        self.gate.wait(10)
        if self._fails and result.frame_index == 2:
            raise OutputError("the disk is full")
        self.frames.append(result.frame_index)

    def close(self):
        self.end = self.end or "closed"

    def discard(self):
        self.end = self.end or "discarded"


def results(count):
    image = flat(80)
    return [result(number, image, detections([(5, 5, 40, 40)])) for number in range(count)]


def write_all(memory, count):
    with BackgroundWriter(memory) as writer:
        for each in results(count):
            writer.write(each)


def test_everything_handed_over_is_written_in_order_whatever_ends_the_run():
    for end in (None, KeyboardInterrupt(), SourceError("breaks off")):
        memory, told = Memory(), []
        try:
            with BackgroundWriter(memory, lambda each, told=told: told.append(each.frame_index)) as writer:
                for each in results(4):
                    writer.write(each)
                memory.gate.set()
                if end is not None:
                    raise end
        except (KeyboardInterrupt, SourceError):
            assert end is not None
        assert memory.frames == told == [0, 1, 2, 3]
        assert memory.end == "closed"
        assert "svit-writer" not in threads()


def test_an_error_of_the_writer_reaches_the_caller_and_what_was_written_is_kept():
    memory = Memory(fails=True)
    memory.gate.set()
    with pytest.raises(OutputError, match="disk is full"):
        write_all(memory, 50)
    assert (memory.frames, memory.end) == ([0, 1], "closed")


def test_nothing_written_and_an_error_leaves_no_file():
    memory = Memory()
    with pytest.raises(SourceError), BackgroundWriter(memory):
        raise SourceError("breaks off")
    assert memory.end == "discarded"
