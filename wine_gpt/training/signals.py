"""Finish the step and save on SIGTERM, Ctrl-C and a closed terminal (SIGHUP) instead of stopping at once.

The training loop asks for the signal after each step, saves a checkpoint and raises ``RunInterrupted``, which the
command line turns into exit code 143, 130 or 129.
"""

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Self

# Windows has no SIGHUP
HANGUP = getattr(signal, "SIGHUP", None)
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([] if HANGUP is None else [HANGUP]))
STOPPED = "\nstopped at once: the last steps are not saved; resuming continues from the last checkpoint\n"


class GracefulShutdown:
    """Records the first signal inside its context; a second one prints a line and ends the process at once.

    A second SIGHUP does not, because the terminal and its shell each send one. With ``nohup`` SIGHUP stays ignored.
    ``signal`` is the number of the recorded signal, 0 before. The caller's handlers are restored on leaving. Outside
    the main thread the context does nothing, because Python lets only the main thread handle signals.

    Args:
        prints: whether this process prints; one of each machine should.
    """

    def __init__(self, prints: bool = True) -> None:
        self.signal = 0
        self._prints = prints

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
        if self.signal and number != HANGUP:
            if self._prints:
                # not by print, because the signal may have interrupted a write to the same stream
                with contextlib.suppress(OSError):
                    os.write(2, STOPPED.encode())
            # safe for checkpoints, because a checkpoint gets its name only when it is complete
            os._exit(128 + number)
        self.signal = self.signal or number
