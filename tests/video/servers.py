"""Servers on 127.0.0.1 that behave like video hosts and cameras, good and bad."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np

Body = Callable[[int, Callable[[bytes], object]], None]
"""Sends one answer: gets the number of the request (from 0) and a function that sends bytes."""

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n" \
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"  # fmt: skip


@contextmanager
def http_server(send: Body, length: int | None = None) -> Iterator[str]:
    """Answers every request by `send`; with `length` it promises that many bytes."""
    requests = iter(range(1_000_000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            with suppress(OSError):
                send(next(requests), self.wfile.write)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def coded_pictures(count: int, rate: int) -> list[bytes]:
    """Grey pictures as H.264, one entry each, without delay and with a key picture every 5."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 96, 64, "yuv420p"
    context.framerate, context.time_base, context.gop_size = Fraction(rate), Fraction(1, rate), 5
    context.options = {
        "tune": "zerolatency",
        "preset": "ultrafast",
        "x264-params": "repeat-headers=1:sliced-threads=0:slices=1",
    }
    pictures = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 20 + number % 50 * 4, np.uint8), "rgb24")
        frame.pts = number
        pictures.extend(bytes(packet) for packet in context.encode(frame))
    return pictures


@contextmanager
def camera(rate: int = 50, drop_after: int | None = None, connections: int = 1_000) -> Iterator[str]:
    """A minimal RTSP server (RFC 2326, RTP inside the TCP connection) that films at `rate` without end.

    It drops each connection after `drop_after` pictures and answers `connections` of them.
    """
    pictures = coded_pictures(100, rate)
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)

    def serve() -> None:
        served = 0
        while not stop.is_set() and served < connections:
            with suppress(OSError):
                client, _ = server.accept()
                served += 1
                with client, suppress(OSError):
                    _answer(client)
                    _film(client, pictures, rate, drop_after, stop)
        server.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"rtsp://viewer:secret@127.0.0.1:{server.getsockname()[1]}/live"
    finally:
        stop.set()
        thread.join()


def _answer(client: socket.socket) -> None:
    """Talks RTSP until the client wants to play."""
    client.settimeout(5)
    with client.makefile("r", encoding="ascii", newline="\r\n") as requests:
        method, number = "", "0"
        for line in requests:
            if found := re.match(r"(\w+) \S+ RTSP/1.0", line):
                method = found[1]
            elif found := re.match(r"CSeq: (\d+)", line):
                number = found[1]
            elif line == "\r\n":
                client.sendall(_reply(method, number).encode())
                if method == "PLAY":
                    return


def _reply(method: str, number: str) -> str:
    head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n"
    return head + {
        "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n",
        "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}",
        "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
    }.get(method, "Session: 1\r\n\r\n")


def _film(
    client: socket.socket, pictures: list[bytes], rate: int, drop_after: int | None, stop: threading.Event
) -> None:
    sequence = number = 0
    while not stop.wait(1 / rate) and (drop_after is None or number < drop_after):
        parts = [part for part in re.split(rb"\x00\x00\x00?\x01", pictures[number % len(pictures)]) if part]
        for place, part in enumerate(parts):
            marker = 128 if place == len(parts) - 1 else 0
            packet = (
                struct.pack(">BBHII", 128, marker | 96, sequence % 65536, number * 90_000 // rate, 1) + part
            )
            client.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)
            sequence += 1
        number += 1
