"""Finish the step and save on SIGTERM, Ctrl-C, a closed terminal (SIGHUP) and a scheduler's SIGUSR1 or SIGUSR2.

The training loop asks for the signal after each step, saves a checkpoint and raises ``RunInterrupted``, which the
command line turns into exit code 128 + the signal's number: 143 for SIGTERM, 130 for Ctrl-C.
"""

import contextlib
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

from wine_gpt.processes import has_launcher

# Windows has no SIGHUP, SIGUSR1 and SIGUSR2
HANGUP = getattr(signal, "SIGHUP", None)
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
# seconds in which a launcher forwards a signal that its processes got too
FORWARDED_SECONDS = 10.0
STOPPED = "\nstopped at once: the last steps are not saved; resuming continues from the last checkpoint\n"


class GracefulShutdown:
    """Records the first signal inside its context; a second one prints a line and ends the process at once.

    A second SIGHUP does not end it, because the terminal and its shell each send one. With ``nohup`` SIGHUP stays
    ignored. Under a launcher a second signal within :data:`FORWARDED_SECONDS` does not end it either: SLURM and
    systemd signal all processes of a job, and the launcher then forwards the signal or ends, which sends SIGTERM.
    The caller's handlers are restored on leaving. Outside the main thread the context does nothing, because Python
    lets only the main thread handle signals.

    Args:
        prints: whether this process prints; one of each machine should.

    Attributes:
        signal: the number of the recorded signal, 0 before.
    """

    def __init__(self, prints: bool = True) -> None:
        self.signal = 0
        self._prints = prints
        self._forwarded_until = 0.0

    def __enter__(self) -> Self:
        handled = SIGNALS if threading.current_thread() is threading.main_thread() else ()
        is_ignored = HANGUP is not None and signal.getsignal(HANGUP) is signal.SIG_IGN
        self._handlers = {
            number: signal.signal(number, self._record) for number in handled if not (number == HANGUP and is_ignored)
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _record(self, number: int, _: FrameType | None) -> None:
        if self.signal and number != HANGUP and time.monotonic() > self._forwarded_until:
            if self._prints:
                # not by print, because the signal may have interrupted a write to the same stream
                with contextlib.suppress(OSError):
                    os.write(2, STOPPED.encode())
            # safe for checkpoints, because a checkpoint gets its name only when it is complete
            os._exit(128 + number)
        if not self.signal and has_launcher():
            self._forwarded_until = time.monotonic() + FORWARDED_SECONDS
        self.signal = self.signal or number
