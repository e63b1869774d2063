"""Training, resuming, adapters, generation and evaluation on a GPU agree with the CPU's.

These tests run where CUDA finds a GPU. GPU_TESTS_ON=cpu runs them on a CPU, to try the tests themselves.
They need none of conftest.py, so that benchmarks/gpu.py can run them with --noconftest on a bare machine.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from support.small_run import ROOT, SMALL, flags
from support.toy_training import MODEL, TRAINING, make_splits, make_tokenizer

from wine_gpt.config import TrainingConfig
from wine_gpt.data.batching import Indices
from wine_gpt.errors import UserError
from wine_gpt.generation.generate import encode_prompts, generate_ids, generate_texts
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.modeling.scoring import score
from wine_gpt.tokenizer import load_tokenizer
from wine_gpt.training import checkpoint
from wine_gpt.training.accelerator import restored_state
from wine_gpt.training.objective import LanguageModeling
from wine_gpt.training.signals import GracefulShutdown
from wine_gpt.training.trainer import Trainer

DEVICE = os.environ.get("GPU_TESTS_ON", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="CUDA finds no GPU"),
]
STEPS = 20


@contextlib.contextmanager
def toy_trainer(
    folder: Path, device: str, precision: str = "no", dropout: float = 0.0, config: TrainingConfig = TRAINING
) -> Iterator[Trainer[Any]]:
    with restored_state():
        accelerator = Accelerator(cpu=device == "cpu", mixed_precision=precision)
        tokenizer = make_tokenizer()
        model = build_model(dataclasses.replace(MODEL, dropout=dropout), tokenizer, config.seed)
        trainer = Trainer(
            LanguageModeling(LanguageModelLoss(model), tokenizer, make_splits(), "w0"), config, accelerator, folder, {}
        )
        trainer.module.train()
        assert trainer.accelerator.device.type == device
        yield trainer


def losses(folder: Path, device: str, precision: str = "no", dropout: float = 0.0) -> list[float]:
    with toy_trainer(folder, device, precision, dropout) as trainer:
        curve = trainer.run().curve
    assert len(curve) > STEPS
    return [loss for _, loss in curve]


def tensors(trainer: Trainer[Any]) -> dict[str, torch.Tensor]:
    return {
        f"{group}/{name}": t.cpu().clone()
        for group, ts in trainer.checkpoints.tensors().items()
        for name, t in ts.items()
    }


@pytest.mark.parametrize(("precision", "tolerance"), [("no", 1e-3), ("bf16", 0.03)])
def test_the_losses_are_those_of_the_cpu(tmp_path: Path, precision: str, tolerance: float) -> None:
    expected = losses(tmp_path / "cpu", "cpu")
    assert losses(tmp_path / "gpu", DEVICE, precision) == pytest.approx(expected, rel=tolerance)


def test_dropout_is_random_and_repeatable(tmp_path: Path) -> None:
    first, second, without = (
        losses(tmp_path / str(index), DEVICE, dropout=dropout) for index, dropout in enumerate([0.3, 0.3, 0.0])
    )
    assert first == second
    assert first[1] != pytest.approx(without[1], rel=1e-6)
    assert first[-1] < first[0] - 0.3


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_resuming_ends_bit_for_bit_the_same(tmp_path: Path, precision: str) -> None:
    if precision == "fp16" and DEVICE == "cpu":
        pytest.skip("fp16 needs a GPU")
    with toy_trainer(tmp_path, DEVICE, precision, dropout=0.2) as whole:
        state = whole.run()
        expected = tensors(whole)
    assert all(tensor.isfinite().all() for tensor in expected.values())
    assert state.curve[-1][1] < state.curve[0][1] - 0.3
    for path in sorted(tmp_path.glob("step-*"))[1:4:2]:
        with toy_trainer(tmp_path, DEVICE, precision, dropout=0.2) as resumed:
            resumed.resume(checkpoint.load(path))
            assert resumed.run().curve == state.curve
            found = tensors(resumed)
        assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_a_step_does_not_wait_for_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if DEVICE == "cpu":
        pytest.skip("a CPU is not waited for")
    with toy_trainer(tmp_path, DEVICE, "bf16", dropout=0.2) as trainer:
        trainer.train_step(0)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for step in range(1, 5):
                trainer.train_step(step)
                with monkeypatch.context() as patch:
                    # gathers the signals, as with several GPUs
                    patch.setattr(Accelerator, "num_processes", 2)
                    trainer._stop_if_signaled(GracefulShutdown())
        finally:
            torch.cuda.set_sync_debug_mode("default")
        trainer.finish_steps()
        assert trainer.state.step == 5


def test_a_non_finite_value_is_found_before_anything_is_kept(tmp_path: Path) -> None:
    with toy_trainer(tmp_path, DEVICE, config=dataclasses.replace(TRAINING, checkpoint_steps=3)) as trainer:
        trainer.updater.reads_late = True
        weight = trainer.module.model.transformer.ln_f.weight

        def poison(step: int, micro_batches: list[Indices]) -> None:
            if step == 4:
                weight.register_hook(lambda gradient: gradient * torch.nan)
                poisoned.update(tensors(trainer))

        poisoned: dict[str, torch.Tensor] = {}
        trainer.on_step = poison
        with pytest.raises(UserError, match=r"step 5: the gradient on rank 0 is not finite, .* step 3 is saved"):
            trainer.run()
        found = tensors(trainer)
    assert all(torch.equal(tensor, found[name]) for name, tensor in poisoned.items() if "step" not in name)
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000003"]


def test_the_score_is_that_of_the_cpu(tmp_path: Path) -> None:
    scores = []
    for device in ("cpu", DEVICE):
        with toy_trainer(tmp_path, device) as trainer:
            objective = trainer.objective
            scores.append(score(trainer.module, objective.validation_split, objective.tokenizer, trainer.accelerator))
    assert scores[1].words == scores[0].words
    assert scores[1].nats_per_word == pytest.approx(scores[0].nats_per_word, rel=1e-5)


# with the scripts


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments]


def pretrain(folder: Path, *more: str) -> list[str]:
    settings = {**SMALL, "training.epochs": 1, "training.checkpoint_steps": 10, "output_dir": folder}
    return command("pretrain", str(ROOT / "configs" / "sample.yaml"), *flags(settings), *more)


def run(arguments: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    if DEVICE == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu") / "whole"
    assert f"1 x {DEVICE}" in run(pretrain(folder))
    return folder


def test_killed_in_the_middle_it_ends_bit_for_bit_the_same(trained: Path) -> None:
    folder = trained.parent / "killed"
    process = subprocess.Popen(
        pretrain(folder),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not any(folder.glob("checkpoints/step-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was finished before it was killed"
    assert "resumed from step" in run(pretrain(folder, "--resume"))
    assert (folder / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_an_adapter_is_trained(trained: Path) -> None:
    pytest.importorskip("peft")
    folder = trained.parent / "lora"
    config = str(ROOT / "configs" / "finetune" / "lora.yaml")
    arguments = [
        "--base",
        str(trained),
        "--variety",
        "Chardonnay",
        "--training.epochs",
        "1",
        "--output_dir",
        str(folder),
    ]
    run(command("finetune", config, *arguments))
    assert list(folder.rglob("adapter_model.safetensors"))


def test_it_generates_what_transformers_generates_and_what_the_cpu_does(trained: Path) -> None:
    tokenizer = load_tokenizer(str(trained))
    found = []
    for device in ("cpu", DEVICE):
        model = load_model(str(trained)).to(device)
        inputs = encode_prompts(model, tokenizer, ["wine review : us", "wine review"])
        ids = generate_ids(model, inputs, seed=1, do_sample=False, max_new_tokens=30)
        generate: Any = model.generate
        theirs = generate(**inputs, do_sample=False, max_new_tokens=30, max_length=None)
        assert torch.equal(ids[:, : theirs.shape[1]], theirs)
        found.append(ids.cpu())
    assert torch.equal(*found)
    sampled = [generate_texts(model, tokenizer, ["wine review"] * 3, seed=1) for _ in range(2)]
    assert sampled[0] == sampled[1]
    assert len({*sampled[0]}) == 3
