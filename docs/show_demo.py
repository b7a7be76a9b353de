"""Shows in the README what `svit demo` really does: the picture, what it prints, and lines of its files.

    .venv/bin/python docs/show_demo.py

Tracks the sample clip into demo/, writes docs/images/tracking.png from the annotated video, and replaces the
blocks of README.md below the comments `<!-- svit demo: ... -->`. To be run when the bundled weights change.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from svit.types import Image as Pixels
from svit.video import open_source

ROOT = Path(__file__).resolve().parents[1]
DEMO, PICTURE, README = ROOT / "demo", ROOT / "docs/images/tracking.png", ROOT / "README.md"

PEOPLE = 3
"""Moments on the picture, one per person."""

TRAIL_FRAMES = 30
"""Length of the trails in the annotated video, frames."""

WIDTH, GAP, CAPTION = 420, 6, 22
"""Pixels: of a moment, between two, and for the line below each."""


@dataclass(frozen=True)
class Moment:
    """A frame worth showing, and the person it shows."""

    frame: int
    seconds: float
    person: int


def main() -> None:
    """Runs the demo and takes everything from its files."""
    command = [sys.executable, "-m", "svit.cli", "demo", "-o", DEMO.name]
    printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    frames = [json.loads(line) for line in (DEMO / "tracks.jsonl").read_text().splitlines()]
    moments = choose_moments(frames)
    if len(moments) < PEOPLE:
        sys.exit(f"the demo followed {len(moments)} people for {TRAIL_FRAMES} frames; {PEOPLE} are needed")
    PICTURE.parent.mkdir(exist_ok=True)
    draw(moments).save(PICTURE, optimize=True)
    shown = moments[0].frame - 2  # the person is still followed in the frames after it
    rows = (DEMO / "tracks.txt").read_text().splitlines(keepends=True)
    replace_block("printed", printed)
    replace_block("tracks.txt", "".join(row for row in rows if shown < int(row.split(",")[0]) <= shown + 3))
    replace_block("tracks.jsonl", json.dumps(frames[shown]) + "\n")


def choose_moments(frames: list[dict]) -> list[Moment]:
    """The people seen longest, in order of appearance, each where the model is surest."""
    paths: dict[int, list[tuple[int, float]]] = {}
    for number, frame in enumerate(frames):
        for track in frame["tracks"]:
            paths.setdefault(track["id"], []).append((number, track["score"]))
    followed = [person for person in paths if len(paths[person]) > TRAIL_FRAMES]
    longest = sorted(followed, key=lambda person: -len(paths[person]))[:PEOPLE]
    moments = []
    for person in sorted(longest):
        number, _ = max(paths[person][TRAIL_FRAMES:], key=lambda seen: seen[1])
        moments.append(Moment(number, frames[number]["timestamp"], person))
    return moments


def draw(moments: list[Moment]) -> Image.Image:
    """The moments side by side, each with its time and number below."""
    pictures = read_frames([moment.frame for moment in moments])
    height = round(WIDTH * pictures[0].shape[0] / pictures[0].shape[1])
    strip = Image.new("RGB", (len(moments) * (WIDTH + GAP) - GAP, height + CAPTION), "white")
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(14)
    for column, (moment, picture) in enumerate(zip(moments, pictures, strict=True)):
        x = column * (WIDTH + GAP)
        strip.paste(Image.fromarray(picture).resize((WIDTH, height), Image.Resampling.LANCZOS), (x, 0))
        text = f"{moment.seconds:.1f} s: number {moment.person}"
        pen.text((x, height + CAPTION / 2), text, fill="#444444", font=font, anchor="lm")
    return strip


def read_frames(numbers: list[int]) -> list[Pixels]:
    """Frames of the annotated video, in the order of `numbers`."""
    with open_source(DEMO / "tracks.mp4") as video:
        found = {frame.index: frame.image for frame in video if frame.index in numbers}
    return [found[number] for number in numbers]


def replace_block(name: str, text: str) -> None:
    """Puts `text` into the README's block below the comment of that name."""
    block = re.compile(
        rf"(<!-- svit demo: {re.escape(name)} -->\n```\w+\n).*?(^```$)", re.DOTALL | re.MULTILINE
    )
    page, count = block.subn(lambda found: found[1] + text + found[2], README.read_text())
    if count != 1:
        sys.exit(f"README.md has {count} blocks '<!-- svit demo: {name} -->', expected one")
    README.write_text(page)


if __name__ == "__main__":
    main()
