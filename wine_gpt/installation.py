"""Where the package's configs and demo are installed, and how to install an optional package that is missing."""

import contextlib
import importlib
import importlib.metadata
import shlex
from pathlib import Path

from wine_gpt.errors import UserError, one_line


def bundled(name: str) -> Path:
    """Return a folder that is installed with the package, ``configs`` or ``space``; a checkout has it at its root."""
    package = Path(__file__).parent
    installed = package / "bundled" / name
    return installed if installed.is_dir() else package.parent / name


def require_package(module: str, extra: str, user: str, otherwise: str = "") -> None:
    """Import an optional package, to check that it is installed whole.

    Args:
        module: the name that Python imports.
        extra: the optional group that has it.
        user: what needs the package, for the message.
        otherwise: ends the message.

    Raises:
        UserError: with the command that installs the group.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == module
        reason = "" if is_missing else f" ({one_line(error)})"
        raise UserError(f"{user} needs {module}{reason}: {install_command(extra)}{otherwise}") from error


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
