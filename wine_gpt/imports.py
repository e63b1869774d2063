"""Import torch and other large packages in less time, and share the cores with other processes afterwards."""

import contextlib
import gc
import os
from collections.abc import Iterator

# how long an idle thread of GNU's OpenMP spins before it sleeps
OPENMP_SPIN = "GOMP_SPINCOUNT"


def limit_openmp_spin() -> None:
    """Let idle OpenMP threads sleep after a short spin, because spinning takes cores from other processes.

    GNU's OpenMP reads the variable when torch is loaded. Its effect: ``benchmarks/RESULTS.md``.
    """
    os.environ.setdefault(OPENMP_SPIN, "1000")


@contextlib.contextmanager
def limited_openmp_spin() -> Iterator[None]:
    """Limit the spin of an OpenMP that is loaded inside, and leave the environment as it was."""
    before = os.environ.get(OPENMP_SPIN)
    limit_openmp_spin()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(OPENMP_SPIN, None)


def search_garbage_rarely() -> None:
    """Let Python search for garbage after 20,000 new objects instead of 700, because importing torch makes many.

    The time that this saves: ``benchmarks/RESULTS.md``. Without any search the imports need more memory.
    """
    gc.set_threshold(20_000, *gc.get_threshold()[1:])
