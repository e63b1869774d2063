"""Find, watch and kill processes by their ids."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil  # type: ignore[import-untyped]


def children(pid: int | None) -> list[int]:
    """Return the process ids of what a process has started, by any of its threads, in ascending order."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        # the thread may have ended since
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, file.read_text().split())
    return sorted(found)


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that was killed may be left as a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_together(pids: Iterable[int | None]) -> None:
    """Kill processes so that none sees the end of another."""
    pids = [*pids]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            assert pid is not None
            # it may have ended already
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
