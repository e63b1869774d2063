"""Where the package's configs and demo are installed, and the commands that install optional packages."""

import contextlib
import importlib.metadata
import shlex
from pathlib import Path


def bundled(name: str) -> Path:
    """Return a folder that is installed with the package, ``configs`` or ``space``; a checkout has it at its root."""
    package = Path(__file__).parent
    installed = package / "bundled" / name
    return installed if installed.is_dir() else package.parent / name


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an optional group, such as ``kaggle``.

    It does not name wine_gpt for an installed package, because the package is not on an index.
    """
    root = Path(__file__).parents[1]
    if (root / "pyproject.toml").is_file():
        return f'pip install -e "{"." if root == Path.cwd() else root}[{extra}]"'
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        groups = [text.partition(";") for text in importlib.metadata.requires("wine_gpt") or ()]
        return shlex.join(["pip", "install", *(name.strip() for name, _, group in groups if f'"{extra}"' in group)])
    return f"install the packages of {extra} in pyproject.toml"
