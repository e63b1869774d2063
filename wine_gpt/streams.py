"""The standard streams: closed or of a narrow encoding, flushed at the end, and written to by the package's log."""

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from wine_gpt.errors import UserError


def prepare_streams() -> None:
    """Escape what a stream's encoding lacks, and open the streams that the caller closed on the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def configure_logging() -> None:
    """Print the package's log messages without level or time: INFO on stdout, warnings and errors on stderr."""
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
    """Looks up ``sys.stdout`` or ``sys.stderr`` at each write, so that redirecting them works."""

    def __init__(self, name: str) -> None:
        logging.Handler.__init__(self)
        self._name = name
        self.lost_stdout = False

    def format(self, record: logging.LogRecord) -> str:
        """Return the message without accelerate's prefix ``[RANK 0]``, because only that process logs."""
        return super().format(record).removeprefix("[RANK 0] ")

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a message for a closed pipe or terminal; :func:`flushed_stdout` reports the pipe at the end."""
        error = sys.exc_info()[1]
        if self._name == "stdout" and isinstance(error, BrokenPipeError):
            self.lost_stdout = True
        if not isinstance(error, OSError):
            super().handleError(record)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The stream of that name."""
        return getattr(sys, self._name)  # type: ignore[no-any-return]


@contextlib.contextmanager
def flushed_stdout() -> Iterator[None]:
    """Flush stdout on leaving, raise for a closed pipe, and report a full disk in one line."""
    try:
        yield
        sys.stdout.flush()
        if any(getattr(handler, "lost_stdout", False) for handler in logging.getLogger("wine_gpt").handlers):
            raise BrokenPipeError
    except OSError as error:
        if error.errno == errno.ENOSPC:
            discard_output(sys.stdout)
            raise UserError(f"can't write {error.filename or 'the output'}: {error.strerror}") from None
        raise


def discard_output(stream: TextIO) -> None:
    """Connect a stream to the null device, because Python flushes it again at exit, which would raise again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_error(line: str) -> None:
    """Print on stderr, which may be closed by now."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        discard_output(sys.stderr)
