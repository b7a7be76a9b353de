"""What an installed svit promises: it imports without the heavy extras, brings its data, and stays small."""

from __future__ import annotations

import importlib.metadata
import itertools
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
MAX_FILE_BYTES = 25 * 1024**2

# Imports of these raise in the child process, whether or not they are installed.
BLOCKED = ("cv2", "torchvision", "trackers", "trackeval", "faster_coco_eval", "pycocotools")
BLOCK = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)

sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {str(ROOT / "src")!r})
"""


def run_blocked(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that can import neither OpenCV nor torchvision nor any extra."""
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def declared() -> list[Requirement]:
    """Every dependency in pyproject.toml, those of the extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    return [Requirement(line) for line in lines if not line.startswith(project["name"])]


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    """Locked version of each distribution, by normalised name."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is in the wheel that users get."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return wheel.namelist()


def tracked_files() -> list[Path]:
    """Every file of the repository that git tracks, or would."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_the_blocker_blocks() -> None:
    result = run_blocked("import torchvision")
    assert result.returncode != 0
    assert "blocked: torchvision" in result.stderr


def test_every_module_but_those_that_train_imports_without_opencv_torchvision_and_extras() -> None:
    result = run_blocked(
        "import importlib, pkgutil, svit\n"
        "from svit.errors import UsageError\n"
        "for module in pkgutil.walk_packages(svit.__path__, 'svit.'):\n"
        "    if module.name.endswith('.__main__'):\n"
        "        continue\n"
        "    try:\n"
        "        importlib.import_module(module.name)\n"
        "        print(module.name)\n"
        "    except UsageError as error:\n"
        "        assert 'training needs OpenCV' in str(error), error\n"
        "        trains = ('svit.bench.training', 'svit.data.augment.', 'svit.data.clips', 'svit.train')\n"
        "        assert module.name.startswith(trains), module.name"
    )
    assert result.returncode == 0, result.stderr
    imported = set(result.stdout.split())
    assert {"svit.cli", "svit.stream", "svit.weights", "svit.tracking", "svit.data.augment"} <= imported
    assert "svit.data.augment.opencv" not in imported


def test_training_without_its_extra_is_one_line_that_says_what_to_install() -> None:
    result = run_blocked(
        "from svit.errors import UsageError\n"
        "try:\n"
        "    import svit.data.augment.pipeline\n"
        "except UsageError as error:\n"
        "    print(error)"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1
    assert "pip install 'streaming-video-model[train]'" in result.stdout


def test_tracks_and_draws_without_opencv_torchvision_and_extras(tmp_path: Path) -> None:
    result = run_blocked(
        "import numpy as np, svit\n"
        "from svit.video import VideoWriter\n"
        "stream = svit.Stream(svit.build('tiny', input__short_side=64, input__long_side=96))\n"
        f"with VideoWriter({str(tmp_path / 'out.mp4')!r}, rate=10) as video:\n"
        "    for _ in range(3):\n"
        "        video.write(stream.step(np.zeros((48, 64, 3), np.uint8)))\n"
        "assert not {'cv2', 'torchvision'} & sys.modules.keys()"
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out.mp4").stat().st_size > 0


def test_help_works_without_opencv_torchvision_and_extras() -> None:
    result = run_blocked("sys.argv = ['svit', '--help']\nfrom svit.cli import main\nsys.exit(main())")
    assert result.returncode == 0, result.stderr
    assert "track" in result.stdout


def test_tracker_does_not_import_torch() -> None:
    result = run_blocked(
        "import importlib.util, types\n"
        "package = types.ModuleType('svit')\n"  # the public names of svit itself need torch
        f"package.__path__ = [{str(ROOT / 'src' / 'svit')!r}]\n"
        "sys.modules['svit'] = package\n"
        "import svit.tracking\n"
        "assert 'torch' not in sys.modules"
    )
    assert result.returncode == 0, result.stderr


def test_public_names_exist_and_hold_the_contract() -> None:
    import svit

    missing = [name for name in svit.__all__ if not hasattr(svit, name)]
    assert missing == []
    assert {"load", "build", "track", "VideoModel", "StreamMemory", "Stream"} <= set(svit.__all__)


def test_wheel_brings_weights_sample_presets_types_and_licence(wheel_names: list[str]) -> None:
    for pattern in (
        r"svit/py\.typed",
        r"svit/assets/.+\.safetensors",
        r"svit/assets/.+\.mp4",
        r"svit/assets/.+\.md",
        r"svit/configs/.+\.ya?ml",
        r".+\.dist-info/licenses/LICENSE",
        r".+\.dist-info/licenses/NOTICE",
    ):
        assert any(re.fullmatch(pattern, name) for name in wheel_names), f"not in the wheel: {pattern}"


def test_wheel_brings_every_file_of_the_package_and_nothing_else(wheel_names: list[str]) -> None:
    packed = {name for name in wheel_names if ".dist-info/" not in name}
    source = ROOT / "src"
    assert packed == {p.relative_to(source).as_posix() for p in tracked_files() if p.is_relative_to(source)}


def test_lock_pins_torch_one_opencv_and_no_torchvision(lock: dict[str, str]) -> None:
    assert lock["torch"] == "2.13.0"
    assert [name for name in lock if name.startswith("opencv")] == ["opencv-python-headless"]
    assert "torchvision" not in lock
    assert [name for name in lock if name.startswith(("nvidia", "cuda", "triton"))] == []


def test_lock_satisfies_every_declared_dependency(declared: list[Requirement], lock: dict[str, str]) -> None:
    for requirement in declared:
        version = lock.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is declared but not locked"
        assert requirement.specifier.contains(version), f"{requirement} does not allow the locked {version}"


def test_only_training_asks_for_opencv_and_only_for_the_headless_one() -> None:
    """The plain wheel needs libGL, which servers do not have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    asked = {
        (extra, canonicalize_name(Requirement(line).name))
        for extra, lines in extras.items()
        for line in lines
    }
    assert ("", "torch") in asked
    asked_for = {pair for pair in asked if pair[1].startswith("opencv") or pair[1] == "torchvision"}
    assert asked_for == {("train", "opencv-python-headless")}


def test_environment_holds_at_most_one_opencv_wheel_and_no_torchvision() -> None:
    names = {canonicalize_name(d.metadata["Name"]) for d in importlib.metadata.distributions()}
    assert len([name for name in names if name.startswith("opencv")]) <= 1, "remove .venv and run make again"
    assert "torchvision" not in names


def test_repository_holds_no_file_above_25_megabytes() -> None:
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked_files()}
    assert "pyproject.toml" in sizes
    assert {name: size for name, size in sizes.items() if size > MAX_FILE_BYTES} == {}
