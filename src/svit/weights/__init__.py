"""Checkpoints: our own (safetensors with their configuration), official S-ViT, and CLIP to start from.

Loading is strict: a tensor that is missing, unexpected or of another shape is an error that names it.
No file is ever executed.
"""

from svit.weights.catalog import DEFAULT_MODEL, ModelSummary, convert, describe_models, load
from svit.weights.checkpoint import save
from svit.weights.clip import initialise_from_clip, load_clip
from svit.weights.device import Precision, pick_device, pick_dtype
from svit.weights.heads import add_action_head, copy_weights, replace_action_head
from svit.weights.official import load_official
from svit.weights.parts import save_head
from svit.weights.report import LoadReport

__all__ = [
    "DEFAULT_MODEL",
    "LoadReport",
    "ModelSummary",
    "Precision",
    "add_action_head",
    "convert",
    "copy_weights",
    "describe_models",
    "initialise_from_clip",
    "load",
    "load_clip",
    "load_official",
    "pick_device",
    "pick_dtype",
    "replace_action_head",
    "save",
    "save_head",
]
