"""Action recognition's data: lists of labelled videos, their index, clips for training and views for tests.

`svit prepare kinetics400 | ssv2 | video-folder` writes the index, `read_action_index` reads it, `ActionClips`
makes training clips of it and `ActionViews` what a test looks at. `svit.data.synthetic` makes clips without a
data set. Nothing here needs OpenCV.
"""

from svit.data.actions.clips import ActionClips, ActionSample
from svit.data.actions.index import ActionIndex, ActionVideo, FlipRule, read_action_index
from svit.data.actions.settings import (
    ActionAugmentConfig,
    MixConfig,
    SamplingConfig,
    ViewConfig,
)
from svit.data.actions.views import ActionViews, ViewedVideo

__all__ = [
    "ActionAugmentConfig",
    "ActionClips",
    "ActionIndex",
    "ActionSample",
    "ActionVideo",
    "ActionViews",
    "FlipRule",
    "MixConfig",
    "SamplingConfig",
    "ViewConfig",
    "ViewedVideo",
    "read_action_index",
]
