"""Multi-object tracking by association: detections in, the same detections with track ids out.

`ByteTracker` follows objects frame by frame, `interpolate_tracks` fills the gaps of a finished video.
Everything here is numpy over all tracks at once; there is no model and no file access.
"""

from svit.tracking.byte_tracker import ByteTracker
from svit.tracking.interpolate import interpolate_tracks

__all__ = ["ByteTracker", "interpolate_tracks"]
