"""The frame of each command: its parser, one-line errors and exit codes."""

import argparse
import contextlib
import functools
import importlib
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NoReturn, ParamSpec

from wine_gpt.command_names import launcher_command, program_name, resume_command
from wine_gpt.errors import LONE_SURROGATE, RunInterrupted, UserError, is_out_of_memory, one_line
from wine_gpt.imports import limit_openmp_spin, search_garbage_rarely
from wine_gpt.processes import prints, wait_until_printed
from wine_gpt.streams import configure_logging, discard_output, flushed_stdout, prepare_streams, print_error

P = ParamSpec("P")


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
    name = "whole number" if kind is int else "number"

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is no {name} from {low:g} to {high:,}{advice}")
        return value

    return read


def exits_cleanly(main: Callable[P, None]) -> Callable[P, None]:
    """Wrap the ``main`` of a command.

    A :class:`UserError` becomes one line on stderr and exit code 2. A :class:`RunInterrupted` becomes one line with
    the command that resumes the run, and its signal's exit code. Ctrl-C and a closed stdout (as by ``head``) end the
    process with their signals' exit codes and no traceback. Characters that the terminal's encoding lacks are escaped.
    """

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        limit_openmp_spin()
        search_garbage_rarely()
        prepare_streams()
        configure_logging()
        # now, because a launcher that is killed leaves its processes to save and to print how to resume
        launcher = launcher_command()
        with _recorded_interrupt() as interrupt:
            try:
                _require_text(sys.argv)
                with flushed_stdout():
                    main(*args, **kwargs)
            except UserError as error:
                _print_once(f"error: {error}", error)
                raise SystemExit(2) from None
            except RunInterrupted as stopped:
                _print_once(f"{stopped}; to resume: {resume_command(launcher)}", stopped)
                raise SystemExit(128 + stopped.signal) from None
            except BrokenPipeError:
                discard_output(sys.stdout)
                raise SystemExit(141) from None
            except (KeyboardInterrupt, Exception) as error:
                if refusal := _refusal_of_device(error):
                    print_error(f"error: {refusal} ({one_line(error)})")
                    raise SystemExit(2) from None
                if not (interrupt.is_set() or isinstance(error, KeyboardInterrupt)):
                    raise
                print_error("stopped by Ctrl-C")
                raise SystemExit(130) from None

    return wrapped


def _print_once(line: str, error: UserError | RunInterrupted) -> None:
    """Print a line on stderr, on one process of each machine if all processes raise the error."""
    if prints(error):
        print_error(line)
    wait_until_printed(error)


def command_main(name: str) -> Callable[[], None]:
    """Return the ``main`` of a command, which imports it so that Ctrl-C ends the import cleanly too.

    Args:
        name: the name of a module in :mod:`wine_gpt.commands`.
    """

    @exits_cleanly
    def main() -> None:
        importlib.import_module(f"wine_gpt.commands.{name}").main()

    return main


def _refusal_of_device(error: BaseException) -> str:
    """Return what the device can't do and what helps, an empty string for other errors."""
    if is_out_of_memory(error):
        return "out of memory: raise training.micro_batches on a GPU, or lower the batch size or the model's sizes"
    if "MPS" in str(error) and isinstance(error, NotImplementedError | TypeError | RuntimeError):
        cpu = "PYTORCH_ENABLE_MPS_FALLBACK=1 for this operation, or ACCELERATE_USE_CPU=true for all"
        return f"Apple's GPU (MPS) can't compute this: use the CPU, with the variable {cpu}"
    return ""


@contextlib.contextmanager
def _recorded_interrupt() -> Iterator[threading.Event]:
    """Record Ctrl-C, because a module that it interrupts while it is imported may raise another error instead."""
    interrupted = threading.Event()

    def record(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.default_int_handler(number, frame)

    is_main_thread = threading.current_thread() is threading.main_thread()
    if not is_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupted
        return
    signal.signal(signal.SIGINT, record)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse bytes that Python could not decode, because no file of a run can hold them."""
    for argument in arguments:
        if LONE_SURROGATE.search(argument):
            encoding = sys.getfilesystemencoding()
            raise UserError(f"command line: {argument!r} is not {encoding}: in a shell, export PYTHONUTF8=1 for UTF-8")
