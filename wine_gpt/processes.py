"""Join the processes of a launcher, raise an error of one process on all, and compare settings between them.

accelerate is imported within the functions, because it loads torch, which takes seconds.
"""

import contextlib
import os
import platform
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from wine_gpt.errors import UserError, one_line
from wine_gpt.files import JsonObject

T = TypeVar("T")

# seconds between two looks at the launcher
WATCH_INTERVAL = 1.0
# what the messages of gloo and of torch's stores say when another process has died
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket Timeout", "Timed out waiting")


def is_launched() -> bool:
    """Return whether a launcher such as accelerate's or torchrun started this process as one of several."""
    # not by accelerate's PartialState, because a process without a launcher need not load torch for it
    return "LOCAL_RANK" in os.environ


def joins_as_main_process() -> bool:
    """Join the processes that a launcher started and return whether this is the main process, which prints.

    Accelerate joins processes without a GPU only if ``cpu`` is true.

    Raises:
        UserError: if the environment variables of the launcher are incomplete.
    """
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    try:
        return bool(PartialState(cpu=cpu).is_main_process)
    except ValueError as error:
        raise UserError(describe_join_failure(error)) from error


def describe_join_failure(error: ValueError) -> str:
    """Name the environment variables that a launcher sets, some of which are set and others are not."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    found = ", ".join(f"{name}={os.environ[name]}" for name in names if name in os.environ)
    missing = ", ".join(name for name in names if name not in os.environ)
    return (
        f"the environment has a launcher's variables {found or 'of MPI'}, but not {missing}: start with "
        f"accelerate launch, or unset them to train in one process ({one_line(error)})"
    )


@contextlib.contextmanager
def shared_errors() -> Iterator[None]:
    """Raise a :class:`UserError` of any process inside on all processes, when all have left.

    Inside, a process must not wait for another one.

    Raises:
        UserError: the first process's error, with its rank if the main process has none.
    """
    error = None
    try:
        yield
    except UserError as raised:
        error = raised
    if not _is_joined():
        if error is not None:
            raise error
        return
    from accelerate.utils import gather_object

    messages = gather_object([None if error is None else str(error)])
    failed = {rank: message for rank, message in enumerate(messages) if message is not None}
    if failed:
        rank, message = next(iter(failed.items()))
        raise on_all_processes(UserError(message if rank == 0 else f"rank {rank}: {message}")) from error


def main_process_first(work: Callable[[], T]) -> T:
    """Do the work on the main process and then on the others, which find its cache; return this process's result.

    Raises:
        UserError: on all processes if the work raised one on any process.
    """
    from accelerate import PartialState

    results = []
    for turn in (True, False):
        with shared_errors():
            if PartialState().is_main_process == turn:
                results.append(work())
    return results[0]


def require_equal(values: JsonObject, advice: str) -> None:
    """Check that all processes have equal values.

    Args:
        values: by the name that the error has for them.
        advice: what to do if they differ; ends the error.

    Raises:
        UserError: on all processes, with the first rank that differs from rank 0 and each difference.
    """
    if not _is_joined():
        return
    from accelerate.utils import gather_object

    everyone: list[tuple[str, JsonObject, str]] = gather_object([(socket.gethostname(), values, advice)])
    # the main process's advice for all, because it may name a path of the machine
    _, first, advice = everyone[0]
    for rank, (machine, own, _) in enumerate(everyone):
        differences = [
            f"{name}: {first.get(name)} on rank 0, {own.get(name)} on rank {rank}"
            for name in sorted(first.keys() | own.keys())
            if first.get(name) != own.get(name)
        ]
        if differences:
            message = f"rank {rank} ({machine}) differs from rank 0: {'; '.join(differences)}; {advice}"
            raise on_all_processes(UserError(message))


ErrorT = TypeVar("ErrorT", bound=BaseException)


def on_all_processes(error: ErrorT) -> ErrorT:
    """Mark an error that all processes raise, so that only one process of each machine prints it."""
    error.on_all_processes = True  # type: ignore[attr-defined]
    return error


def prints(error: BaseException) -> bool:
    """Return whether this process prints an error: the first one of a machine, if all processes raise the error."""
    if not getattr(error, "on_all_processes", False):
        return True
    from accelerate import PartialState

    return bool(PartialState().is_local_main_process)


def wait_until_printed(error: BaseException) -> None:
    """Wait for the process that prints, because a launcher ends all processes once the first has ended."""
    if getattr(error, "on_all_processes", False):
        from accelerate import PartialState

        # another process may have died meanwhile
        with contextlib.suppress(RuntimeError):
            PartialState().wait_for_everyone()


@contextlib.contextmanager
def named_lost_process() -> Iterator[None]:
    """Turn the error of torch after another process or its machine has died into a :class:`UserError`."""
    machines = _machines()
    try:
        yield
    except RuntimeError as error:
        if not machines or not any(sign in str(error) for sign in LOST):
            raise
        from accelerate import PartialState

        own = PartialState().process_index
        others = ", ".join(f"rank {rank} on {name}" for rank, name in enumerate(machines) if rank != own)
        raise UserError(
            f"rank {own} lost the connection to {'' if len(machines) == 2 else 'one of '}{others}, whose process or "
            f"machine died; start all again with --resume ({one_line(error)})"
        ) from error


def _machines() -> list[str]:
    """Return each rank's machine and process id; empty for a process that is alone."""
    if not _is_joined():
        return []
    from accelerate.utils import gather_object

    return list(gather_object([f"{socket.gethostname()} (pid {os.getpid()})"]))


@contextlib.contextmanager
def watched_launcher() -> Iterator[None]:
    """Send this process SIGTERM when its launcher is gone, so that a run is saved and no process is left behind.

    A process without a launcher is not watched, because its shell may end before it, as with ``nohup``.
    """
    # accelerate's launcher of one process does not set LOCAL_RANK
    if not (is_launched() or {"ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_MIXED_PRECISION"} <= os.environ.keys()):
        yield
        return
    launcher, ended = os.getppid(), threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_INTERVAL):
            if os.getppid() != launcher:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, name="watch the launcher", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def versions() -> JsonObject:
    """Return the versions that decide a result: of Python, torch, transformers and wine_gpt."""
    import torch
    import transformers

    from wine_gpt.version import __version__

    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "wine_gpt": __version__,
    }


def _is_joined() -> bool:
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized()
