"""Read the memory of processes, in bytes, and sample its peak."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread


@contextmanager
def peak(read: Callable[[], int], interval: float = 0.1) -> Iterator[Callable[[], int]]:
    """Sample a size while the block runs, every ``interval`` seconds; yield a function that returns the largest."""
    largest, ended = read(), Event()

    def sample() -> None:
        nonlocal largest
        while not ended.wait(interval):
            largest = max(largest, read())

    # a daemon, because a measured process may exit within the block
    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: largest
    finally:
        ended.set()
        thread.join()
        largest = max(largest, read())


def anonymous(pid: int | str = "self") -> int:
    """Return the anonymous memory of a process, without the pages of files, which the system can reclaim; 0 if none.

    Processes that fork share anonymous pages, which count in each.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def resident(pid: int | str = "self") -> int:
    """Return the resident memory of a process, pages of files included; 0 if there is no such process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def of_all(read: Callable[[int], int]) -> int:
    """Return the sum of a size over this process and all processes below it."""
    return sum(map(read, _with_descendants(os.getpid())))


def _with_descendants(pid: int) -> list[int]:
    try:
        # of each thread, because a thread may start a process
        children = [
            child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
        ]
    except OSError:
        return []
    return [pid, *(found for child in children for found in _with_descendants(int(child)))]
