"""Trainings that are killed, stopped, moved or get non-finite values end with equal bits, or with an error.

The processes are real: forked, joined by gloo, killed by signals.
"""

import dataclasses
import functools
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.processes import kill_together
from support.toy_training import MODEL, TRAINING
from support.training_processes import (
    PATIENCE,
    Fault,
    Run,
    finish,
    micro_batches_begun,
    output_of,
    require_equal_ends,
    seen,
    start,
    start_server,
    train,
    wait_for_micro_batches,
)

from wine_gpt.training import checkpoint

# a checkpoint after each step, so that many kills hit one that is being written
OFTEN = dataclasses.replace(TRAINING, epochs=2, checkpoint_steps=1, keep_checkpoints=2, optimizer="muon")
# number of kills of each of two kinds of run
KILLS = 10

STEP = "wine_gpt.training.trainer.Trainer.train_step"
EPOCH_END = "wine_gpt.training.trainer.Trainer.end_epoch"
SAVE = "wine_gpt.training.trainer.Trainer.save_checkpoint"
SYNC = "wine_gpt.files.sync"
PRUNE = "wine_gpt.training.checkpoint.shutil.rmtree"
UPDATE = "wine_gpt.training.optimizer.MuonAdamW.step"

Whole = Callable[[int, int], Path]


def kill(call: Callable[[], Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_afterwards(call: Callable[[], Any]) -> None:
    call()
    kill(call)


def terminate(call: Callable[[], Any]) -> Any:  # noqa: ANN401
    os.kill(os.getpid(), signal.SIGTERM)
    return call()


def interrupt_and_terminate(call: Callable[[], Any]) -> Any:  # noqa: ANN401
    os.kill(os.getpid(), signal.SIGINT)
    return terminate(call)


def interrupt_twice(call: Callable[[], Any]) -> Any:  # noqa: ANN401
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    return call()


def poison_the_weights(call: functools.partial[Any]) -> Any:  # noqa: ANN401
    with torch.no_grad():
        call.args[0].module.model.transformer.ln_f.weight[0] = torch.inf
    return call()


def poison_the_gradient(call: functools.partial[Any]) -> Any:  # noqa: ANN401
    call.args[0].module.model.transformer.ln_f.weight.register_hook(lambda gradient: gradient * torch.nan)
    return call()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Return a function from micro-batches and processes to the folder of such a run without faults."""
    start_server()

    @functools.cache
    def trained(micro_batches: int, processes: int) -> Path:
        run = Run(tmp_path_factory.mktemp("whole"), dataclasses.replace(OFTEN, micro_batches=micro_batches))
        started = time.monotonic()
        assert train(run, processes) == [0] * processes, output_of(run)
        (run.folder / "seconds").write_text(str(time.monotonic() - started))
        return run.folder

    return trained


@pytest.fixture
def undisturbed(whole: Whole) -> Path:
    return whole(1, 1)


def losses(folder: Path) -> list[float]:
    """Return the training loss of each step."""
    newest, _ = checkpoint.load_newest(folder)
    assert newest is not None
    return [loss for _, loss in newest.state["training"]["curve"]]


# killed


@pytest.mark.parametrize(("accumulation", "processes"), [(1, 1), (3, 2)])
def test_killed_at_any_moment_it_ends_bit_for_bit_the_same(
    tmp_path: Path, whole: Whole, accumulation: int, processes: int
) -> None:
    micro_batches = accumulation * processes
    expected = whole(micro_batches, processes)
    run = Run(tmp_path / "first", dataclasses.replace(OFTEN, micro_batches=micro_batches))
    length = float((expected / "seconds").read_text())
    steps = len(losses(expected))
    moments = random.Random(f"{accumulation} {processes}")
    kills = resumable = finished = 0
    while kills < KILLS:
        begun = micro_batches_begun(run)
        started = start(run, processes)
        # A run is killed again and again before it ends, at some moment of one of its next steps and of the save after
        # it. By steps and not by time, because most of the time of a short run is its start.
        wait_for_micro_batches(run, begun + accumulation * moments.randint(0, steps // 2), started[0])
        time.sleep(moments.uniform(0, length / steps))
        kill_together(process.pid for process in started)
        codes = finish(started)
        assert set(codes) <= {0, -signal.SIGKILL}, output_of(run)
        kills += -signal.SIGKILL in codes
        if codes == [0] * processes:
            require_equal_ends(run.folder, expected)
            finished += 1
            run = dataclasses.replace(run, folder=run.folder.with_name(f"after-{finished}"))
        elif checkpoint.load_newest(run.folder)[0] is not None:
            resumable += 1
    assert resumable > KILLS / 2
    assert train(run, processes) == [0] * processes, output_of(run)
    require_equal_ends(run.folder, expected)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([(STEP, 2, kill)], id="before the first save"),
        pytest.param([(STEP, 3, kill), (STEP, 2, kill_afterwards)], id="twice in an epoch"),
        pytest.param([(EPOCH_END, 1, kill), (EPOCH_END, 1, kill_afterwards)], id="at an epoch's ends"),
        pytest.param([(SAVE, 3, kill), (SAVE, 2, kill_afterwards)], id="before a save and after one"),
        pytest.param([(PRUNE, 1, kill), (PRUNE, 2, kill_afterwards)], id="while pruning"),
    ],
)
def test_killed_at_a_given_point_it_ends_bit_for_bit_the_same(
    tmp_path: Path, undisturbed: Path, faults: list[tuple[str, int, Callable[[], None]]]
) -> None:
    run = Run(tmp_path, dataclasses.replace(OFTEN, micro_batches=1))
    published = False
    for fault in faults:
        assert train(dataclasses.replace(run, faults=(Fault(*fault),))) == [-signal.SIGKILL], output_of(run)
        newest, problems = checkpoint.load_newest(tmp_path)
        assert not problems
        # once there is one there always is one
        assert newest is not None or not published
        published = newest is not None
    assert train(run) == [0], output_of(run)
    require_equal_ends(tmp_path, undisturbed)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(STEP, 3, kill, rank=1), id="rank 1 in a step"),
        pytest.param(Fault(SYNC, 9, kill, rank=0), id="rank 0 while it saves"),
        pytest.param(Fault(SAVE, 2, kill, rank=1), id="rank 1 while rank 0 saves"),
    ],
)
def test_if_one_of_two_is_killed_the_other_ends_and_both_resume(tmp_path: Path, whole: Whole, fault: Fault) -> None:
    run = Run(tmp_path, dataclasses.replace(OFTEN, micro_batches=2))
    codes = train(dataclasses.replace(run, faults=(fault,)), processes=2)
    assert codes[fault.rank] == -signal.SIGKILL, output_of(run, fault.rank)
    # the process must end before finish() kills it
    assert codes[1 - fault.rank] not in (None, 0), f"rank {1 - fault.rank} still ran after {PATIENCE:g} s"
    assert train(run, processes=2) == [0, 0], output_of(run)
    require_equal_ends(tmp_path, whole(2, 2))


# stopped


def test_a_signal_to_one_process_stops_both_after_a_save(tmp_path: Path, whole: Whole) -> None:
    run = Run(tmp_path, dataclasses.replace(OFTEN, micro_batches=2, checkpoint_steps=0))
    stopped = dataclasses.replace(run, faults=(Fault(STEP, 4, terminate, rank=1),))
    assert train(stopped, processes=2) == [143, 143], output_of(run)
    line = r"stopped after step 4, which is saved in .*; to resume: .* --resume\n$"
    assert re.search(line, output_of(run))
    # printed once for the machine
    assert "stopped after" not in output_of(run, 1)
    assert train(run, processes=2) == [0, 0], output_of(run)
    require_equal_ends(tmp_path, whole(2, 2))


def test_a_signal_in_the_last_step_stops_a_training_that_reads_signals_late(tmp_path: Path) -> None:
    run = Run(tmp_path, dataclasses.replace(OFTEN, micro_batches=2), reads_late=True)
    stopped = dataclasses.replace(run, faults=(Fault(EPOCH_END, OFTEN.epochs, terminate, rank=1),))
    assert train(stopped, processes=2) == [143, 143], output_of(run)
    assert re.search(r"stopped after step \d+, which is saved in", output_of(run))


@pytest.mark.parametrize(("signals", "code"), [(interrupt_twice, 130), (interrupt_and_terminate, 143)])
def test_a_second_signal_leaves_at_once_and_the_older_checkpoint_stays(
    tmp_path: Path, undisturbed: Path, signals: Callable[[], Any], code: int
) -> None:
    run = Run(tmp_path, dataclasses.replace(OFTEN, micro_batches=1))
    # each save syncs seven times: in the middle of the third
    hurried = dataclasses.replace(run, faults=(Fault(SYNC, 17, signals),))
    assert train(hurried) == [code]
    assert output_of(run).endswith(
        "\nstopped at once: the last steps are not saved; resuming continues from the last checkpoint\n"
    )
    assert "Traceback" not in output_of(run)
    assert (tmp_path / ".tmp-step-00000003").exists()
    newest, problems = checkpoint.load_newest(tmp_path)
    assert newest is not None
    assert (newest.step, problems) == (2, [])
    assert train(run) == [0], output_of(run)
    require_equal_ends(tmp_path, undisturbed)


# moved to other processes


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run without faults on one process with one micro-batch per step."""
    run = Run(tmp_path_factory.mktemp("alone"), TRAINING)
    assert train(run) == [0], output_of(run)
    return run


@pytest.mark.parametrize(("processes", "micro_batches"), [(2, None), (4, None), (1, 3), (2, 4)])
def test_any_number_of_processes_and_micro_batches_sees_the_same_reviews_and_the_same_losses(
    alone: Run, tmp_path: Path, processes: int, micro_batches: int | None
) -> None:
    """Dropout included, which is seeded per review."""
    assert MODEL.dropout > 0
    run = Run(tmp_path, dataclasses.replace(TRAINING, micro_batches=micro_batches))
    assert train(run, processes) == [0] * processes, output_of(run)
    expected = losses(alone.folder)
    assert len(expected) > 15
    assert seen(run, range(processes)) == seen(alone, [0])
    assert losses(run.folder) == pytest.approx(expected, rel=1e-5)


def test_a_run_that_moves_from_two_processes_to_one_and_back_has_the_same_losses(alone: Run, tmp_path: Path) -> None:
    moved = Run(tmp_path, TRAINING)
    for processes in (2, 1):
        killed = tuple(Fault(STEP, 7, kill, rank) for rank in range(processes))
        assert train(dataclasses.replace(moved, faults=killed), processes) == [-signal.SIGKILL] * processes
    changed = "micro-batches: checkpoint 2, now 1; processes: checkpoint 2, now 1"
    assert f"note: the last bits of the result may differ, because the runtime changed: {changed}" in output_of(moved)
    assert train(moved, 2) == [0, 0], output_of(moved)
    assert seen(moved, [0, 1]) == seen(alone, [0])
    assert losses(moved.folder) == pytest.approx(losses(alone.folder), rel=1e-5)


def test_processes_that_do_not_divide_the_micro_batches_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path, dataclasses.replace(TRAINING, micro_batches=3))
    assert train(run, processes=2) == [2, 2]
    assert "error: 3 micro-batches cannot be divided among 2 processes: " in output_of(run, 0)
    assert "Traceback" not in output_of(run, 0) + output_of(run, 1)


# poisoned


@pytest.mark.parametrize(("what", "poison"), [("loss", poison_the_weights), ("gradient", poison_the_gradient)])
def test_a_non_finite_value_on_one_process_stops_both_before_the_update(
    tmp_path: Path, what: str, poison: Callable[[], Any]
) -> None:
    # a third update would end in a kill, not in an error
    faults = (Fault(STEP, 3, poison, rank=1), Fault(UPDATE, 3, kill, rank=0), Fault(UPDATE, 3, kill, rank=1))
    run = Run(tmp_path, dataclasses.replace(OFTEN, micro_batches=4), faults)
    assert train(run, processes=2) == [2, 2], output_of(run)
    # the second process has the second and the fourth micro-batch
    own = sorted(seen(run, [1])[2])
    line = f"error: step 3: the {what} on rank 1 is not finite, for reviews {own} of the split; step 2 is saved\n"
    assert output_of(run, 0).endswith(line), output_of(run)
    # printed once for the machine
    assert "error: " not in output_of(run, 1)
    newest, problems = checkpoint.load_newest(tmp_path)
    assert newest is not None
    assert (newest.step, problems) == (2, [])
