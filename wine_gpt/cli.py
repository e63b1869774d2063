"""Command-line helpers: one-line errors, exit codes, logging, and the parser of options that are not settings."""

import argparse
import contextlib
import functools
import logging
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, ParamSpec, TextIO

from wine_gpt.errors import RunInterrupted, UserError

P = ParamSpec("P")

# how long an idle thread of GNU's OpenMP spins before it sleeps
OPENMP_SPIN = "GOMP_SPINCOUNT"


class Parser(argparse.ArgumentParser):
    """The parser of a command, which reports a wrong command line in one line.

    Args:
        command: the command's name, such as ``generate``.
        description: the text above the options in ``--help``, printed as it is.
    """

    def __init__(self, command: str, description: str | None) -> None:
        super().__init__(
            prog=program_name(command),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise the error that ``exits_cleanly`` prints."""
        raise UserError(f"{message}; see --help")


def number(kind: Callable[[str], float], low: float, high: float, advice: str = "") -> Callable[[str], float]:
    """Return an argparse type for numbers from ``low`` to ``high``; ``advice`` ends its error message."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is no number from {low:g} to {high:,}{advice}")
        return value

    return read


def exits_cleanly(main: Callable[P, None]) -> Callable[P, None]:
    """Wrap the ``main`` of a command.

    A :class:`UserError` becomes one line on stderr and exit code 2. A :class:`RunInterrupted` becomes one line with
    the command that resumes the run, and its signal's exit code. Ctrl-C and a closed stdout (as by ``head``) end the
    process with their signals' exit codes and no traceback.
    """

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        limit_openmp_spin()
        configure_logging()
        try:
            main(*args, **kwargs)
            sys.stdout.flush()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except RunInterrupted as stopped:
            print(f"{stopped}; to resume: {_resume_command()}", file=sys.stderr)
            raise SystemExit(128 + stopped.signal) from None
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=sys.stderr)
            raise SystemExit(130) from None
        except BrokenPipeError:
            # Python flushes stdout again at exit, which would raise the error again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None

    return wrapped


def limit_openmp_spin() -> None:
    """Let idle OpenMP threads sleep after a short spin, because spinning takes cores from other processes.

    GNU's OpenMP reads the variable when torch is loaded. Its effect: ``benchmarks/RESULTS.md``.
    """
    os.environ.setdefault(OPENMP_SPIN, "1000")


@contextlib.contextmanager
def limited_openmp_spin() -> Iterator[None]:
    """Limit the spin of an OpenMP that is loaded inside, and leave the environment as it was."""
    before = os.environ.get(OPENMP_SPIN)
    limit_openmp_spin()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(OPENMP_SPIN, None)


def command_line() -> str:
    """Return the command that started this process, as a user would type it again."""
    program, *arguments = sys.argv
    path = Path(program)
    if path.name == "__main__.py":
        return shlex.join(["python", "-m", "wine_gpt", *arguments])
    return shlex.join(["python", program, *arguments] if path.suffix == ".py" else [path.name, *arguments])


def program_name(command: str) -> str:
    """Return a command's name in its usage: ``wine-gpt pretrain``, or the name of the script that runs."""
    return Path(sys.argv[0]).name if _is_script() else f"wine-gpt {command}"


def sibling_command(command: str) -> str:
    """Return what to type for another command: a script if this process runs a script, else ``wine-gpt NAME``."""
    path = Path(sys.argv[0])
    if not _is_script():
        return f"python -m wine_gpt {command}" if path.name == "__main__.py" else f"wine-gpt {command}"
    script = path.with_name(f"{command.replace('-', '_')}.py")
    return f"python {script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script}"


def _is_script() -> bool:
    path = Path(sys.argv[0])
    return path.suffix == ".py" and path.name != "__main__.py"


def _resume_command() -> str:
    from torch.distributed import is_torchelastic_launched

    words = [word for word in shlex.split(command_line()) if word not in ("--overwrite", "--resume")]
    if is_torchelastic_launched():
        words[: 1 if words[0] == "python" else 0] = ["accelerate", "launch"]
    return shlex.join([*words, "--resume"])


def joins_as_main_process() -> bool:
    """Join the processes that accelerate launched and return whether this is the main process, which prints.

    Accelerate joins processes without a GPU only if ``cpu`` is true.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return bool(PartialState(cpu=cpu).is_main_process)


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

    def format(self, record: logging.LogRecord) -> str:
        """Return the message without accelerate's prefix ``[RANK 0]``, because only that process logs."""
        return super().format(record).removeprefix("[RANK 0] ")

    def handleError(self, record: logging.LogRecord) -> None:
        """Let a closed pipe end the command, as it does for ``print``."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise
        super().handleError(record)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The stream of that name."""
        return getattr(sys, self._name)  # type: ignore[no-any-return]
