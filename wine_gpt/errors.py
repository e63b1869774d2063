"""The exceptions: one for errors that a user can fix, one for a run that a signal stopped."""

import re

# half of a pair of UTF-16, which Python's texts can hold and UTF-8 cannot
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class UserError(Exception):
    """A wrong input or setting, or a problem of the machine; the message says what is wrong, where and what to do."""


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks, or the name of its type if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__


def require_characters(name: str, text: str) -> None:
    """Check that a text can be encoded in UTF-8.

    Args:
        name: what the text is, at the beginning of the error.
        text: any text.

    Raises:
        UserError: if it holds a lone surrogate; the message has its position.
    """
    if found := LONE_SURROGATE.search(text):
        raise UserError(
            f"{name}: character {found.start() + 1:,} is {found[0]!r}, a lone surrogate, which UTF-8 lacks: "
            'remove it, or decode the text with errors="replace"'
        )


class RunInterrupted(Exception):
    """A signal stopped a run that can be resumed; the message names the saved step."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is Python's, NumPy's or torch's for memory that can't be allocated."""
    # by name and message, because torch need not be loaded, and raises a RuntimeError on a CPU
    return isinstance(error, MemoryError) or any(
        sign in f"{type(error).__name__}: {error}" for sign in ("OutOfMemoryError", "can't allocate memory")
    )
