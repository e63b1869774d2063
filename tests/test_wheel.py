"""Test the wheel: what is in it, and that it works in an empty folder without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.small_run import write_reviews

ROOT = Path(__file__).parents[1]
SOURCES = ("wine_gpt", "configs", "space", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info")

PROGRAM = ROOT / "tests" / "support" / "installed_package.py"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, so that the checkout gets no build folder."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source, copy = ROOT / name, folder / "checkout" / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(source, copy, ignore=NOT_SOURCES) if source.is_dir() else shutil.copyfile(source, copy)
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, folder / "checkout")
    shutil.rmtree(folder / "checkout")
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """Return a folder with the unpacked wheel and its console command."""
    pip("install", "--target", wheel.parent / "installed", wheel)
    return wheel.parent / "installed"


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with nothing but a file of reviews."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write_reviews(folder / "reviews.json")
    return folder


def pip(command: str, *arguments: object) -> None:
    """Run pip without a network."""
    fixed = [sys.executable, "-m", "pip", command, "--quiet", "--no-index", "--no-deps"]
    done = subprocess.run([*fixed, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def environment(installed: Path, folder: Path) -> dict[str, str]:
    """Return an environment whose wine_gpt is the installed one."""
    return {**os.environ, "PYTHONPATH": str(installed), "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}


def test_the_wheel_holds_the_package_its_configs_and_its_demo(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {
        *(f"wine_gpt/{name}" for name in files(ROOT / "wine_gpt")),
        *(f"wine_gpt/bundled/configs/{name}" for name in files(ROOT / "configs")),
        *(f"wine_gpt/bundled/space/{name}" for name in files(ROOT / "space")),
    }


def files(folder: Path) -> list[str]:
    """Return the files below a folder, except hidden files and Python's caches."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return [path.as_posix() for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts)]


@pytest.fixture(scope="module")
def used(installed: Path, empty_folder: Path) -> dict[str, Any]:
    """Return what the program prints that uses the installed package."""
    command, found = [sys.executable, str(PROGRAM)], environment(installed, empty_folder)
    done = subprocess.run(command, capture_output=True, text=True, cwd=empty_folder, env=found)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_the_console_command_runs(installed: Path, empty_folder: Path) -> None:
    command, found = [str(installed / "bin" / "wine-gpt"), "--version"], environment(installed, empty_folder)
    assert subprocess.check_output(command, text=True, cwd=empty_folder, env=found).startswith("wine_gpt ")


def test_the_command_trains_with_a_config_of_the_package(used: dict[str, Any], empty_folder: Path) -> None:
    run = empty_folder / "runs" / "base"
    assert json.loads((run / "metrics.json").read_text())["training"]["processes"] == 1
    assert "optimizer: muon" in (run / "config.yaml").read_text()
    assert used["trained"].splitlines()[-1].startswith("next:  wine-gpt generate runs/base --prompt")


def test_the_command_generates(used: dict[str, Any]) -> None:
    assert used["generated"]


def test_the_command_stages_the_demo(used: dict[str, Any], empty_folder: Path) -> None:
    assert used["staged"]
    demo = empty_folder / "runs" / "base" / "publish" / "spaces" / "org" / "demo"
    assert {name for name in files(ROOT / "space") if name.endswith((".py", ".css", ".js"))} <= set(files(demo))


def test_the_api_runs_without_the_checkout(used: dict[str, Any], installed: Path) -> None:
    assert Path(used["file"]) == installed / "wine_gpt" / "__init__.py"
    assert used["reviews"] > 1000
    assert used["text"].startswith("wine review : us")
