"""Run toy trainings in processes forked from one that has imported torch, because the import takes seconds.

A fault is injected at a given call, so that it occurs at an exactly repeatable moment.
"""

import contextlib
import functools
import gc
import io
import json
import multiprocessing
import os
import pkgutil
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import datasets
import torch

from support.local_server import PATIENCE, reserved_port
from support.toy_training import TRAINING, make_splits, make_tokenizer, make_trainer
from support.waiting import wait_until
from wine_gpt.cli import exits_cleanly
from wine_gpt.config import TrainingConfig
from wine_gpt.data.batching import Indices
from wine_gpt.training import checkpoint

# The server forks before it has any thread: without this setting pyarrow's allocator would start one.
os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
SERVER = multiprocessing.get_context("forkserver")
# what the trainings import, also later, because each of the many processes would need seconds for it
IMPORTS = ["wine_gpt.training.pretrain", "wine_gpt.tokenizer.prepare", "matplotlib.figure"]
SERVER.set_forkserver_preload([*IMPORTS, "hypothesis.strategies", "pytest"])
# Each forked process imports this module: leave what it inherits out of its garbage collections.
gc.freeze()
# keeps this process's port reserved
RESERVED = contextlib.ExitStack()


@dataclass(frozen=True)
class Fault:
    """A fault of one process: ``act`` replaces the n-th call of the function named ``where``.

    ``act`` gets the original call as a function without arguments, and returns what the caller gets.
    """

    where: str
    call: int
    act: Callable[[Callable[[], Any]], Any]
    rank: int = 0


@dataclass(frozen=True)
class Run:
    """A training that starts or resumes in ``folder``, with its checkpoints and the files ``output-RANK``.

    ``reads_late`` makes it read losses and signals a step late, as on a GPU.
    """

    folder: Path
    config: TrainingConfig = TRAINING
    faults: tuple[Fault, ...] = field(default=())
    reads_late: bool = False


def start_server() -> None:
    """Start the server and wait for its imports."""
    first = SERVER.Process(target=int)
    first.start()
    first.join()


def start(run: Run, processes: int = 1) -> list[ForkServerProcess]:
    """Start a run and return its processes by rank."""
    started = [SERVER.Process(target=_train, args=(run, rank, processes, _port())) for rank in range(processes)]
    for process in started:
        process.start()
    return started


def finish(processes: list[ForkServerProcess]) -> list[int | None]:
    """Wait for the processes, at most PATIENCE; return the exit codes by rank, −9 for a kill."""
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    return codes


def train(run: Run, processes: int = 1) -> list[int | None]:
    """Run to the end; return the exit codes by rank."""
    return finish(start(run, processes))


def script(arguments: list[str], cache: Path) -> tuple[object, str, str]:
    """Run a script in this forked process; return exit code, stdout and stderr."""
    datasets.config.HF_DATASETS_CACHE = cache
    torch.set_num_threads(1)
    sys.argv = arguments
    code: object = 0
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(arguments[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    return code, out.getvalue(), err.getvalue()


def start_script(
    arguments: list[str], cache: Path, log: Path, *, prepare: Callable[[], object] = int
) -> ForkServerProcess:
    """Start a script in a forked process that prints to ``log``.

    Args:
        arguments: the script and its arguments.
        cache: the cache of ``datasets``.
        log: a new file, or a terminal, for stdout and stderr.
        prepare: called in the process before the script.
    """
    process = SERVER.Process(target=_logged_script, args=(arguments, cache, log, prepare))
    process.start()
    return process


def wait_for_line(start: str, log: Path, process: ForkServerProcess) -> None:
    """Wait until a process of :func:`start_script` has printed a line that starts so; assert that it runs."""

    def printed() -> str:
        return log.read_text(encoding="utf-8") if log.exists() else ""

    wait_until(lambda: any(line.startswith(start) for line in printed().splitlines()), printed, alive=process.is_alive)


def _logged_script(arguments: list[str], cache: Path, log: Path, prepare: Callable[[], object]) -> None:
    _print_to(log)
    # as in a terminal, also if the tests run by nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    datasets.config.HF_DATASETS_CACHE = cache
    torch.set_num_threads(1)
    prepare()
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


def scripts(
    commands: list[list[str]],
    cache: Path,
    *,
    machines: bool = True,
    prepare: Callable[[int], object] = int,
) -> list[tuple[object, str, str]]:
    """Run a script on as many processes of one training; return exit code, stdout and stderr by rank.

    Args:
        commands: each process's arguments, which begin with the script.
        cache: the cache of ``datasets``.
        machines: whether each process has a machine of its own, as a launcher's environment describes it.
        prepare: called in each process with its rank, before the script.
    """
    port = _port()
    queue = SERVER.Queue()
    started = [
        SERVER.Process(
            target=_script_of_rank, args=(queue, command, cache, rank, len(commands), port, machines, prepare)
        )
        for rank, command in enumerate(commands)
    ]
    for process in started:
        process.start()
    try:
        results = dict(queue.get(timeout=2 * PATIENCE) for _ in started)
    finally:
        finish(started)
    return [results[rank] for rank in range(len(commands))]


def _script_of_rank(
    queue: Any,  # noqa: ANN401 - multiprocessing has no public type for it
    command: list[str],
    cache: Path,
    rank: int,
    processes: int,
    port: int,
    machines: bool,
    prepare: Callable[[int], object],
) -> None:
    _set_rank(rank, 0 if machines else rank, processes, port)
    prepare(rank)
    queue.put((rank, script(command, cache)))


def wait_for_micro_batches(run: Run, count: int, process: ForkServerProcess) -> None:
    """Wait until a run's first process has begun as many micro-batches, earlier runs included, or has ended."""
    wait_until(lambda: not process.is_alive() or micro_batches_begun(run) >= count, lambda: output_of(run))


def micro_batches_begun(run: Run) -> int:
    """Return how many micro-batches a run's first process has begun, earlier runs included."""
    file = run.folder / "seen-0"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def output_of(run: Run, rank: int = 0) -> str:
    """Return what a process printed, earlier runs in the folder included."""
    return (run.folder / f"output-{rank}").read_text(encoding="utf-8")


def seen(run: Run, ranks: Iterable[int]) -> dict[int, list[int]]:
    """Return the reviews of each step, in ascending order, as these processes saw them, earlier runs included."""
    steps: dict[int, set[int]] = {}
    for rank in ranks:
        for line in (run.folder / f"seen-{rank}").open():
            step, reviews = json.loads(line)
            steps.setdefault(step, set()).update(reviews)
    return {step: sorted(reviews) for step, reviews in steps.items()}


def require_equal_ends(folder: Path, other: Path) -> None:
    """Assert that two runs ended with equal bits: weights, best weights, optimizer, losses, figures and samples."""
    (first, problems), (second, more_problems) = checkpoint.load_newest(folder), checkpoint.load_newest(other)
    assert problems == more_problems == []
    assert first is not None
    assert second is not None
    assert first.step == second.step
    assert first.tensors.keys() == second.tensors.keys()
    for group, tensors in first.tensors.items():
        assert tensors.keys() == second.tensors[group].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, second.tensors[group][name]), (group, name)
    states = [{**end.state["training"], "seconds": 0} for end in (first, second)]
    assert states[0] == states[1]


@functools.cache
def _port() -> int:
    return RESERVED.enter_context(reserved_port())


def _set_rank(rank: int, local_rank: int, processes: int, port: int) -> None:
    """Set the environment variables of a launcher."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # accelerate would set more threads, and with their number the last bits of the result change
        "OMP_NUM_THREADS": "1",
    }


def _print_to(file: Path) -> None:
    """Append this process's stdout and stderr to a file."""
    output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    # new streams, because one keeps whether its first file can seek
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(output, number)
        setattr(sys, name, os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False))


def _train(run: Run, rank: int, processes: int, port: int) -> None:
    if processes > 1:
        _set_rank(rank, rank, processes, port)
    run.folder.mkdir(parents=True, exist_ok=True)
    _print_to(run.folder / f"output-{rank}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for fault in run.faults:
        if fault.rank == rank:
            _arm(fault)
    exits_cleanly(functools.partial(_train_from_newest, run, rank))()


def _train_from_newest(run: Run, rank: int) -> None:
    on_step = _recorder(run.folder / f"seen-{rank}")
    trainer = make_trainer(run.folder, make_tokenizer(), make_splits(), run.config, on_step=on_step)
    trainer.updater.reads_late = run.reads_late
    newest, problems = checkpoint.load_newest(run.folder)
    # an incomplete checkpoint must not even look like a checkpoint
    assert not problems, problems
    if newest is not None:
        trainer.resume(newest)
    trainer.run()


def _recorder(file: Path) -> Callable[[int, list[Indices]], None]:
    """Return a function that appends the step and the indices of its reviews to a file before each step."""
    lines = file.open("a", buffering=1)

    def record(step: int, micro_batches: list[Indices]) -> None:
        for indices in micro_batches:
            lines.write(json.dumps([step, indices.tolist()]) + "\n")

    return record


def _arm(fault: Fault) -> None:
    owner_name, _, name = fault.where.rpartition(".")
    owner, calls = pkgutil.resolve_name(owner_name), 0
    real = getattr(owner, name)

    def replaced(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        again = functools.partial(real, *arguments, **named)
        return fault.act(again) if calls == fault.call else again()

    setattr(owner, name, replaced)
