"""Whether a model knows the order of frames: made-up clips that differ in nothing else, of an unseen seed.

    python runs/order.py outputs/order/bidirectional outputs/order/mean

Each folder is the output of a training of the experiment actions-smoke. A row per memory: top-1, and how
often, of a clip's pair (moves left, moves right), the right class has the higher score: who cannot see order
is right half of the time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import svit
from svit.evaluate.action_pass import clip_probabilities
from svit.train.experiment import load_experiment
from svit.train.score import AT_ONCE
from svit.train.sources import HELD_OUT, synthetic_clips

MEMORIES = (1, 4, 16)


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trainings", type=Path, nargs="+", help="output folders")
    parser.add_argument("--clips", type=int, default=1000, help="scored")
    options = parser.parse_args()
    for number, training in enumerate(options.trainings):
        experiment = load_experiment(str(training / "experiment.yaml"))
        clips = synthetic_clips(experiment, experiment.seed + HELD_OUT)
        samples = [clips[number] for number in range(options.clips)]
        frames, labels = np.stack([s.frames for s in samples]), np.array([s.label for s in samples])
        names = clips.classes[::2]
        if number == 0:
            print(f"| model | memory | top-1 | order | {' | '.join(names)} |\n|{' --- |' * (4 + len(names))}")
        model = svit.load(training / f"{experiment.model.name or experiment.name}.safetensors")
        for memory in MEMORIES:
            found = probabilities(model, frames, memory)
            right = pair_is_right(found, labels)
            by_pair = [right[labels // 2 == pair].mean() for pair in range(len(names))]
            cells = [(found.argmax(1) == labels).mean(), right.mean(), *by_pair]
            print(f"| {training.name} | {memory} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |")


def probabilities(model: svit.VideoModel, frames: np.ndarray, memory: int) -> np.ndarray:
    """Of each clip (N, T, H, W, 3), at its last frame: (N, K)."""
    parts = [frames[at : at + AT_ONCE] for at in range(0, len(frames), AT_ONCE)]
    return np.concatenate([clip_probabilities(model, part, memory, len(part)) for part in parts])


def pair_is_right(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) whether a clip's class is higher than the other one of its pair."""
    clip = np.arange(len(labels))
    return found[clip, labels] > found[clip, labels ^ 1]


if __name__ == "__main__":
    main()
