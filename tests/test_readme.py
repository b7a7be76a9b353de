"""What the README and the other pages promise: commands run, links lead somewhere, tables and trees are true.

Blocks of a page run in order, in one folder with a real `people.mp4`; Python blocks of a page share their
names. A block that cannot run here stands below `<!-- not run: why -->`; its commands are still parsed.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from tests.video.clips import write_clip

from svit.cli import main
from svit.config import ActionConfig, DetectorConfig, EncoderConfig, InputConfig, ModelConfig, TrackerConfig
from svit.video import open_source
from svit.weights import describe_models

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "src/svit/assets/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

CODE = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)")
FILE = re.compile(r"\b[\w-]+\.(?:mp4|txt|jsonl|png|pt|safetensors)\b")


@dataclass(frozen=True)
class Block:
    """A code block of a page; `why` says why it cannot run here."""

    page: Path
    line: int
    language: str
    code: str
    why: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start("code")), found["language"], found["code"], found["why"])
        for found in CODE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the blocks run: a cut of the sample clip, this tree's `svit`, and a `make` that only looks."""
    folder = tmp_path_factory.mktemp("readme")
    with open_source(ROOT / "src/svit/assets/one-by-one.mp4") as sample:
        write_clip(folder / "people.mp4", [frame.image for frame in itertools.islice(sample, 80, 88)])
    commands = {
        "svit": f'PYTHONPATH="{ROOT / "src"}" exec "{sys.executable}" -m svit.cli "$@"',
        "make": f'exec "{shutil.which("make")}" --no-print-directory -C "{ROOT}" -n "$@"',
    }
    (folder / "bin").mkdir()
    for name, line in commands.items():
        script = folder / "bin" / name
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def names() -> dict[Path, dict[str, Any]]:
    """What the Python blocks of each page have defined so far."""
    return {page: {"__name__": page.stem} for page in PAGES}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.why is None], ids=str)
def test_a_block_runs_and_the_files_it_names_are_there(
    block: Block, folder: Path, names: dict[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if block.language == "bash":
        run_shell(block, folder)
    else:
        run_python(block, names[block.page])
    assert [name for name in FILE.findall(block.code) if not (folder / name).exists()] == []


def run_shell(block: Block, folder: Path) -> None:
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code],
        cwd=folder,
        env=outer | {"PATH": f"{folder / 'bin'}{os.pathsep}{outer['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, f"{block}: {result.stderr}"


def run_python(block: Block, names: dict[str, Any]) -> None:
    try:
        exec(compile("\n" * block.line + block.code, block.page, "exec"), names)
    except ModuleNotFoundError as error:
        if error.name != "trackers":
            raise
        pytest.skip("trackers is not installed; it comes with the extra 'bench'")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.why and "svit " in block.code], ids=str)
def test_a_command_that_cannot_run_here_has_only_options_that_exist(block: Block) -> None:
    for line in block.code.splitlines():
        words = shlex.split(line, comments=True)
        program = "svit.cli" if words[0] == "torchrun" else "svit"
        assert program in words, line
        assert main([*words[words.index(program) + 1 :], "--help"]) == 0, line


def test_an_option_that_does_not_exist_would_be_noticed() -> None:
    assert main(["track", "people.mp4", "--no-such-option", "--help"]) == 2


def test_the_first_screen_has_picture_install_command_and_eight_lines_of_python() -> None:
    opening, _, _ = README.read_text().partition("\n## ")
    assert "![" in opening
    install, command, program = blocks_of(README)[:3]
    assert install.code == f"pip install {distribution_name()}\n"
    assert command.code.startswith("svit track people.mp4")
    assert program.language == "python"
    assert len(program.code.splitlines()) <= 8
    assert program.code in opening


def distribution_name() -> str:
    found = re.search(r'^name = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    text = CODE.sub("", page.read_text())
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


def test_every_path_of_the_tree_is_there() -> None:
    text = README.read_text().partition("## Where things are")[2]
    tree = text.partition("```text\n")[2].partition("```")[0]
    parents: dict[int, Path] = {-1: ROOT}
    missing = []
    for line in tree.splitlines():
        depth, name = len(line) - len(line.lstrip()), line.split()[0]
        parent = parents[max(known for known in parents if known < depth)]
        parents = {known: path for known, path in parents.items() if known < depth} | {depth: parent / name}
        missing += [] if (parent / name).exists() else [name]
    assert len(tree.splitlines()) > 10
    assert missing == []


def test_the_table_of_models_is_what_the_models_are() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d.]+) M \| (\d+x\d+) \| (\d+) frames \| (.+) \|$", README.read_text(), re.M
    )
    presets = [row for row in describe_models() if row.name != row.weights]
    assert [row[:4] for row in rows] == [
        (row.name, f"{row.parameters / 1e6:.1f}", f"{row.long_side}x{row.short_side}", str(row.memory))
        for row in presets
    ]
    for (*_, weights), row in zip(rows, presets, strict=True):
        assert f"`{row.weights}`" in weights if row.weights else weights.startswith("none")


def test_the_table_of_settings_is_the_configuration() -> None:
    assert settings_table() in (ROOT / "docs/model.md").read_text(), (
        f"docs/model.md needs\n{settings_table()}"
    )


def settings_table() -> str:
    parts: list[tuple[str, type[BaseModel]]] = [
        ("", ModelConfig),
        ("encoder.", EncoderConfig),
        ("detector.", DetectorConfig),
        ("action.", ActionConfig),
        ("input.", InputConfig),
        ("tracker.", TrackerConfig),
    ]
    rows = [
        f"| `{part}{name}` | {shown(field.default)} | {field.description} |\n"
        for part, settings in parts
        for name, field in settings.model_fields.items()
        if field.description  # a group of settings has none
    ]
    return "| setting | default | meaning |\n| --- | --- | --- |\n" + "".join(rows)


def shown(default: object) -> str:
    if default is None or isinstance(default, bool):
        return {None: "none", True: "on", False: "off"}[default]
    if default is PydanticUndefined:
        return "to be given"
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def demo_block(name: str) -> str:
    """What the README shows of `svit demo`; put there by docs/show_demo.py."""
    found = re.search(
        rf"<!-- svit demo: {re.escape(name)} -->\n```\w+\n(.*?)^```$", README.read_text(), re.M | re.S
    )
    assert found, name
    return found[1]


def test_what_the_readme_shows_of_the_demo_has_the_formats_it_explains() -> None:
    rows = demo_block("tracks.txt").splitlines()
    assert len(rows) >= 3
    assert all(re.fullmatch(r"\d+,\d+(,-?\d+\.\d\d){4},[01]\.\d{4},-1,-1,-1", row) for row in rows)
    frame = json.loads(demo_block("tracks.jsonl"))
    assert frame.keys() == {"frame", "timestamp", "tracks", "detections"}
    left, top, right, bottom = frame["tracks"][0]["box"]
    number, person, *box = rows[0].split(",")[:6]
    assert (int(number), int(person)) == (frame["frame"] + 1, frame["tracks"][0]["id"])
    assert [float(side) for side in box] == pytest.approx([left, top, right - left, bottom - top], abs=0.02)
    printed = dict(line.split(":", 1) for line in demo_block("printed").splitlines())
    assert printed.keys() == {"video", "MOT file", "JSON lines", "contact sheet", "summary"}
