"""Import torch and other large packages in less time, and share the cores with other processes afterwards."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

# how long an idle thread of GNU's OpenMP spins before it sleeps
OPENMP_SPIN = "GOMP_SPINCOUNT"
# objects after which garbage is looked for during an import; without any search the import needs more memory
IMPORTED_OBJECTS = 20_000


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


@contextlib.contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Run the garbage collector rarely while large packages are imported inside.

    The time that this saves: ``benchmarks/RESULTS.md``. Once torch is imported, it has no effect.
    """
    if "torch" in sys.modules:
        yield
        return
    thresholds = gc.get_threshold()
    gc.set_threshold(IMPORTED_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        # the packages' objects live until the end
        gc.freeze()
        gc.set_threshold(*thresholds)
