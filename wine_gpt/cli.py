"""Command lines: one-line errors, exit codes, and options that are no settings."""

import argparse
import functools
import logging
import math
import os
import shlex
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

from wine_gpt.errors import RunInterrupted, UserError


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what ``exits_cleanly`` prints."""
        raise UserError(f"{message}; see --help")


def number(kind: Callable[[str], float], low: float, high: float, advice: str = "") -> Callable[[str], float]:
    """Return an argument's type that takes numbers from ``low`` to ``high``."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is no number from {low:g} to {high:,}{advice}")
        return value

    return read


def exits_cleanly(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap a script's ``main``.

    A :class:`UserError` becomes one line on stderr and exit code 2. :class:`RunInterrupted` adds the resume command.
    It, Ctrl-C at any other time, and a reader of the output that stops reading, as ``head`` does, end the script
    without a traceback, with the exit codes of the signals.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        configure_logging()
        try:
            main()
            sys.stdout.flush()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except RunInterrupted as stopped:
            print(f"{stopped}; to go on: {_resuming(sys.argv)}", file=sys.stderr)
            raise SystemExit(128 + stopped.signal) from None
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=sys.stderr)
            raise SystemExit(130) from None
        except BrokenPipeError:
            # else Python's own flush at exit fails again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None

    return wrapped


def _resuming(command: list[str]) -> str:
    """Return the command line that goes on with what the given one began."""
    launcher = "accelerate launch" if "LOCAL_RANK" in os.environ else "python"
    kept = [part for part in command if part not in ("--overwrite", "--resume")]
    return f"{launcher} {shlex.join([*kept, '--resume'])}"


def configure_logging() -> None:
    """Print the package's log: information on stdout, warnings and errors on stderr, each as a bare line."""
    logger = logging.getLogger("wine_gpt")
    if logger.handlers:
        return
    logger.setLevel(logging.INFO)
    for handler, accepts in (
        (_StandardStream("stdout"), lambda record: record.levelno < logging.WARNING),
        (_StandardStream("stderr"), lambda record: record.levelno >= logging.WARNING),
    ):
        handler.addFilter(accepts)
        logger.addHandler(handler)


class _StandardStream(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stdout`` or ``sys.stderr`` is at the moment, so that redirecting them works."""

    def __init__(self, name: str) -> None:
        logging.Handler.__init__(self)
        self._name = name

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The stream of that name."""
        return getattr(sys, self._name)  # type: ignore[no-any-return]
