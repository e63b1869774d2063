"""The one exception for what a user can put right, and the exit code that goes with it."""

import functools
import sys
from collections.abc import Callable


class UserError(Exception):
    """Input, a setting or the machine is not as it must be; the message says what, where and what to do."""


def exits_cleanly(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap a script's ``main``: a :class:`UserError` becomes one line on stderr and exit code 2."""

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=sys.stderr)
            raise SystemExit(130) from None

    return wrapped
