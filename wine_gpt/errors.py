"""The one exception for what a user can put right, and the exit code that goes with it."""

import functools
import os
import shlex
import sys
from collections.abc import Callable


class UserError(Exception):
    """Input, a setting or the machine is not as it must be; the message says what, where and what to do."""


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks, and its type where there is none."""
    return " ".join(str(error).split()) or type(error).__name__


class Stopped(Exception):
    """A signal ended a run that can go on; the message says where it stands."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def exits_cleanly(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap a script's ``main``.

    A :class:`UserError` becomes one line on stderr and exit code 2. :class:`Stopped` adds the command that goes on.
    That, Ctrl-C at any other time, and a reader of the output that stops reading, as ``head`` does, end the script
    without a traceback, with the exit codes of the signals.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
            sys.stdout.flush()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except Stopped as stopped:
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
