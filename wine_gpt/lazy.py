"""Re-export a package's public names at first use (PEP 562), so that importing one module does not load the others."""

import importlib
from collections.abc import Callable, Mapping


def exports_lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package, which limits the spin of an OpenMP that an import loads.

    Args:
        package: its ``__name__``.
        modules: by each public name, the package's module that defines it.
    """

    def find(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from wine_gpt.imports import limited_openmp_spin

        with limited_openmp_spin():
            return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return find
