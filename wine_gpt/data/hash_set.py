"""Find duplicates with a set of 64-bit hashes in bounded memory: long sorted runs are mapped from temporary files."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

# runs with fewer hashes stay in memory, and longer ones are merged in blocks of this size
BLOCK = 1 << 18


class HashSet:
    """A growing set of hashes as ascending runs, each more than twice as long as the next.

    Two runs that are nearly equal in size are merged, so n hashes are copied log n times and looked up in log n runs.

    Args:
        folder: the folder of the long runs' files, which have no names and end with the set; None for the system's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> Mask:
        """Add hashes; return which are new, neither of an earlier call nor earlier among ``hashes``.

        Args:
            hashes: uint64 of shape (hashes,).

        Returns:
            bool of shape (hashes,).

        Raises:
            OSError: if a file can't be written.
        """
        new = np.zeros(len(hashes), bool)
        new[np.unique(hashes, return_index=True)[1]] = True
        for run in self._runs:
            new[new] = ~_contains(run, hashes[new])
        if new.any():
            self._runs.append(np.sort(hashes[new]))
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            shorter, longer = self._runs.pop(), self._runs.pop()
            self._runs.append(self._merged(longer, shorter))
        return new

    def _merged(self, first: Hashes, second: Hashes) -> Hashes:
        blocks = _merge(first, second)
        if len(first) + len(second) < BLOCK:
            return np.concatenate(list(blocks))
        with tempfile.TemporaryFile(dir=self._folder) as file:
            for block in blocks:
                # not by the mapped pages, because a full disk would end the process there
                file.write(block.data)
            file.flush()
            return np.memmap(file, np.uint64, "r")


def _merge(first: Hashes, second: Hashes) -> Iterator[Hashes]:
    """Merge two ascending arrays and yield the result in blocks."""
    start = 0
    for block in range(0, len(first), BLOCK):
        following = first[block + BLOCK : block + BLOCK + 1]
        end = int(np.searchsorted(second, following[0])) if len(following) else len(second)
        yield np.sort(np.concatenate([first[block : block + BLOCK], second[start:end]]), kind="stable")
        start = end


def _contains(ascending: Hashes, hashes: Hashes) -> Mask:
    indices = np.searchsorted(ascending, hashes)
    found = indices < len(ascending)
    found[found] = ascending[indices[found]] == hashes[found]
    return found
