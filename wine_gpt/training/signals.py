"""SIGTERM and Ctrl-C during long work: finish the step, save, say how to go on."""

import os
import signal
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GracefulShutdown:
    """Remembers the first signal to stop while it is entered; a second one ends the process at once.

    ``signal`` is the number of the signal, 0 until there is one. Handlers of the caller come back on leaving.
    """

    def __init__(self) -> None:
        self.signal = 0

    def __enter__(self) -> "GracefulShutdown":
        """Take over the handlers; only the main thread may."""
        self._handlers = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the handlers back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self.signal:
            # whatever is being written is written aside, so leaving now harms no checkpoint
            os._exit(128 + number)
        self.signal = number
