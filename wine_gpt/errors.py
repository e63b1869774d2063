"""The exceptions: one for errors that a user can fix, one for a run that a signal stopped."""


class UserError(Exception):
    """A wrong input or setting, or a problem of the machine; the message says what is wrong, where and what to do."""


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks, or the name of its type if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__


class RunInterrupted(Exception):
    """A signal stopped a run that can be resumed; the message names the saved step."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
