"""Show the progress of long work: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator
from types import ModuleType

from tqdm.auto import tqdm

# seconds between plain lines
PLAIN_INTERVAL = 10.0


@contextlib.contextmanager
def bars_on_terminals_only(library: ModuleType) -> Iterator[None]:
    """Hide a library's bars elsewhere, because they fill logs, and a closed pipe under a bar would end the work.

    Args:
        library: has the functions ``are_progress_bars_disabled``, ``disable_progress_bars`` and
            ``enable_progress_bars``: ``datasets.utils`` or ``huggingface_hub.utils``.
    """
    if sys.stderr.isatty() or library.are_progress_bars_disabled():
        yield
        return
    library.disable_progress_bars()
    try:
        yield
    finally:
        library.enable_progress_bars()


class Progress:
    """Shows finished steps, rate, remaining time and a note on stderr; a closed stderr does not end the work.

    Args:
        total: the number of steps, finished ones included.
        done: the number of steps that an earlier run finished.
        visible: false on all processes but the main one.
        steps_after: the number of equally long steps that follow this work, for the remaining time of all.
    """

    def __init__(self, total: int, done: int = 0, visible: bool = True, steps_after: int = 0) -> None:
        self.steps_after = steps_after
        self.visible = visible
        self.total = total
        self.first = self.done = done
        self.started = self.shown = time.monotonic()
        terminal = visible and sys.stderr.isatty()
        self.bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True) if terminal else None

    def step(self, note: str) -> None:
        """Count one step and show the note, such as the loss and the rate."""
        self.done += 1
        if self.bar is not None:
            self.bar.set_postfix_str(f"{note}{self._left_in_all()}", refresh=False)
            with contextlib.suppress(OSError):
                self.bar.update()
        elif time.monotonic() - self.shown >= PLAIN_INTERVAL:
            self.shown = time.monotonic()
            self.say(f"step {self.done:,} of {self.total:,}, {note}, {self._left()} left{self._left_in_all()}")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        with contextlib.suppress(OSError):
            if self.bar is not None:
                self.bar.write(line, file=sys.stderr)
            elif self.visible:
                print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.close()

    def _left_in_all(self) -> str:
        return f", {self._left(self.steps_after)} left in all" if self.steps_after else ""

    def _left(self, steps_after: int = 0) -> str:
        steps = self.total - self.done + steps_after
        seconds = (time.monotonic() - self.started) / (self.done - self.first) * steps
        return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"
