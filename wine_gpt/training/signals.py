"""Finish the step and save on SIGTERM and Ctrl-C instead of stopping at once.

The training loop asks for the signal after each step, saves a checkpoint and raises ``RunInterrupted``, which the
command line turns into exit code 143 or 130.
"""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulShutdown:
    """Records the first SIGTERM or Ctrl-C inside its context; a second one ends the process at once.

    ``signal`` is the number of the recorded signal, 0 before. The caller's handlers are restored on leaving. Outside
    the main thread the context does nothing, because Python lets only the main thread handle signals.
    """

    def __init__(self) -> None:
        self.signal = 0

    def __enter__(self) -> Self:
        handled = SIGNALS if threading.current_thread() is threading.main_thread() else ()
        self._handlers = {number: signal.signal(number, self._record) for number in handled}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _record(self, number: int, _: FrameType | None) -> None:
        if self.signal:
            # safe for checkpoints, because a checkpoint gets its name only when it is complete
            os._exit(128 + number)
        self.signal = number
