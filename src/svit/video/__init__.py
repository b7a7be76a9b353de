"""Frames in, results out: files, folders, cameras and streams; annotated video, text and pictures."""

from svit.video.base import Source
from svit.video.contact_sheet import ContactSheet
from svit.video.draw import TrackPainter, draw_actions, draw_tracks
from svit.video.mp4 import VideoWriter
from svit.video.outputs import BackgroundWriter, WriterGroup, open_writers
from svit.video.sources import open_source, read_ahead
from svit.video.timeline import Timeline
from svit.video.writers import Conclusion, JsonLinesWriter, MotWriter, Writer

__all__ = [
    "BackgroundWriter",
    "Conclusion",
    "ContactSheet",
    "JsonLinesWriter",
    "MotWriter",
    "Source",
    "Timeline",
    "TrackPainter",
    "VideoWriter",
    "Writer",
    "WriterGroup",
    "draw_actions",
    "draw_tracks",
    "open_source",
    "open_writers",
    "read_ahead",
]
