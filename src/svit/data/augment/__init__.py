"""Augmentation of whole clips for training the detector: frames, boxes and ids move together.

`pipeline.augment_clip` is the way in; a `LabelledClip` is what goes in and comes out. Everything random is
drawn from the generator given, once per clip, so that a clip's frames stay frames of one video. Only `opencv`
imports OpenCV, which the `train` extra brings; the names here do without.
"""

from svit.data.augment.clip import FrameLabels, LabelledClip
from svit.data.augment.sampling import sample_clip_indices
from svit.data.augment.settings import AugmentConfig
from svit.data.augment.stills import still_to_clip

__all__ = ["AugmentConfig", "FrameLabels", "LabelledClip", "sample_clip_indices", "still_to_clip"]
