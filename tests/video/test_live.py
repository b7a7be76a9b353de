"""Network sources: never behind, patient with bad connections, and no password in any message."""

from __future__ import annotations

import itertools
import logging
import socket
import time

import numpy as np
import pytest
from tests.video.clips import Coding, noise, write_clip
from tests.video.servers import camera, http_server

from svit.errors import SourceError
from svit.video import open_source, sources
from svit.video.decode import Clock
from svit.video.reconnect import Reconnect
from svit.video.sources import open_network

QUICK = Reconnect(tries=3, first_delay=0.02, max_delay=0.05)


@pytest.fixture
def clip(tmp_path) -> bytes:
    """A video of 60 frames with its index in front, so that it can be read as it arrives."""
    coding = Coding(container={"movflags": "+faststart"})
    return write_clip(tmp_path / "clip.mp4", noise(60), coding).read_bytes()


def test_a_recording_over_http_comes_whole(clip):
    with http_server(lambda request, send: send(clip), len(clip)) as url, open_source(url) as source:
        assert not source.live
        assert source.frames == 60
        assert [frame.index for frame in source] == list(range(60))


def test_a_recording_goes_on_after_a_cut_connection_without_doubles_or_gaps(clip, caplog):
    def cut_twice(request: int, send) -> None:
        send(clip if request >= 2 else clip[: len(clip) * (request + 1) // 3])

    with (
        caplog.at_level(logging.WARNING, "svit"),
        http_server(cut_twice, len(clip)) as url,
        open_network(url, reconnect=QUICK) as source,
    ):
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(60))
    assert [frame.timestamp for frame in frames] == pytest.approx([number / 10 for number in range(60)])
    assert sum("connecting again" in record.message for record in caplog.records) == 2


def test_a_recording_that_stays_cut_gives_what_came_then_an_error(clip):
    def always_cut(request: int, send) -> None:
        send(clip[: len(clip) // 2])

    seen = []
    with http_server(always_cut, len(clip)) as url, open_network(url, reconnect=QUICK) as source:
        with pytest.raises(SourceError, match="3 tries to connect again failed") as caught:
            seen.extend(frame.index for frame in source)
        assert "\n" not in str(caught.value)
    assert seen == list(range(len(seen)))
    assert len(seen) >= 25


def test_a_slow_consumer_of_a_camera_gets_the_newest_frames_only():
    with camera(rate=50) as url, open_source(url) as source:
        assert source.live
        assert source.frames is None
        assert (source.width, source.height) == (96, 64)
        first = next(source)
        started = time.monotonic()
        frames = []
        for frame in itertools.islice(source, 5):
            frames.append(frame)
            time.sleep(0.2)
        elapsed = time.monotonic() - started
    indices = [frame.index for frame in frames]
    assert indices[-1] - indices[0] >= 20, "about 10 frames pass during each pause"
    behind = elapsed - 0.2 - (frames[-1].timestamp - first.timestamp)
    assert behind < 0.5, "the last frame was new when it was handed out"
    assert (np.diff([frame.timestamp for frame in frames]) > 0).all()


def test_every_frame_of_a_camera_comes_if_asked_for():
    with camera(rate=50) as url, open_source(url, every_frame=True) as source:
        frames = []
        for frame in itertools.islice(source, 40):
            frames.append(frame)
            time.sleep(0.03)
    assert [frame.index for frame in frames] == list(range(frames[0].index, frames[0].index + 40))


def test_a_camera_that_drops_the_connection_is_followed_again(caplog):
    with (
        caplog.at_level(logging.WARNING, "svit"),
        camera(rate=50, drop_after=10) as url,
        open_network(url, every_frame=True, reconnect=QUICK) as source,
    ):
        frames = list(itertools.islice(source, 25))
    assert [frame.index for frame in frames] == list(range(25))
    assert (np.diff([frame.timestamp for frame in frames]) > 0).all()
    assert "connecting again" in caplog.text
    assert "secret" not in caplog.text


def test_a_camera_that_stays_away_ends_with_one_clear_line():
    with (
        camera(rate=50, drop_after=10, connections=1) as url,
        open_network(url, every_frame=True, reconnect=QUICK) as source,
    ):
        seen = []
        with pytest.raises(SourceError, match="3 tries to connect again failed") as caught:
            seen.extend(frame.index for frame in source)
    assert seen == list(range(10))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_closing_a_camera_is_quick():
    with camera() as url:
        source = open_source(url)
        next(source)
        started = time.monotonic()
        source.close()
        assert time.monotonic() - started < 2
        assert list(source) == []


def test_nobody_there_is_said_without_the_password():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for scheme in ("rtsp", "http"):
        with pytest.raises(SourceError, match="refused") as caught:
            open_source(f"{scheme}://viewer:secret@127.0.0.1:{port}/live")
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_server_that_says_nothing_is_not_waited_for_endlessly(monkeypatch):
    monkeypatch.setattr(sources, "NETWORK_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(SourceError, match="time limit"):
            open_source(f"http://127.0.0.1:{silent.getsockname()[1]}/video")
    assert time.monotonic() - started < 3


def test_an_unknown_kind_of_address_is_refused():
    with pytest.raises(SourceError, match="Protocol not found"):
        open_source("nonsense://camera")


@pytest.mark.parametrize("number", [97, "97"])
def test_a_camera_that_is_not_there_is_said(number):
    with pytest.raises(SourceError, match="camera 97") as caught:
        open_source(number)
    assert "\n" not in str(caught.value)


def test_delays_grow_up_to_their_limit():
    patience = Reconnect(tries=6, first_delay=0.5, max_delay=8.0)
    assert [patience.delay(attempt) for attempt in range(6)] == [0.5, 1, 2, 4, 8, 8]


def test_the_clock_starts_at_zero_and_never_runs_back():
    clock = Clock(rate=10)
    assert [clock.read(time) for time in (7.0, 7.1, 7.05, 7.2)] == pytest.approx([0, 0.1, 0.101, 0.2])
    assert clock.read(None) == pytest.approx(0.3)
    assert clock.read(0.0) == pytest.approx(0.4), "a new time line goes on where the old one ended"
    clock.restart(elapsed=9.0)
    assert clock.read(100.0) == pytest.approx(9.0)
