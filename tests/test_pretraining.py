"""Pretraining as a user runs it: the scripts, the folder they leave, and what they refuse."""

import dataclasses
import errno
import fcntl
import json
import os
import random
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from safetensors.torch import load_file
from support.halt import halt_before
from support.local_server import PATIENCE
from support.processes import children
from support.refused import refused_script
from support.small_run import ROOT, SMALL, command, flags, write_reviews
from support.snapshot import snapshot
from support.system_faults import disk, run_in_subprocess
from support.training_processes import script, scripts, start_script, wait_for_line
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from wine_gpt.config import PretrainConfig, TrainingConfig
from wine_gpt.config_io import parse_config
from wine_gpt.errors import UserError
from wine_gpt.training.accelerator import accelerator_session, restored_state
from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.record import RunMetrics

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file")
CPU = (*LAUNCH, str(ROOT / "configs" / "accelerate" / "cpu.yaml"))
# any free port, because other launchers on this machine may use the default one
CPU_PROCESSES = (*LAUNCH, str(ROOT / "configs" / "accelerate" / "cpu_processes.yaml"), "--main_process_port", "0")
HALT = str(ROOT / "tests" / "support" / "halt.py")


Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 150 records and a cache for ``datasets``."""
    folder = tmp_path_factory.mktemp("pretraining")
    write_reviews(folder / "reviews.json")
    return folder


def run(arguments: list[str], work: Path, *, launcher: tuple[str, ...] = ()) -> Done:
    """Run by the launcher, or else in a process that has imported torch; assert exit code 0."""
    if launcher:
        done = subprocess.run([*launcher, *arguments], capture_output=True, text=True, env=environment(work))
    else:
        done = Done(arguments, *run_in_subprocess(script, arguments, work / "cache"))
    assert done.returncode == 0, done.stderr
    return done


def run_on_two(arguments: list[str], work: Path) -> list[tuple[str, str]]:
    """Run on two processes of one machine; assert exit code 0 and return stdout and stderr by rank."""
    outcomes = scripts([arguments] * 2, work / "cache", machines=False)
    assert [code for code, _, _ in outcomes] == [0, 0], outcomes
    return [(stdout, stderr) for _, stdout, stderr in outcomes]


def environment(work: Path) -> dict[str, str]:
    # the launcher kills processes that take longer than 30 seconds to save after SIGTERM
    patience = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{PATIENCE:g}"}
    return {**os.environ, **patience, "HF_DATASETS_CACHE": str(work / "cache"), "OMP_NUM_THREADS": "1"}


def losses(folder: Path) -> list[float]:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return [epoch["nats_per_word"] for epoch in metrics["training"]["epochs"]]


@pytest.fixture(scope="module")
def finished(work: Path) -> tuple[Path, Done]:
    """Return the folder and the output of a run by the launcher, with a tracker."""
    return work / "finished", run(command(work, "finished", training__trackers="tensorboard"), work, launcher=CPU)


# a finished run


def test_the_run_prints_its_data_progress_and_next_command(finished: tuple[Path, Done]) -> None:
    folder, done = finished
    lines, progress = done.stdout.splitlines(), done.stderr.splitlines()
    assert f"data: {folder.parent / 'reviews.json'}" in lines
    assert lines[0].startswith("precision: mixed no, float32 matmuls by ")
    assert [line.split(":")[0] for line in progress if line.startswith("epoch")] == ["epoch 1 of 2", "epoch 2 of 2"]
    few_steps = r"optimizer steps: \d+; with fewer than 300 most models are still learning at the end: raise training"
    assert sum(bool(re.match(few_steps, line)) for line in progress) == 1
    report = json.loads((folder / "data_report.json").read_text())
    (words,) = re.findall(r"^([\d,]+) training words: small\.yaml fits, ", done.stdout, re.MULTILINE)
    assert report["splits"]["train"] * 10 < int(words.replace(",", "")) < report["splits"]["train"] * 200
    assert any(line.startswith("test: ") and "nats per word" in line for line in lines)
    assert lines[-2] == f"saved: {folder}"
    assert lines[-1].startswith(f"next:  python scripts/generate.py {folder} --prompt")


def test_the_folder_loads_as_it_is(finished: tuple[Path, Done]) -> None:
    folder, _ = finished
    text = pipeline("text-generation", model=str(folder))("Wine review : Italy", max_new_tokens=5)[0]["generated_text"]
    assert text.startswith("Wine review : Italy ")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert len({file.stat().st_mode for file in folder.iterdir() if file.is_file()}) == 1
    assert model.config.vocab_size == len(tokenizer)
    assert tokenizer.model_max_length + 1 == model.config.n_positions == SMALL["model.block_size"]


def test_the_metrics_file_has_all_figures(finished: tuple[Path, Done]) -> None:
    folder, _ = finished
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for split in ("validation", "test"):
        assert 0 < metrics[split]["nats_per_word"] < 10
        assert metrics[split]["perplexity"] == pytest.approx(2.718281828 ** metrics[split]["nats_per_word"], rel=1e-4)
        assert 0 <= metrics[split]["unknown_rate"] < 0.5
    assert metrics["training"]["tokens_per_second"] > 0
    assert 0 < metrics["training"]["padding_fraction"] < 0.1
    assert metrics["peak_memory_bytes"]["resident"] > 10**8
    assert {"torch", "transformers", "wine_gpt"} <= metrics["environment"]["packages"].keys()
    # the best epoch's weights are the ones that were calibrated, scored and saved
    epochs = metrics["training"]["epochs"]
    best = min(epochs, key=lambda epoch: epoch["nats_per_word"])
    assert metrics["training"]["best_epoch"] == best["epoch"]
    assert metrics["training"]["logit_scale"] != 1
    assert metrics["validation"]["nats_per_word"] < best["nats_per_word"]


def test_the_run_can_be_repeated_from_its_folder(finished: tuple[Path, Done], work: Path) -> None:
    folder, _ = finished
    again = [str(ROOT / "scripts" / "pretrain.py"), str(folder / "config.yaml"), "--output_dir", str(work / "again")]
    run(again, work)
    assert losses(work / "again") == losses(folder)
    weights, expected = load_file(work / "again" / "model.safetensors"), load_file(folder / "model.safetensors")
    assert all(weights[name].equal(tensor) for name, tensor in expected.items())


def test_the_folder_has_samples_plots_and_the_data_report(finished: tuple[Path, Done]) -> None:
    folder, _ = finished
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [sample["epoch"] for sample in samples] == [1, 1, 1, 2, 2, 2]
    assert all(sample["text"].startswith("wine review") for sample in samples)
    report = json.loads((folder / "data_report.json").read_text(encoding="utf-8"))
    assert report["read"] == 150
    assert sum(report["splits"].values()) == report["kept"]
    events = EventAccumulator(str(folder / "wine_gpt"))
    events.Reload()
    test = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert events.Scalars("test/nats_per_word")[0].value == pytest.approx(test["nats_per_word"])
    assert events.Scalars("best_epoch")[0].value in (1, 2)
    assert all(rate.value > 0 for rate in events.Scalars("train/tokens_per_second"))
    assert [event.step for event in events.Tensors("samples/1/text_summary")] == [
        event.step for event in events.Scalars("validation/perplexity")
    ]
    hparams = yaml.safe_load(next(folder.glob("wine_gpt/*/hparams.yml")).read_text())
    assert hparams["training.epochs"] == 2
    assert isinstance(hparams["training.learning_rate"], float)
    assert not [file for file in folder.rglob("*") if file.name.startswith(".tmp") or file.suffix in (".bin", ".pkl")]


# resuming and starting over


def test_a_killed_run_resumes_to_the_same_weights(finished: tuple[Path, Done], work: Path) -> None:
    arguments = command(work, "killed")
    process = start_script(arguments, work / "cache", work / "killed.log", prepare=partial(halt_before, 3, "0"))
    wait_for_line("halted", work / "killed.log", process)
    process.kill()
    process.join()
    assert [path.name for path in (work / "killed" / "checkpoints").glob("step-*")] == ["step-00000003"]
    assert not (work / "killed" / "metrics.json").exists()
    # as a kill while the model is saved leaves them
    (work / "killed" / ".tmp-model-abcdefgh").mkdir()
    (work / "killed" / ".tmp-model-abcdefgh" / "model.safetensors").touch()
    (work / "killed" / f".tmp-{process.pid}-config.yaml").touch()
    assert "resumed from step " in run([*arguments, "--resume"], work).stdout
    assert losses(work / "killed") == losses(finished[0])
    assert not [*(work / "killed").glob(".tmp-*")]
    weights = load_file(work / "killed" / "model.safetensors")
    assert all(weights[name].equal(tensor) for name, tensor in load_file(finished[0] / "model.safetensors").items())


def test_two_processes_learn_what_one_learns(finished: tuple[Path, Done], work: Path) -> None:
    outputs = run_on_two(command(work, "two", training__character_ngrams=True), work)
    assert sum(stdout.count("saved: ") for stdout, _ in outputs) == 1
    assert sum(stderr.count("epoch 1 of 2") for _, stderr in outputs) == 1
    run(command(work, "one", training__character_ngrams=True), work)
    assert losses(work / "two") == pytest.approx(losses(work / "one"), abs=1e-4)
    assert losses(work / "one") != pytest.approx(losses(finished[0]), abs=1e-3)


def test_without_a_test_split_the_printed_score_is_named_after_the_validation_split(work: Path) -> None:
    done = run(command(work, "untested", training__epochs=1, data__test_fraction=0), work)
    score = json.loads((work / "untested" / "metrics.json").read_text(encoding="utf-8"))["validation"]
    assert f"\nvalidation: {score['nats_per_word']:.3f} nats per word" in done.stdout
    assert "test: " not in done.stdout


def test_a_trained_tokenizer_serves_several_runs(work: Path) -> None:
    script = str(ROOT / "scripts" / "train_tokenizer.py")
    settings = {"data.path": work / "reviews.json", "tokenizer.vocab_size": 50, "output_dir": work / "tokenizer"}
    assert run([script, *flags(settings)], work).stdout.splitlines()[-1] == f"saved: {work / 'tokenizer'}, 52 words"
    run(command(work, "shared", tokenizer__path=work / "tokenizer", training__epochs=1), work)
    saved = [(work / folder / "tokenizer.json").read_text(encoding="utf-8") for folder in ("tokenizer", "shared")]
    assert saved[0] == saved[1]


# wrong input


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], str]:
    """Return a function that runs a command line here, which must refuse its arguments, and returns the error."""

    def refuse(arguments: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", arguments)
        # a bar of the tokenization may stand before the error
        return refused_script(capsys, runpy.run_path, arguments[0], None, "__main__")

    return refuse


def test_a_finished_run_is_kept(finished: tuple[Path, Done], work: Path, refused: Callable[[list[str]], str]) -> None:
    before = snapshot(finished[0])
    assert f"{finished[0]} holds a finished run" in refused(command(work, "finished"))
    # --overwrite keeps it too if the new run can't start
    assert "no such file" in refused([*command(work, "finished", data__path=work / "none.json"), "--overwrite"])
    assert "batch_tokens" in refused([*command(work, "finished", training__batch_tokens=20), "--overwrite"])
    assert snapshot(finished[0]) == before


def test_a_run_is_not_written_over_the_tokenizer_that_it_reads(
    finished: tuple[Path, Done], work: Path, refused: Callable[[list[str]], str]
) -> None:
    before = snapshot(finished[0])
    line = refused([*command(work, "finished", tokenizer__path=finished[0]), "--overwrite"])
    assert line == f"output_dir: {finished[0]} is the folder of tokenizer.path itself: name another folder"
    assert snapshot(finished[0]) == before


def test_an_unfinished_run_is_kept(work: Path, refused: Callable[[list[str]], str]) -> None:
    checkpoint = work / "unfinished" / "checkpoints" / "step-00000003"
    checkpoint.mkdir(parents=True)
    assert "holds an unfinished run: --resume to continue" in refused(command(work, "unfinished"))
    assert checkpoint.exists()


def test_overwrite_starts_over_and_keeps_what_is_not_the_runs(work: Path) -> None:
    run(command(work, "twice", training__epochs=1), work)
    (work / "twice" / "notes.txt").write_text("mine")
    first = losses(work / "twice")
    run([*command(work, "twice", training__epochs=2), "--overwrite"], work)
    assert len(first) == 1
    assert len(losses(work / "twice")) == 2
    assert (work / "twice" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("removed", [".tmp", "checkpoints"])
def test_a_finished_run_that_is_resumed_prints_its_result(
    finished: tuple[Path, Done], work: Path, refused: Callable[[list[str]], str], removed: str
) -> None:
    """As SLURM does with a job that it requeues; with or without the checkpoints."""
    folder = work / f"requeued-{removed}"
    shutil.copytree(finished[0], folder, ignore=shutil.ignore_patterns(removed))
    before = (folder / "metrics.json").read_bytes()
    code, stdout, stderr = resume(work, folder.name)
    assert code == 0, stderr
    assert "finished already: " in stdout
    assert stdout.splitlines()[-3:-2] == finished[1].stdout.splitlines()[-3:-2]
    assert (folder / "metrics.json").read_bytes() == before
    settings = {"training__learning_rate": 0.5} if removed == ".tmp" else {"training__epochs": 3}
    line = refused([*command(work, folder.name, **settings), "--resume"])
    no_checkpoint = (
        f"{folder} is finished and has no checkpoint to train on from: name another --output_dir, or "
        "--overwrite to start over"
    )
    assert line.startswith("can't resume from step" if removed == ".tmp" else no_checkpoint)
    assert (folder / "metrics.json").read_bytes() == before


def test_a_finished_run_without_its_weights_is_not_called_finished(
    finished: tuple[Path, Done], work: Path, refused: Callable[[list[str]], str]
) -> None:
    folder = Path(shutil.copytree(finished[0], work / "weightless"))
    (folder / "model.safetensors").unlink()
    assert refused([*command(work, folder.name), "--resume"]) == (
        f"resume: {folder} is no finished run of pretraining: it has no model.safetensors: remove its "
        "metrics.json to train on from its newest checkpoint, if it has one"
    )
    (folder / "metrics.json").unlink()
    code, _, stderr = resume(work, folder.name)
    assert code == 0, stderr
    assert (folder / "model.safetensors").read_bytes() == (finished[0] / "model.safetensors").read_bytes()


def test_a_published_run_is_not_resumed(
    finished: tuple[Path, Done], work: Path, refused: Callable[[list[str]], str]
) -> None:
    folder = Path(shutil.copytree(finished[0], work / "published", ignore=shutil.ignore_patterns("checkpoints")))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    del metrics["settings"]
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    before = snapshot(folder)
    line = refused([*command(work, folder.name), "--resume"])
    assert line == f"{folder} is a published model, which can't be resumed: name another --output_dir"
    assert snapshot(folder) == before


def test_a_finished_run_gets_other_sampling_defaults(finished: tuple[Path, Done], work: Path) -> None:
    folder = Path(shutil.copytree(finished[0], work / "warmer"))
    (folder / "evaluation").mkdir()
    code, stdout, stderr = resume(work, "warmer", generation__temperature=0.5)
    assert code == 0, stderr
    assert "finished already: " in stdout
    assert (folder / "evaluation").is_dir()
    after = snapshot(folder)
    changed = [name for name, content in snapshot(finished[0]).items() if after[name] != content]
    assert sorted(changed) == ["config.yaml", "generation_config.json"]
    before, now = (
        json.loads((run / "generation_config.json").read_text(encoding="utf-8")) for run in (finished[0], folder)
    )
    assert now == {**before, "temperature": 0.5, "top_k": now["top_k"], "top_p": now["top_p"]}
    first, second = (parse_config(PretrainConfig, [str(run / "config.yaml")]) for run in (finished[0], folder))
    assert second == dataclasses.replace(first, generation=dataclasses.replace(first.generation, temperature=0.5))


def test_two_runs_cannot_use_one_folder(work: Path, refused: Callable[[list[str]], str]) -> None:
    arguments = command(work, "taken")
    first = start_script(arguments, work / "cache", work / "taken.log", prepare=partial(halt_before, 0, "0"))
    try:
        wait_for_line("halted", work / "taken.log", first)
        for more in ([], ["--resume"], ["--overwrite"]):
            assert f"{work / 'taken'} is locked by pid {first.pid}" in refused([*arguments, *more])
    finally:
        first.kill()
        first.join()
    # the lock of a process that is gone is taken over
    run([*command(work, "taken", training__epochs=1), "--overwrite"], work)


def test_a_folder_that_cannot_be_written_is_named(work: Path, refused: Callable[[list[str]], str]) -> None:
    (work / "file").write_text("")
    line = refused(command(work, "file/run"))
    assert line.startswith(f"output_dir: can't write to {work / 'file' / 'run'}")
    assert line.endswith("Not a directory")


def test_a_folder_that_cannot_be_locked_is_named_and_left_as_it_was(
    work: Path, refused: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    line = refused(command(work, "network-disk"))
    problem = f"can't lock {work / 'network-disk' / 'checkpoints'}: No locks available: name a folder on another disk"
    assert line == f"output_dir: {problem}"
    assert not (work / "network-disk").exists()


def on_a_read_only_disk(folder: Path, arguments: list[str], cache: Path) -> tuple[object, str, str]:
    with disk(folder, "size=64k", read_only=True):
        return script(arguments, cache)


def test_a_read_only_disk_is_named_before_any_work(work: Path) -> None:
    folder = work / "read-only"
    code, stdout, stderr = run_in_subprocess(
        on_a_read_only_disk, folder, command(work, "read-only/run"), work / "cache"
    )
    assert code == 2
    assert stderr == f"error: output_dir: can't write to {folder}/run/checkpoints: Read-only file system\n"
    # not even the data were read
    assert "data: " not in stdout


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data__path": "none.json"}, "data.path: no such file: none.json"),
        ({"data__validation_fraction": 0.0}, "none of the .* texts fell into the validation split"),
        ({"tokenizer__path": "."}, "tokenizer: . holds no tokenizer.json"),
        ({"tokenizer__vocab_size": 2}, "config: tokenizer.vocab_size is 2: must be at least 3"),
        ({"model__n_head": 3}, "config: model.n_embd is 16: must be a multiple of model.n_head, 3"),
        ({"model__block_size": 0}, "config: model.block_size is 0: must be at least"),
        ({"model__n_layer": "four"}, "model.n_layer"),
        ({"model__layers": 2}, "unknown key model.layers; did you mean model.n_layer?"),
        ({"training__batch_tokens": 20}, "batch_tokens"),
        ({"training__trackers": "trackio"}, r'trackio is not installed: pip install .*\[tracking\]"'),
        ({"training__micro_batches": 0}, "training.micro_batches is 0: must be at least 1"),
        (
            {"tokenizer__kind": "characters", "model__block_size": 12},
            "block_size is 12: too small for a text after the 11 characters of data.prefix: set it to at least 13",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    work: Path, refused: Callable[[list[str]], str], settings: dict[str, object], message: str
) -> None:
    line = refused(command(work, "wrong", **settings))
    assert re.search(message, line), line
    assert not (work / "wrong" / "config.json").exists()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, ", but not MASTER_ADDR"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "not supported: set training.micro_batches"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "ACCELERATE_DYNAMO_BACKEND=INDUCTOR is not supported"),
    ],
)
def test_a_launch_that_is_incomplete_or_changes_the_result_is_refused(
    work: Path,
    refused: Callable[[list[str]], str],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    message: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert message in refused(command(work, "launched"))
    assert not (work / "launched").exists()


def test_sagemakers_launcher_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_SAGEMAKER", "true")
    with (
        pytest.raises(UserError, match="not supported: SageMaker's library"),
        accelerator_session(TrainingConfig(), tmp_path),
    ):
        pass


@pytest.mark.parametrize("engine", ["FSDP", "DEEPSPEED", "PARALLELISM_CONFIG"])
def test_engines_that_shard_the_model_are_refused(
    work: Path, refused: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """Accelerate silently ignores FSDP on a CPU; on GPUs a checkpoint would hold only one shard of the weights."""
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    assert f"accelerate's config asks for {engine}, which is not supported" in refused(command(work, "sharded"))
    assert not (work / "sharded").exists()


# resuming


@pytest.fixture(scope="module")
def unfinished(finished: tuple[Path, Done], work: Path) -> Path:
    """Return the folder of a run that was killed in its last epoch; tests that write use a copy."""
    folder = work / "killed-late"
    shutil.copytree(finished[0], folder)
    (folder / "metrics.json").unlink()
    newest = max((folder / "checkpoints").glob("step-*"))
    shutil.rmtree(newest)
    return folder


def resume(work: Path, output: str, **settings: object) -> tuple[object, str, str]:
    return run_in_subprocess(script, [*command(work, output, **settings), "--resume"], work / "cache")  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"data__prefix": "beer review"}, {"data", "data.prefix", "tokenizer"}),
        ({"data__split_seed": 7}, {"data", "data.split_seed", "tokenizer"}),
        ({"tokenizer__vocab_size": 60}, {"tokenizer", "tokenizer.vocab_size"}),
        ({"model__n_layer": 2}, {"model.n_layer"}),
        ({"model__dropout": 0.5}, {"model.dropout"}),
        ({"training__batch_tokens": 1025}, {"training.batch_tokens"}),
        ({"training__learning_rate": 0.5, "training__seed": 1}, {"training.learning_rate", "training.seed"}),
        ({"training__mixed_precision": "bf16"}, {"training.mixed_precision"}),
        ({"training__epochs": 1}, {"training.epochs"}),
    ],
)
def test_resuming_with_what_changes_the_result_is_refused_and_writes_nothing(
    unfinished: Path, work: Path, settings: dict[str, object], names: set[str]
) -> None:
    before = snapshot(unfinished)
    code, _, stderr = resume(work, unfinished.name, **settings)
    line = stderr.splitlines()[-1]
    assert code == 2
    assert line.startswith("error: can't resume from step ")
    assert {part.split(":")[0] for part in line.split(": ", 2)[2].split("; ")} == names
    assert snapshot(unfinished) == before


@pytest.mark.parametrize("what", ["data", "tokenizer"])
def test_resuming_with_other_data_or_another_tokenizer_is_refused(unfinished: Path, work: Path, what: str) -> None:
    if what == "data":
        records = json.loads((work / "reviews.json").read_text(encoding="utf-8"))
        records[7]["description"] += " More."
        (work / "changed.json").write_text(json.dumps(records), encoding="utf-8")
        settings: dict[str, object] = {"data__path": work / "changed.json"}
    else:
        tokenizer = json.loads((unfinished / "tokenizer.json").read_text(encoding="utf-8"))
        words = tokenizer["model"]["vocab"]
        words["wine"], words["review"] = words["review"], words["wine"]
        shutil.copytree(unfinished, work / "swapped", ignore=shutil.ignore_patterns("checkpoints"))
        (work / "swapped" / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        settings = {"tokenizer__path": work / "swapped"}
    before = snapshot(unfinished)
    code, _, stderr = resume(work, unfinished.name, **settings)
    assert code == 2
    assert re.search(rf"error: can't resume from step \d+: .*\b{what}: not the same ", stderr)
    assert snapshot(unfinished) == before


def test_settings_that_change_no_result_may_differ_on_resume(
    unfinished: Path, work: Path, finished: tuple[Path, Done]
) -> None:
    shutil.copytree(unfinished, work / "harmless")
    shutil.copy(work / "reviews.json", work / "moved.json")
    settings: dict[str, object] = {
        "data__path": work / "moved.json",
        "training__keep_checkpoints": 7,
        "training__keep_epochs": "false",
        "training__checkpoint_steps": 1,
        "training__trackers": "none",
        "training__micro_batches": 1,
        "generation__temperature": 0.5,
    }
    code, stdout, stderr = resume(work, "harmless", **settings)
    assert code == 0, stderr
    assert "resumed from step " in stdout
    assert losses(work / "harmless") == losses(finished[0])
    generation = json.loads((work / "harmless" / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["temperature"] == 0.5


def test_a_checkpoint_of_another_run_begins_a_run_and_replaces_none(
    finished: tuple[Path, Done], unfinished: Path, work: Path, refused: Callable[[list[str]], str]
) -> None:
    (named,) = (unfinished / "checkpoints").glob("step-*")
    before = snapshot(finished[0])
    line = refused([*command(work, "finished"), "--resume", str(named)])
    assert line.startswith(f"{finished[0]} holds a finished run: name another --output_dir, ")
    assert snapshot(finished[0]) == before
    # what a run that was killed before its first checkpoint has left
    shutil.copytree(finished[0] / "epochs", work / "branch" / "epochs")
    code, _, stderr = run_in_subprocess(script, [*command(work, "branch"), "--resume", str(named)], work / "cache")
    assert code == 0, stderr
    assert losses(work / "branch") == losses(finished[0])
    index = json.loads((work / "branch" / "epochs" / "index.json").read_text())
    assert [epoch["epoch"] for epoch in index["epochs"]] == [2]
    assert not (work / "branch" / "epochs" / "epoch-000.safetensors").exists()


def test_a_damaged_checkpoint_is_skipped_unless_it_was_named(
    unfinished: Path, work: Path, finished: tuple[Path, Done]
) -> None:
    shutil.copytree(unfinished, work / "damaged")
    (older,) = (work / "damaged" / "checkpoints").glob("step-*")
    newest = older.with_name("step-99999999")
    shutil.copytree(older, newest)
    (newest / "weights.safetensors").write_bytes(b"")
    code, _, stderr = run_in_subprocess(script, [*command(work, "damaged"), "--resume", str(newest)], work / "cache")
    assert code == 2
    assert f"error: checkpoint {newest}: weights.safetensors is damaged: sha256 " in stderr
    code, stdout, stderr = resume(work, "damaged")
    assert code == 0, stderr
    assert f"skipped: checkpoint {newest}: weights.safetensors is damaged: sha256 e3b0c442" in stdout
    assert f"resumed from step {int(older.name.removeprefix('step-')):,}" in stdout
    assert losses(work / "damaged") == losses(finished[0])


def test_if_all_checkpoints_are_damaged_nothing_starts_over(unfinished: Path, work: Path) -> None:
    shutil.copytree(unfinished, work / "ruined")
    for saved in (work / "ruined" / "checkpoints").glob("step-*"):
        (saved / "state.json").unlink()
    before = snapshot(work / "ruined")
    code, _, stderr = resume(work, "ruined")
    assert code == 2
    assert re.search(r"error: no good checkpoint in .*state.json is missing; .*to start over, say --overwrite", stderr)
    assert snapshot(work / "ruined") == before


# stopping


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_saves_and_prints_how_to_resume(work: Path, number: signal.Signals, code: int) -> None:
    name = f"stopped-{number.name}"
    arguments = command(work, name, training__epochs=1000, training__checkpoint_steps=0)
    log = work / f"{name}.log"
    process = start_script(arguments, work / "cache", log)
    wait_for_line("epoch 2", log, process)
    assert process.pid is not None
    # a terminal that is closed and its shell each send SIGHUP
    for _ in range(2 if number == signal.SIGHUP else 1):
        os.kill(process.pid, number)
    process.join(PATIENCE)
    assert process.exitcode == code
    require_stopped_run(work, name, arguments, log.read_text(encoding="utf-8"), ["python"])


def test_a_signal_to_the_launcher_saves_and_prints_how_to_resume(work: Path) -> None:
    arguments = command(work, "stopped", training__epochs=1000, training__checkpoint_steps=0)
    process = subprocess.Popen([*CPU_PROCESSES, *arguments], env=environment(work), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    stderr = ""
    for line in process.stderr:
        stderr += line
        if line.startswith("epoch 2"):
            process.send_signal(signal.SIGTERM)
            break
    stderr += process.stderr.read()
    # the launcher has an exit code of its own
    assert process.wait() != 0
    require_stopped_run(work, "stopped", arguments, stderr, ["python", *CPU_PROCESSES[1:]])


def require_stopped_run(work: Path, name: str, arguments: list[str], printed: str, typed: list[str]) -> None:
    """Assert that a run saved its last step, printed how to resume, and can't be resumed with fewer epochs."""
    step = int(re.findall(r"stopped after step ([\d,]+), which is saved", printed)[0].replace(",", ""))
    assert f"; to resume: {shlex.join([*typed, *arguments, '--resume'])}\n" in printed
    saved = max((work / name / "checkpoints").glob("step-*"))
    assert int(saved.name.removeprefix("step-")) == step >= 20
    code, _, stderr = resume(work, name, training__epochs=3)
    assert code == 2
    assert "training.epochs: checkpoint 1000, now 3" in stderr


def test_a_killed_process_ends_the_run_which_then_resumes(work: Path) -> None:
    run_on_two(command(work, "both", training__epochs=3), work)
    arguments = command(work, "one-killed", training__epochs=3)
    launched = subprocess.Popen(
        [*CPU_PROCESSES, HALT, "15", "1", *arguments],
        env=environment(work),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert launched.stderr is not None
    stderr = ""
    for line in launched.stderr:
        stderr += line
        if line.startswith("epoch 1"):
            break
    workers = children(launched.pid)
    ranks = {pid: environment_of(pid).get("RANK") for pid in workers}
    (second,) = [pid for pid, rank in ranks.items() if rank == "1"]
    os.kill(second, signal.SIGKILL)
    stderr += launched.stderr.read()
    assert launched.wait() != 0
    assert re.search(r"rank\s*: 1 .*\n.*exitcode\s*: -9", stderr), stderr
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    # launched, so that the launcher of two processes is also seen to end well
    run([*arguments, "--resume"], work, launcher=CPU_PROCESSES)
    assert losses(work / "one-killed") == losses(work / "both")


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


# called from Python


def settings(work: Path, output: str, **changes: object) -> PretrainConfig:
    """Return a small run's config, read as the command line is."""
    return parse_config(PretrainConfig, command(work, output, training__epochs=1, **changes)[1:])


def process_state() -> dict[str, object]:
    """Return the process-wide state that a training could change and a caller could notice."""
    return {
        "accelerate": [dict(state._shared_state) for state in (PartialState, AcceleratorState, GradientState)],
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index] # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "matmul": torch.backends.mkldnn.matmul.fp32_precision,  # type: ignore[attr-defined]
        "autocast": torch.is_autocast_enabled("cpu"),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "folder": Path.cwd(),
    }


def test_pretrain_runs_twice_in_one_process_with_other_settings_and_leaves_no_state(work: Path, cache: Path) -> None:
    before = process_state()
    pretrain(settings(work, "bf16", training__mixed_precision="bf16", training__trackers="tensorboard"))
    assert process_state() == before
    pretrain(settings(work, "fp32", training__mixed_precision="no"))
    assert process_state() == before
    precisions = [RunMetrics.load(work / name).training.mixed_precision for name in ("bf16", "fp32")]
    assert precisions == ["bf16", "no"]
    assert not any((work / "fp32").glob("**/events.out.tfevents*"))
    # the caller's own Accelerator, made before or after, keeps its precision
    # other tests of this process may have left one with another precision
    with restored_state():
        own = Accelerator(cpu=True, mixed_precision="bf16")
        pretrain(settings(work, "beside_another", training__mixed_precision="no"))
        assert own.mixed_precision == "bf16"
    assert losses(work / "beside_another") == losses(work / "fp32")


def test_a_resumed_run_continues_its_log_of_tensorboard(work: Path, cache: Path) -> None:
    changes: dict[str, object] = {"training__trackers": "tensorboard", "training__mixed_precision": "no"}
    pretrain(settings(work, "logged", **changes))
    first = logged_steps(work / "logged")
    assert len(first["validation/perplexity"]) == 1
    longer = dataclasses.replace(settings(work, "logged", **changes), resume="latest")
    pretrain(dataclasses.replace(longer, training=dataclasses.replace(longer.training, epochs=2)))
    both = logged_steps(work / "logged")
    assert len(both["validation/perplexity"]) == 2
    for name, steps in both.items():
        assert steps == sorted(set(steps)), name
        assert steps[: len(first[name])] == first[name]


def logged_steps(folder: Path) -> dict[str, list[int]]:
    """Return the steps of each value in a run's log."""
    events = EventAccumulator(str(folder / "wine_gpt"))
    events.Reload()
    return {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_a_refused_pretrain_leaves_no_state(work: Path, cache: Path) -> None:
    before = process_state()
    with pytest.raises(UserError, match="batch_tokens"):
        pretrain(settings(work, "refused", training__batch_tokens=20))
    assert process_state() == before


def test_pretrain_runs_in_a_thread_and_calls_the_hook(work: Path, cache: Path) -> None:
    steps: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(
            pretrain,
            settings(work, "thread"),
            on_step=lambda step, micro_batches: steps.append(step),
        ).result()
    assert run.score.nats_per_word > 0
    metrics = RunMetrics.load(run.folder)
    assert steps == list(range(metrics.training.steps))
    assert (run.folder / "checkpoints" / f"step-{metrics.training.steps:08d}").is_dir()
