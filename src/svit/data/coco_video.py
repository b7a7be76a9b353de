"""COCO-video files: COCO's JSON with `videos`, and images that are frames of them."""

from __future__ import annotations

from svit.data.coco_writer import CocoVideoWriter

__all__ = ["CocoVideoWriter"]
