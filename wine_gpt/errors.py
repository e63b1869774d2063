"""The one exception for what a user can put right, and the one for a run that was stopped."""


class UserError(Exception):
    """Input, a setting or the machine is not as it must be; the message says what, where and what to do."""


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks, and its type where there is none."""
    return " ".join(str(error).split()) or type(error).__name__


class RunInterrupted(Exception):
    """A signal ended a run that can go on; the message says where it stands."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
