"""Where the package's configs and demo are installed, and how to install an optional package that is missing."""

import contextlib
import importlib.metadata
import importlib.util
import shlex
from pathlib import Path

from wine_gpt.errors import UserError


def bundled(name: str) -> Path:
    """Return a folder that is installed with the package, ``configs`` or ``space``; a checkout has it at its root."""
    package = Path(__file__).parent
    installed = package / "bundled" / name
    return installed if installed.is_dir() else package.parent / name


def require_package(module: str, extra: str, user: str, otherwise: str = "") -> None:
    """Check that an optional package is installed.

    Args:
        module: the name that Python imports.
        extra: the optional group that has it.
        user: what needs the package, for the message.
        otherwise: ends the message.

    Raises:
        UserError: with the command that installs the group.
    """
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{user} needs {module}: {install_command(extra)}{otherwise}")


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
