"""The smoke experiment learns its eight clips by heart: from decoding to weights, all works together."""

from __future__ import annotations

from pathlib import Path

from svit.data.datasets import data_root
from svit.data.scenes import Scene, load_scenes
from svit.evaluate.detection import FrameBoxes, score_detections
from svit.model.preprocess import preprocess
from svit.model.video_model import VideoModel
from svit.train.experiment import Experiment, load_experiment
from svit.train.loop import Note, Training
from svit.weights import load


def clips_of(experiment: Experiment) -> list[tuple[Scene, list[int]]]:
    """Every clip by its scene and frames, without augmentation and at the least stride."""
    (source,), length = experiment.data.sources, experiment.data.clip.length
    (scene,) = load_scenes(source, data_root(experiment.data.root))
    return [(scene, list(range(start, start + length))) for start in scene.starts]


def found_in(model: VideoModel, scene: Scene, frames: list[int]) -> list[FrameBoxes]:
    """What the model finds in a clip, frame by frame with its memory, and what is there."""
    clip, memory, found = scene.clip(frames), None, []
    for t, picture in enumerate(clip.frames):
        pixels = preprocess(picture, model.config.input, model.config.stride)[None, None]
        ((boxes,),), memory = model.detect(pixels, memory, [picture.shape[:2]])
        assert boxes.confidence is not None
        found.append(FrameBoxes(clip.boxes[t], clip.ignore[t], boxes.xyxy, boxes.confidence))
    return found


def test_smoke_learns_its_eight_clips_by_heart(tmp_path: Path) -> None:
    experiment = load_experiment("smoke", ["log_to=[]"])
    training = Training(experiment, tmp_path)
    clips = clips_of(experiment)
    assert len(clips) == training.feeds[0].clips.per_epoch == 8
    weights = tmp_path / "smoke.safetensors"
    assert Note(f"weights: {weights}") in list(training.run())
    model = load(weights, "cpu")
    frames = [frame for scene, numbers in clips for frame in found_in(model, scene, numbers)]
    assert sum(len(frame.truth) for frame in frames) >= 8
    assert score_detections(frames)["AP50"] > 90
