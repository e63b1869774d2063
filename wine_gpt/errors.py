"""The one exception for what a user can put right, and the exit code that goes with it."""

import functools
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Input, a setting or the machine is not as it must be; the message says what, where and what to do."""


def exits_cleanly(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap a script's ``main``.

    A :class:`UserError` becomes one line on stderr and exit code 2; a reader of the output that stops reading, as
    ``head`` does, and Ctrl-C end the script without a traceback, with the exit codes of the signals.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
            sys.stdout.flush()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=sys.stderr)
            raise SystemExit(130) from None
        except BrokenPipeError:
            # else Python's own flush at exit fails again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None

    return wrapped
