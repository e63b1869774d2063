"""Hide peft from every Python process that has this folder on its path."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class NoPeft(PathFinder):
    """Finds all modules but peft."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return nothing for peft."""
        return None if name == "peft" else super().find_spec(name, path, target)


sys.meta_path = [NoPeft if finder is PathFinder else finder for finder in sys.meta_path]
