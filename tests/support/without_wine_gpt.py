"""Run a program where wine_gpt can't be imported, as on a machine that has transformers only.

python tests/support/without_wine_gpt.py PROGRAM [ARGUMENT ...]
"""

import importlib.abc
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

# for programs in a string
BLOCK = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import without_wine_gpt
sys.path.pop(0)
without_wine_gpt.block()
"""


class _Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] == "wine_gpt":
            raise ModuleNotFoundError(name)


def block() -> None:
    """Make imports of wine_gpt fail in this process."""
    sys.meta_path.insert(0, _Blocker())


def run_without_wine_gpt(program: str | Path, *arguments: str, cwd: Path) -> tuple[Any, str]:
    """Run a program, a file or Python source, in a new process.

    Returns:
        What it prints, which must be JSON, and its stderr.
    """
    start = [__file__, str(program)] if isinstance(program, Path) else ["-c", BLOCK + program]
    done = subprocess.run([sys.executable, *start, *arguments], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


if __name__ == "__main__":
    block()
    # drop this folder from the path: its modules are not the program's
    sys.path.pop(0)
    sys.argv.pop(0)
    runpy.run_path(sys.argv[0], run_name="__main__")
