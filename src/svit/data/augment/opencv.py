"""The one place that imports OpenCV: nothing but training needs it.

OpenCV warps a picture about 3 times as fast on one thread as torch's `grid_sample` or Pillow do, and
augmentation is where the processes that feed a training spend their time beside decoding.
"""

from __future__ import annotations

from svit.errors import UsageError

try:
    import cv2
except ImportError as error:
    raise UsageError(
        "training needs OpenCV, which is not installed: pip install 'streaming-video-model[train]'"
    ) from error

__all__ = ["cv2", "use_one_thread"]


def use_one_thread() -> None:
    """Switches OpenCV's own threads off in this process; call it first in each data worker.

    Workers are the parallelism: OpenCV would otherwise start a thread per core in every one of them, and its
    pool does not survive a fork.
    """
    cv2.setNumThreads(0)
