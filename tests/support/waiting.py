"""Wait in a test for what another thread or process does."""

import time
from collections.abc import Callable

from support.local_server import PATIENCE


def wait_until(
    condition: Callable[[], object], shown: Callable[[], object], *, alive: Callable[[], object] = lambda: True
) -> None:
    """Wait until a condition is true, at most PATIENCE.

    Args:
        condition: called 50 times a second.
        shown: returns what a failure shows, such as the output of a process.
        alive: whether the process still runs that must make the condition true; else the test fails at once.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        # asked first, because the last thing that a process does may make the condition true
        was_alive = alive()
        if condition():
            return
        assert was_alive, f"ended too early: {shown()}"
        assert time.monotonic() < deadline, f"waited for {PATIENCE:.0f} s: {shown()}"
        time.sleep(0.02)
