"""Run a script that trains, and halt it before a step, so that a test can kill it there on any machine.

python tests/support/halt.py STEP RANK SCRIPT ARGUMENTS…
"""

import os
import runpy
import signal
import sys

from wine_gpt.training.trainer import Trainer


def halt_before(step: int, rank: str) -> None:
    """Make the process of this rank print ``halted`` and wait for a signal before this step, counted from 0."""
    train_step = Trainer.train_step

    def halting(self: Trainer, now: int) -> None:
        if now == step and os.environ.get("RANK", "0") == rank:
            # a signal writes to the pipe, so one that arrives before the wait ends the wait too
            reader, writer = os.pipe()
            os.set_blocking(writer, False)
            signal.set_wakeup_fd(writer)
            print("halted", flush=True)
            os.read(reader, 1)
            signal.set_wakeup_fd(-1)
        train_step(self, now)

    Trainer.train_step = halting  # type: ignore[method-assign]


if __name__ == "__main__":
    halt_before(int(sys.argv[1]), sys.argv[2])
    sys.argv = sys.argv[3:]
    runpy.run_path(sys.argv[0], run_name="__main__")
