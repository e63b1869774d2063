"""Join the processes of a launcher, raise an error of one process on all, and compare settings between them.

accelerate is imported within the functions, because it loads torch, which takes seconds.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from wine_gpt.errors import UserError, one_line
from wine_gpt.files import JsonObject

logger = logging.getLogger(__name__)

T = TypeVar("T")

# what a launcher such as torchrun sets for each process
LAUNCHER_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

# seconds of joining the processes after which a line says what is waited for
JOIN_SECONDS = 20.0
# how long a process waits for another one before and after the steps of a training, such as for the main process that
# reads a large corpus
LONGEST_WAIT = timedelta(days=1)
# how long it waits during the steps, by torch's backend: torch's own limits, after which a machine without power or
# network is noticed; a process that ends is noticed at once, because its connection is closed
TRAINING_WAITS = {"gloo": timedelta(minutes=30), "nccl": timedelta(minutes=10)}
# seconds between two looks at the launcher
WATCH_INTERVAL = 1.0
# what the messages of gloo and of torch's stores say when another process has died
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket Timeout", "Timed out waiting")


def is_launched() -> bool:
    """Return whether a launcher set LOCAL_RANK, so that this process must join a group."""
    # not by accelerate's PartialState, because a process without a launcher need not load torch for it
    return "LOCAL_RANK" in os.environ


def has_launcher() -> bool:
    """Return whether a launcher started this process, also as the only one, for which LOCAL_RANK is not set."""
    return is_launched() or {"ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_MIXED_PRECISION"} <= os.environ.keys()


def join_processes() -> bool:
    """Join the processes that a launcher started and return whether this is the main process, which prints.

    Accelerate joins processes without a GPU only if ``cpu`` is true.

    Raises:
        UserError: if the environment variables of the launcher are incomplete or wrong.
    """
    require_environment()
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # accelerate's launcher sets MASTER_ADDR for several processes, and starts one if they have no GPU
    if os.environ.keys() >= {"ACCELERATE_USE_CPU", "MASTER_ADDR"} and not is_launched():
        logger.warning(
            "accelerate launch started one process, since --cpu with --num_processes needs MPI: for several take "
            "--config_file configs/accelerate/cpu_processes.yaml"
        )
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    try:
        with _named_wait():
            is_main_process = bool(PartialState(cpu=cpu).is_main_process)
    # torch's errors of networks and stores are RuntimeErrors
    except (ValueError, RuntimeError) as error:
        raise UserError(describe_join_failure(error)) from error
    wait_for_work()
    return is_main_process


def wait_for_work() -> None:
    """Let joined processes wait for each other for :data:`LONGEST_WAIT`; torch's limit stays that of joining."""
    if _backend() in TRAINING_WAITS:
        _limit_waits(LONGEST_WAIT)


@contextlib.contextmanager
def shorter_waits() -> Iterator[None]:
    """Let joined processes wait for each other for the time of :data:`TRAINING_WAITS` only, also after an error."""
    if (limit := TRAINING_WAITS.get(_backend())) is None:
        yield
        return
    _limit_waits(limit)
    yield
    _limit_waits(LONGEST_WAIT)


def _limit_waits(limit: timedelta) -> None:
    from torch.distributed.distributed_c10d import _set_pg_timeout

    _set_pg_timeout(limit)


@contextlib.contextmanager
def _named_wait() -> Iterator[None]:
    """Warn of the launcher's variables if joining takes long, because those of another job wait for its processes."""
    named = ", ".join(f"{name}={os.environ[name]}" for name in LAUNCHER_VARIABLES if name in os.environ)
    message = f"waiting for other processes, because the environment has {named}: start them, or unset these variables"
    timer = threading.Timer(JOIN_SECONDS, logger.warning, [f"{message} to train in one process"])
    timer.daemon = True
    if is_launched():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def require_environment() -> None:
    """Check the variables of launchers and of accelerate, because a wrong one hangs or ends in a traceback.

    Raises:
        UserError: with the variable, its value and what to do.
    """
    from accelerate.utils import str_to_bool

    if os.environ.keys() & {"RANK", "LOCAL_RANK", "WORLD_SIZE"}:
        _require_ranks()
    for name, value in os.environ.items():
        if name.startswith("ACCELERATE_USE_"):
            try:
                str_to_bool(value.lower())
            except ValueError:
                raise UserError(f"the environment has {name}={value}: must be true or false, or unset it") from None
    if device := os.environ.get("ACCELERATE_TORCH_DEVICE"):
        import torch

        try:
            torch.empty(1, device=device)
        # torch raises an AssertionError without CUDA
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"the environment has ACCELERATE_TORCH_DEVICE={device}, which torch can't use: unset it, or take cpu "
                f"({one_line(error)})"
            ) from error


def _require_ranks() -> None:
    """Check a launcher's variables: all are set, are integers, and the ranks are below the number of processes."""
    found = {name: os.environ[name] for name in LAUNCHER_VARIABLES if name in os.environ}
    advice = "start with accelerate launch, or unset them to train in one process"
    described = f"the environment has a launcher's variables {', '.join(f'{name}={found[name]}' for name in found)}"
    if missing := [name for name in LAUNCHER_VARIABLES if name not in found]:
        raise UserError(f"{described}, but not {', '.join(missing)}: {advice}")
    if not found["WORLD_SIZE"].strip("0"):
        raise UserError(f"{described}, but WORLD_SIZE must be at least 1: {advice}")
    below = {"WORLD_SIZE": "2147483648", "MASTER_PORT": "65536", "RANK": found["WORLD_SIZE"]}
    below["LOCAL_RANK"] = below["RANK"]
    for name, limit in below.items():
        # in this order, so that the number of processes is one before a rank is compared with it
        if not (found[name].isdecimal() and int(found[name]) < int(limit)):
            raise UserError(f"{described}, but {name} must be an integer below {limit}: {advice}")


def describe_join_failure(error: Exception) -> str:
    """Return the error for processes that can't be joined, as by MPI without an address, or by a port in use."""
    return (
        "the processes of a launcher can't be joined: start with accelerate launch, or unset the launcher's "
        f"environment variables to train in one process ({one_line(error)})"
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


def on_main_process(work: Callable[[], T]) -> T:
    """Do the work on the main process, for which the others wait; all return its result, which should be small.

    Raises:
        UserError: on all processes if the work raised one.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    results: list[Any] = [None]
    with shared_errors():
        if PartialState().is_main_process:
            results = [work()]
    result: T = broadcast_object_list(results)[0]
    return result


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
    # a process that a launcher started as the only one has left its group already
    if getattr(error, "on_all_processes", False) and _is_joined():
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
    if not has_launcher():
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


def _is_joined() -> bool:
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _backend() -> str:
    """Return torch's backend that joins this process with others; empty for a process that is alone."""
    import torch

    return str(torch.distributed.get_backend()) if _is_joined() else ""
