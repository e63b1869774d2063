"""Command-line helpers: one-line errors, exit codes, logging, and the parser of options that are not settings."""

import argparse
import contextlib
import errno
import functools
import gc
import importlib
import io
import logging
import math
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, ParamSpec, TextIO

from wine_gpt.errors import LONE_SURROGATE, RunInterrupted, UserError, one_line
from wine_gpt.processes import prints, wait_until_printed

P = ParamSpec("P")

# how long an idle thread of GNU's OpenMP spins before it sleeps
OPENMP_SPIN = "GOMP_SPINCOUNT"
# objects after which garbage is looked for during an import; without any search the import needs more memory
IMPORTED_OBJECTS = 20_000


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
    process with their signals' exit codes and no traceback. Characters that the terminal's encoding lacks are escaped.
    """

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        limit_openmp_spin()
        prepare_streams()
        configure_logging()
        with _recorded_interrupt() as interrupt:
            try:
                _require_docstrings()
                _require_text(sys.argv)
                with _flushed_stdout():
                    main(*args, **kwargs)
            except UserError as error:
                _print_once(f"error: {error}", error)
                raise SystemExit(2) from None
            except RunInterrupted as stopped:
                _print_once(f"{stopped}; to resume: {_resume_command()}", stopped)
                raise SystemExit(128 + stopped.signal) from None
            except BrokenPipeError:
                _discard_output(sys.stdout)
                raise SystemExit(141) from None
            except (KeyboardInterrupt, Exception) as error:
                if refusal := _refusal_of_device(error):
                    _print_error(f"error: {refusal} ({one_line(error)})")
                    raise SystemExit(2) from None
                if not (interrupt.is_set() or isinstance(error, KeyboardInterrupt)):
                    raise
                _print_error("stopped by Ctrl-C")
                raise SystemExit(130) from None

    return wrapped


def _refusal_of_device(error: BaseException) -> str:
    """Return what the device can't do and what helps, an empty string for other errors."""
    if is_out_of_memory(error):
        return "out of memory: lower the batch size or the model's sizes"
    if "MPS" in str(error) and isinstance(error, NotImplementedError | TypeError | RuntimeError):
        cpu = "PYTORCH_ENABLE_MPS_FALLBACK=1 for this operation, or ACCELERATE_USE_CPU=true for all"
        return f"Apple's GPU (MPS) can't compute this: use the CPU, with the variable {cpu}"
    return ""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is Python's, NumPy's or torch's for memory that can't be allocated."""
    # by name and message, because torch need not be loaded, and raises a RuntimeError on a CPU
    return isinstance(error, MemoryError) or any(
        sign in f"{type(error).__name__}: {error}" for sign in ("OutOfMemoryError", "can't allocate memory")
    )


def command_main(name: str) -> Callable[[], None]:
    """Return the ``main`` of a command, which imports it so that Ctrl-C ends the import cleanly too.

    Args:
        name: the name of a module in :mod:`wine_gpt.commands`.
    """

    @exits_cleanly
    def main() -> None:
        importlib.import_module(f"wine_gpt.commands.{name}").main()

    return main


def prepare_streams() -> None:
    """Escape what a stream's encoding lacks, and open the streams that the caller closed on the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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


def _require_docstrings() -> None:
    """Refuse ``python -OO``, because transformers reads docstrings when it is imported."""
    if sys.flags.optimize > 1:
        raise UserError("python -OO and PYTHONOPTIMIZE=2 remove docstrings that transformers needs: use -O at most")


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse bytes that Python could not decode, because no file of a run can hold them."""
    for argument in arguments:
        if LONE_SURROGATE.search(argument):
            encoding = sys.getfilesystemencoding()
            raise UserError(f"command line: {argument!r} is not {encoding}: in a shell, export PYTHONUTF8=1 for UTF-8")


@contextlib.contextmanager
def _flushed_stdout() -> Iterator[None]:
    """Flush stdout on leaving, raise for a closed pipe, and report a full disk in one line."""
    try:
        yield
        sys.stdout.flush()
        if any(getattr(handler, "is_closed", False) for handler in logging.getLogger("wine_gpt").handlers):
            raise BrokenPipeError
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _discard_output(sys.stdout)
            raise UserError(f"can't write {error.filename or 'the output'}: {error.strerror}") from None
        raise


def _discard_output(stream: TextIO) -> None:
    """Connect a stream to the null device, because Python flushes it again at exit, which would raise again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print_error(line: str) -> None:
    """Print on stderr, which may be closed by now."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard_output(sys.stderr)


def _print_once(line: str, error: UserError | RunInterrupted) -> None:
    """Print a line on stderr, on one process of each machine if all processes raise the error."""
    if prints(error):
        _print_error(line)
    wait_until_printed(error)


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


@contextlib.contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Import torch or other large packages, and search their many objects for garbage only a few times.

    The time that this saves: ``benchmarks/RESULTS.md``. Once torch is imported, it has no effect.
    """
    if "torch" in sys.modules:
        yield
        return
    thresholds = gc.get_threshold()
    gc.set_threshold(IMPORTED_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        # the packages' objects live until the end
        gc.freeze()
        gc.set_threshold(*thresholds)


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
        self.is_closed = False

    def format(self, record: logging.LogRecord) -> str:
        """Return the message without accelerate's prefix ``[RANK 0]``, because only that process logs."""
        return super().format(record).removeprefix("[RANK 0] ")

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a message for a closed pipe or terminal; :func:`_flushed_stdout` reports the pipe at the end."""
        error = sys.exc_info()[1]
        self.is_closed = self.is_closed or isinstance(error, BrokenPipeError)
        if not isinstance(error, OSError):
            super().handleError(record)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The stream of that name."""
        return getattr(sys, self._name)  # type: ignore[no-any-return]
