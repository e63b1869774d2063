"""Build the wheel with the configs and the demo, which are at a checkout's root: ``wine_gpt.installation.bundled``."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithBundledFiles(build_py):
    """Copies ``configs`` and ``space`` into the package, except for an editable install, which finds the checkout."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        for name in ("configs", "space"):
            target = Path(self.build_lib) / "wine_gpt" / "bundled" / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


setup(cmdclass={"build_py": BuildWithBundledFiles})
