"""A process in which wine_gpt can't be imported, as on the machine of someone who has transformers only."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BLOCK = """
import importlib.abc, json, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "wine_gpt":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
"""


def run_without_wine_gpt(code: str, *arguments: str, cwd: Path) -> tuple[Any, str]:
    """Run code there; return what it prints as JSON, and its stderr."""
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr
