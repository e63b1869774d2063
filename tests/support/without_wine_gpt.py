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


class _Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] == "wine_gpt":
            raise ModuleNotFoundError(name)


def block() -> None:
    """Make imports of wine_gpt fail in this process, which may have imported it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "wine_gpt"]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Blocker())


def run_without_wine_gpt(program: Path, *arguments: str, cwd: Path) -> Any:  # noqa: ANN401 - JSON
    """Run a program in a new process and return what it prints, which must be JSON."""
    command = [sys.executable, __file__, str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if __name__ == "__main__":
    block()
    # drop this folder from the path: its modules are not the program's
    sys.path.pop(0)
    sys.argv.pop(0)
    runpy.run_path(sys.argv[0], run_name="__main__")
