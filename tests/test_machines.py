"""Processes and machines that differ are refused, an error is printed once, and a dead machine ends the others."""

import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.local_server import PATIENCE, reserved_port
from support.machines import Machines, network_namespaces
from support.processes import is_running, kill_together
from support.refused import refused
from support.small_run import ROOT, command, flags, write_reviews
from support.snapshot import snapshot
from support.system_faults import run_in_subprocess
from support.training_processes import script, scripts, start_server
from support.waiting import wait_until
from torch import distributed
from torch.distributed import distributed_c10d

from wine_gpt import processes
from wine_gpt.processes import join_processes, require_environment
from wine_gpt.run_folder import locked
from wine_gpt.training.accelerator import restored_state

HALT = str(ROOT / "tests" / "support" / "halt.py")
SLURM = str(ROOT / "configs" / "slurm.sh")
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

Outcome = tuple[object, str, str]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two files of reviews and two tokenizers."""
    start_server()
    folder = tmp_path_factory.mktemp("machines")
    for name, count in (("reviews", 150), ("other", 140)):
        write_reviews(folder / f"{name}.json", count)
    for size in (50, 60):
        tokenizer = [str(ROOT / "scripts" / "train_tokenizer.py"), "--data.path", str(folder / "reviews.json")]
        tokenizer += ["--tokenizer.vocab_size", str(size), "--output_dir", str(folder / f"words-{size}")]
        assert run_in_subprocess(script, tokenizer, folder / "cache")[0] == 0
    return folder


def error_of(outcome: Outcome) -> str:
    """Assert exit code 2 and one error line; return the line."""
    code, _, stderr = outcome
    assert code == 2, stderr
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    return line.removeprefix("error: ")


# ranks that differ


def other_version(rank: int) -> None:
    from wine_gpt.training import record

    record.__version__ += f".dev{rank}"


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"training__learning_rate": 0.5}, r"training.learning_rate: 0.004 on rank 0, 0.5 on rank 1"),
        (
            {"training__seed": 7, "training__epochs": 3},
            r"epochs: 2 on rank 0, 3 on rank 1; training.seed: 42 on rank 0",
        ),
        ({"training__checkpoint_steps": 4}, r"training.checkpoint_steps: 3 on rank 0, 4 on rank 1"),
        ({"data__path": "other.json"}, r"data: \w+ on rank 0, \w+ on rank 1.*needs the same data file"),
        ({"data__split_seed": 7}, r"data.split_seed: 42 on rank 0, 7 on rank 1"),
        ({"tokenizer__path": "words-60"}, r"tokenizer: \w+ on rank 0, \w+ on rank 1; every machine needs"),
        ({"generation__temperature": 0.5}, r"generation.temperature: 0.9 on rank 0, 0.5 on rank 1"),
        ({"resume": "latest"}, r"resume: None on rank 0, latest on rank 1"),
        ({}, r"wine_gpt: [\w.]+\.dev0 on rank 0, [\w.]+\.dev1 on rank 1"),
    ],
)
def test_machines_that_differ_are_refused_on_all_and_nothing_is_written(
    work: Path, settings: dict[str, object], difference: str
) -> None:
    for key in ("data__path", "tokenizer__path"):
        if key in settings:
            settings = {**settings, key: work / str(settings[key])}
    same = {"tokenizer__path": work / "words-50"} if "tokenizer__path" in settings else {}
    commands = [command(work, "differ", **same), command(work, "differ-1", **{**same, **settings})]
    outcomes = scripts(commands, work / "cache", **({} if settings else {"prepare": other_version}))
    lines = {error_of(outcome) for outcome in outcomes}
    assert len(lines) == 1
    assert re.search(rf"^rank 1 \({socket.gethostname()}\) differs from rank 0: .*{difference}", lines.pop())
    assert not (work / "differ").exists()
    assert not (work / "differ-1").exists()


def test_a_machine_that_does_not_see_the_checkpoint_is_refused(work: Path) -> None:
    code, _, stderr = run_in_subprocess(script, command(work, "seen"), work / "cache")
    assert code == 0, stderr
    (work / "seen" / "metrics.json").unlink()
    newest = max((work / "seen" / "checkpoints").glob("step-*"))
    shutil.rmtree(newest)
    before = snapshot(work / "seen")
    commands = [command(work, output, "--resume") for output in ("seen", "unseen")]
    lines = {error_of(outcome) for outcome in scripts(commands, work / "cache")}
    assert len(lines) == 1
    assert re.search(
        r"step: \d+ on rank 0, 0 on rank 1; put .*checkpoints on a disk that all machines share", lines.pop()
    )
    assert snapshot(work / "seen") == before
    assert not (work / "unseen").exists()


def test_machines_may_have_their_files_in_different_folders(work: Path) -> None:
    shutil.copytree(work / "words-50", work / "words-copy")
    shutil.copy(work / "reviews.json", work / "copy.json")
    copies: dict[str, object] = {"data__path": work / "copy.json", "tokenizer__path": work / "words-copy"}
    commands = [command(work, "first", tokenizer__path=work / "words-50"), command(work, "second", **copies)]
    assert [outcome[0] for outcome in scripts(commands, work / "cache")] == [0, 0]
    named = min((work / "first" / "checkpoints").glob("step-*"))
    mounted = [named, Path(shutil.copytree(named, work / "mounted" / named.name))]
    commands = [
        command(work, f"branch-{rank}", "--resume", str(path), tokenizer__path=work / "words-50")
        for rank, path in enumerate(mounted)
    ]
    outcomes = scripts(commands, work / "cache")
    assert [outcome[0] for outcome in outcomes] == [0, 0]
    assert f"resumed from step {int(named.name.removeprefix('step-'))}" in outcomes[0][1]


# one error line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training__epochs": 0}, "config: training.epochs is 0: must be at least 1"),
        ({"data__path": "none.json"}, "data.path: no such file: none.json"),
        ({"training__batch_tokens": 20}, "batch_tokens"),
        ({"training__mixed_precision": "fp16"}, "fp16"),
        ({"resume": "nowhere"}, "checkpoint nowhere: "),
    ],
)
def test_an_error_on_all_processes_of_a_machine_is_printed_once(
    work: Path, settings: dict[str, object], message: str
) -> None:
    outcomes = scripts([command(work, "wrong", **settings)] * 2, work / "cache", machines=False)
    assert re.search(message, error_of(outcomes[0]))
    code, _, stderr = outcomes[1]
    assert code == 2
    assert "error: " not in stderr
    assert not (work / "wrong").exists()


def test_a_wrong_flag_of_a_refit_is_printed_once(work: Path) -> None:
    arguments = [str(ROOT / "scripts" / "refit.py"), str(work / "none"), "--epochs", "3"]
    outcomes = scripts([arguments] * 2, work / "cache", machines=False)
    assert error_of(outcomes[0]).startswith("config: command line: unknown key epochs")
    assert outcomes[1][0] == 2
    assert "error: " not in outcomes[1][2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training__epochs": 0}, "rank 1: config: training.epochs is 0: must be at least 1"),
        ({"data__path": "none.json"}, "rank 1: data.path: no such file: none.json"),
    ],
)
def test_an_error_on_one_machine_ends_all_with_it(work: Path, settings: dict[str, object], message: str) -> None:
    outcomes = scripts([command(work, "right"), command(work, "right", **settings)], work / "cache")
    assert [error_of(outcome) for outcome in outcomes] == [message, message]
    assert not (work / "right").exists()


def other_launcher(rank: int) -> None:
    if rank:
        os.environ["ACCELERATE_DYNAMO_BACKEND"] = "inductor"


def little_memory(rank: int) -> None:
    from wine_gpt.modeling import gpt2

    if rank:
        gpt2.psutil.virtual_memory = lambda: SimpleNamespace(total=1000)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (other_launcher, "rank 1: ACCELERATE_DYNAMO_BACKEND=inductor is not supported: leave out --dynamo_backend"),
        (little_memory, "rank 1: model: 20,912 parameters take 0 GB, but the machine has 0 GB: lower model.n_embd"),
    ],
)
def test_what_one_machine_lacks_ends_all_with_its_error(
    work: Path, prepare: Callable[[int], None], message: str
) -> None:
    outcomes = scripts([command(work, "lacks")] * 2, work / "cache", prepare=prepare)
    assert [error_of(outcome)[: len(message)] for outcome in outcomes] == [message, message]
    assert not (work / "lacks" / "metrics.json").exists()


def test_a_locked_folder_ends_a_fine_tuning_on_all_machines(work: Path) -> None:
    """Also on those that do not lock it, which would wait for the first one."""
    assert run_in_subprocess(script, command(work, "base"), work / "cache")[0] == 0
    tuned = {"base": work / "base", "label": "country", "min_reviews": 5, "output_dir": work / "tuned"}
    arguments = [str(ROOT / "scripts" / "finetune.py"), "--task", "classify", *flags(tuned)]
    with locked(work / "tuned"):
        outcomes = scripts([arguments] * 2, work / "cache")
    message = f"{work / 'tuned'} is locked by pid {os.getpid()}, which is writing a run there"
    assert [error_of(outcome) for outcome in outcomes] == [message, message]


def slow_first_process(rank: int) -> None:
    module: Any = importlib.import_module("wine_gpt.training.pretrain")
    load_data, join = module._load_data, distributed.init_process_group

    def join_with_a_short_limit(**options: Any) -> None:  # noqa: ANN401 - of torch
        join(**options)
        # torch's limit is 30 minutes on a CPU, 10 on GPUs; it is shortened here, because joining has it too
        distributed_c10d._set_pg_timeout(timedelta(seconds=1))

    def load_slowly(*arguments: object) -> object:
        time.sleep(2)
        return load_data(*arguments)

    distributed.init_process_group = join_with_a_short_limit
    if rank == 0:
        module._load_data = load_slowly


def test_a_process_waits_longer_for_the_first_one_than_torch_does(work: Path) -> None:
    outcomes = scripts([command(work, "slow")] * 2, work / "cache", prepare=slow_first_process)
    assert [outcome[0] for outcome in outcomes] == [0, 0], outcomes


def second_process_without_power(rank: int) -> None:
    from wine_gpt.training.trainer import Trainer

    train_step = Trainer.train_step

    def train_step_late(trainer: Trainer[Any], step: int) -> None:
        time.sleep(6)
        train_step(trainer, step)

    processes.TRAINING_WAITS["gloo"] = timedelta(seconds=3)
    if rank == 1:
        Trainer.train_step = train_step_late  # type: ignore[method-assign]


def test_a_machine_that_sends_nothing_while_it_trains_is_noticed_after_torchs_limit(work: Path) -> None:
    outcomes = scripts([command(work, "silent")] * 2, work / "cache", prepare=second_process_without_power)
    assert error_of(outcomes[0]).startswith("rank 0 lost the connection to rank 1 on ")


# environment variables

LAUNCHED = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"WORLD_SIZE": "2"},
            "WORLD_SIZE=2, but not RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT: start with accelerate",
        ),
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE=abc, but not RANK"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK=0, but not WORLD_SIZE"),
        ({**LAUNCHED, "WORLD_SIZE": "abc"}, "but WORLD_SIZE must be an integer below 2147483648"),
        ({**LAUNCHED, "WORLD_SIZE": "0"}, "but WORLD_SIZE must be at least 1"),
        ({**LAUNCHED, "RANK": "5", "WORLD_SIZE": "1"}, "but RANK must be an integer below 1"),
        ({**LAUNCHED, "LOCAL_RANK": "-1"}, "but LOCAL_RANK must be an integer below 2"),
        ({**LAUNCHED, "MASTER_PORT": "http"}, "but MASTER_PORT must be an integer below 65536"),
        ({"ACCELERATE_USE_CPU": "maybe"}, "ACCELERATE_USE_CPU=maybe: must be true or false"),
        ({"ACCELERATE_USE_FSDP": ""}, "ACCELERATE_USE_FSDP=: must be true or false"),
        ({"ACCELERATE_TORCH_DEVICE": "gpu"}, "ACCELERATE_TORCH_DEVICE=gpu, which torch can't use"),
    ],
)
def test_a_wrong_environment_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert message in refused(require_environment)


def test_a_launchers_environment_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**LAUNCHED, "ACCELERATE_USE_CPU": "True", "ACCELERATE_TORCH_DEVICE": "cpu"}.items():
        monkeypatch.setenv(name, value)
    require_environment()


def test_variables_of_another_job_are_named_when_its_port_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name, value in {**LAUNCHED, "MASTER_PORT": str(taken.getsockname()[1])}.items():
            monkeypatch.setenv(name, value)
        with restored_state():
            message = refused(join_processes)
    assert re.search(r"^the processes of a launcher can't be joined: .* unset the launcher's .*EADDRINUSE", message)


def test_variables_of_another_job_are_named_when_its_processes_do_not_come(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {**LAUNCHED, "RANK": "1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "JOIN_SECONDS", 0.1)
    line = "waiting for other processes, because the environment has WORLD_SIZE=2, RANK=1, LOCAL_RANK=0"
    join = distributed.init_process_group

    def join_after_the_line(**options: Any) -> None:  # noqa: ANN401 - of torch
        wait_until(lambda: line in caplog.text, lambda: caplog.text)
        join(**options)

    monkeypatch.setattr(distributed, "init_process_group", join_after_the_line)
    # torch waits for half an hour
    monkeypatch.setattr(distributed_c10d, "default_pg_timeout", timedelta(seconds=2))
    with restored_state():
        refused(join_processes)
    assert line in caplog.text


def test_a_launcher_that_starts_one_process_for_several_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # what accelerate launch --cpu --num_processes 2 sets
    for name, value in {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    with restored_state():
        assert join_processes()
    assert "accelerate launch started one process" in caplog.text
    assert "--config_file configs/accelerate/cpu_processes.yaml" in caplog.text


# machines that are killed


@pytest.fixture
def machines(work: Path) -> Iterator[Machines]:
    """Return two machines with network namespaces of their own, or on loopback where they are not permitted."""
    start_server()
    with network_namespaces() as namespaces, reserved_port() as port:
        machines = Machines(work, namespaces, port)
        try:
            yield machines
        finally:
            machines.end()


def test_after_each_kill_both_machines_resume_to_the_same_bits(work: Path, machines: Machines) -> None:
    """Machine 1 has a folder of its own, to which the checkpoints are copied before it resumes."""
    settings: dict[str, object] = {"training__epochs": 3}
    outcomes = scripts([command(work, "alive", **settings)] * 2, work / "cache")
    assert [outcome[0] for outcome in outcomes] == [0, 0], outcomes
    outputs = [command(work, output, **settings) for output in ("shared", "own")]

    def halted_before(step: int, *more: str) -> None:
        machines.launch([[HALT, str(step), "1", *arguments, *more] for arguments in outputs])
        machines.wait_for(1, "halted")

    def require_failures() -> None:
        codes = machines.exit_codes(PATIENCE)
        # None of a launcher that still runs
        assert None not in codes, machines.output(0)
        assert 0 not in codes, machines.output(0)

    def copy_checkpoints() -> None:
        shutil.rmtree(work / "own", ignore_errors=True)
        shutil.copytree(work / "shared", work / "own")

    halted_before(12)
    locked = error_of(run_in_subprocess(script, [*outputs[0], "--resume"], work / "cache"))
    assert re.search(rf"is locked by pid ({'|'.join(map(str, machines.workers(0)))}),", locked)
    orphans = machines.workers(1)
    kill_together([machines.launchers[1].pid])
    require_failures()
    assert "stopped after step 13, which is saved" in machines.output(0)
    wait_until(lambda: not any(map(is_running, orphans)), lambda: machines.output(1))

    copy_checkpoints()
    halted_before(20, "--resume")
    kill_together([machines.launchers[1].pid, *machines.workers(1)])
    require_failures()
    assert f"error: rank 0 lost the connection to rank 1 on {socket.gethostname()}" in machines.output(0)

    copy_checkpoints()
    machines.launch([[*arguments, "--resume"] for arguments in outputs])
    assert machines.exit_codes(PATIENCE) == [0, 0], machines.output(0)
    weights = [(work / output / "model.safetensors").read_bytes() for output in ("alive", "shared")]
    assert weights[0] == weights[1]


# SLURM


@pytest.fixture
def slurm(tmp_path: Path, work: Path) -> dict[str, str]:
    """Return the environment of a SLURM job of one task, with stand-ins for srun, scontrol and the task's python."""
    stand_ins = {
        "srun": 'shift; SLURM_PROCID=0 SLURM_LOCALID=0 "$@"',
        "scontrol": f'if [ $1 = show ]; then echo 127.0.0.1; else echo "$@" >> {tmp_path}/requeued; fi',
        "python": f'echo $$ > {tmp_path}/task; ${{CODE:+exit $CODE}}; exec {sys.executable} $HALT "$@"',
    }
    for name, content in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{content}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NTASKS": "1", "SLURM_JOB_ID": "71"}
    job |= {"HF_DATASETS_CACHE": str(work / "cache"), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **job, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


@needs_bash
@pytest.mark.parametrize(
    ("code", "requeued"), [(0, False), (1, False), (2, False), (137, False), (138, True), (143, True)]
)
def test_slurm_requeues_a_job_that_saved_a_checkpoint(
    tmp_path: Path, slurm: dict[str, str], code: int, requeued: bool
) -> None:
    job = subprocess.run(["bash", SLURM], env={**slurm, "CODE": str(code)}, cwd=ROOT)
    assert job.returncode == code
    assert (tmp_path / "requeued").exists() == requeued


@needs_bash
def test_a_job_that_slurm_signals_is_requeued_and_its_second_start_finishes(
    work: Path, tmp_path: Path, slurm: dict[str, str]
) -> None:
    _, *arguments = command(work, "job")
    halting = {**slurm, "HALT": f"{HALT} 5 0"}
    first = subprocess.Popen(["bash", SLURM, *arguments], env=halting, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert any(line.startswith("halted") for line in first.stdout)
    os.kill(int((tmp_path / "task").read_text()), signal.SIGUSR1)
    assert first.wait() == 128 + signal.SIGUSR1
    assert (tmp_path / "requeued").read_text() == "requeue 71\n"
    # as the job's second start
    code, stdout, stderr = run_in_subprocess(script, command(work, "job", "--resume"), work / "cache")
    assert code == 0, stderr
    assert "resumed from step 6" in stdout
    whole = run_in_subprocess(script, command(work, "undisturbed"), work / "cache")
    assert whole[0] == 0, whole
    weights = [(work / output / "model.safetensors").read_bytes() for output in ("job", "undisturbed")]
    assert weights[0] == weights[1]
