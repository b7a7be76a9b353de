"""`open_source`: one call for a video file, a folder of images, a camera or a network stream."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import av
from av.device import enumerate_input_devices

from svit.errors import SourceError
from svit.types import Frame
from svit.video.base import Source
from svit.video.decode import Decoder, OpenError, Opening
from svit.video.files import Recording, open_file
from svit.video.images import IMAGE_SUFFIXES, ImageFile, ImageFolder
from svit.video.live import LiveSource
from svit.video.mailbox import ReadAhead
from svit.video.reconnect import Reconnect

FRAMES_AHEAD = 4
"""Decoded frames that wait for the model at most."""

NETWORK_TIMEOUT = 10.0
"""Seconds without an answer or data after which a connection counts as lost."""


def open_source(source: str | int | Path, *, every_frame: bool = False) -> Source:
    """Opens a source of frames.

    Args:
        source: path of a video file, of a folder of images or of an image; a camera's number (0 or "0");
            or an address (rtsp://, http:// and whatever else FFmpeg speaks).
        every_frame: of a live source, keep every frame instead of the newest only. The consumer then falls
            behind where it is slower than the source.

    Returns:
        A context manager and iterator of `Frame`. http addresses of a known length are recordings: every
        frame comes. Lost connections are made again, with growing pauses.

    Raises:
        SourceError: it cannot be opened or holds no video.
    """
    text = str(source)
    if isinstance(source, int) or text.isdecimal():
        return _open_camera(int(text), every_frame)
    if isinstance(source, str) and source.lower().startswith("file://"):
        return _open_path(Path(url2pathname(urlsplit(source).path)))
    if isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
        return open_network(source, every_frame=every_frame)
    return _open_path(Path(source))


@contextmanager
def read_ahead(source: Source) -> Iterator[Iterator[Frame]]:
    """The frames of a source, decoded by another thread a few ahead of their use if `Source.ahead` allows.

    Afterwards the source is further on than the frames that were taken.
    """
    if not source.ahead:
        yield source
        return
    with ReadAhead(source, FRAMES_AHEAD) as frames:
        yield frames


def _open_path(path: Path) -> Source:
    if path.is_dir():
        return ImageFolder(path)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return ImageFile(path)
    return open_file(path)


def open_network(url: str, *, every_frame: bool = False, reconnect: Reconnect | None = None) -> Source:
    """Opens an address; see `open_source`.

    Args:
        url: for example rtsp://user:password@camera/stream.
        every_frame: of a live stream, keep every frame.
        reconnect: how to try again after a lost connection; the default of `Reconnect` if None.
    """
    name = without_password(url)
    scheme = urlsplit(url).scheme.lower()
    connect = partial(Decoder, url, name, _network_opening(scheme))
    try:
        decoder = connect()
    except OpenError as error:
        raise SourceError(f"{error}; check the address, the network and the camera") from error
    reconnect = reconnect or Reconnect()
    # RTSP servers send recordings at the pace of a camera too: there a known length means nothing.
    if scheme in ("http", "https") and decoder.finite:
        return Recording(connect, name, decoder, reconnect=reconnect)
    return LiveSource(connect, name, decoder, every_frame=every_frame, reconnect=reconnect)


def without_password(url: str) -> str:
    """The address without user name and password, for messages and logs."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _network_opening(scheme: str) -> Opening:
    options: dict[str, str] = {}
    if scheme in ("rtsp", "rtsps"):
        # Over UDP, lost packets smear the picture; most cameras' default is nevertheless UDP.
        options = {"rtsp_transport": "tcp"}
    return Opening(options=options, timeout=NETWORK_TIMEOUT, live=scheme not in ("http", "https"))


def _open_camera(number: int, every_frame: bool) -> Source:
    name = f"camera {number}"
    connect = _camera_connection(number, name)
    try:
        return LiveSource(connect, name, every_frame=every_frame)
    except OpenError as error:
        raise SourceError(f"{error}; check that it is plugged in, permitted and not in use") from error


def _camera_connection(number: int, name: str) -> Callable[[], Decoder]:
    """How this system opens its camera of that number."""
    if sys.platform == "win32":
        devices = [device.name for device in _cameras("dshow")]
        if number >= len(devices):
            raise SourceError(f"{name}: not found; cameras here: {', '.join(devices) or 'none'}")
        kind, address = "dshow", f"video={devices[number]}"
    elif sys.platform == "darwin":
        kind, address = "avfoundation", f"{number}:none"
    else:
        kind, address = "v4l2", f"/dev/video{number}"
        if not Path(address).exists():
            found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
            raise SourceError(f"{name}: not found ({address}); cameras here: {found}")
    options = {"framerate": "30"} if kind == "avfoundation" else {}
    opening = Opening(format=kind, options=options, timeout=NETWORK_TIMEOUT, live=True)
    return partial(Decoder, address, name, opening)


def _cameras(kind: str) -> list[av.device.DeviceInfo]:
    try:
        return [device for device in enumerate_input_devices(kind) if "video" in device.media_types]
    except (av.FFmpegError, ValueError):
        return []
