"""Halt or interrupt a training in a step. As a program: run a script that trains, and halt it before a step.

python tests/support/halt.py STEP RANK SCRIPT ARGUMENTS…
"""

import itertools
import os
import runpy
import signal
import sys
from collections.abc import Container
from typing import TYPE_CHECKING

from wine_gpt.training.trainer import Trainer

if TYPE_CHECKING:
    import pytest


def interrupt_steps(patch: "pytest.MonkeyPatch", number: signal.Signals, chosen: Container[int] | None = None) -> None:
    """Make training steps of this process end with a signal to it.

    Args:
        patch: undoes it.
        number: the signal.
        chosen: which of the next steps, counted from 1 over all trainings; None for each.
    """
    train_step, steps = Trainer.train_step, itertools.count(1)

    def interrupted(trainer: Trainer, step: int) -> None:
        train_step(trainer, step)
        if chosen is None or next(steps) in chosen:
            os.kill(os.getpid(), number)

    patch.setattr(Trainer, "train_step", interrupted)


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
