"""Multi-object tracking by association: detections in, the same detections with track ids out.

`ByteTracker` follows objects frame by frame, `track_detections` gives it a finished video's detections, and
`interpolate_tracks` fills the gaps of such a video's tracks.
Everything here is numpy over all tracks at once; there is no model and no file access.
"""

from svit.tracking.byte_tracker import ByteTracker
from svit.tracking.interpolate import interpolate_tracks
from svit.tracking.replay import track_detections

__all__ = ["ByteTracker", "interpolate_tracks", "track_detections"]
