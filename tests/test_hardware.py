"""The precision fits the hardware; tuning a process for training keeps accuracy and is undone afterwards."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from support.processes import is_running
from support.small_run import ROOT
from support.waiting import wait_until
from transformers import GPT2Config

from benchmarks.gpu import Report, Stage, run_stage
from wine_gpt.data.batching import BatchPlan
from wine_gpt.errors import UserError
from wine_gpt.training import utilization
from wine_gpt.training.accelerator import restored_state
from wine_gpt.training.hardware import (
    LAUNCHED_PRECISION,
    ONEDNN_CACHES,
    SINGLE_PRECISION,
    choose_mixed_precision,
    enable_onednn_fp32,
    peak_flops,
    tuned_runtime,
)
from wine_gpt.training.utilization import flops_per_token, suggested_batch_tokens

matmul: Any = torch.backends.mkldnn.matmul


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = matmul.fp32_precision
    yield
    matmul.fp32_precision = before


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "no")],
)
def test_auto_is_bf16_only_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_mixed_precision("auto") == precision
    assert [choose_mixed_precision(wanted) for wanted in ("no", "bf16", "fp16")] == ["no", "bf16", "fp16"]


@pytest.mark.parametrize("variable", [("ACCELERATE_USE_CPU", "true"), ("ACCELERATE_TORCH_DEVICE", "cpu")])
def test_auto_is_the_cpus_precision_if_the_cpu_is_asked_for_beside_a_gpu(
    monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert choose_mixed_precision("auto") == "bf16"
    monkeypatch.setenv(*variable)
    assert choose_mixed_precision("auto") == "no"


def test_auto_takes_the_launchers_precision_but_not_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LAUNCHED_PRECISION, raising=False)
    by_hardware = choose_mixed_precision("auto")
    for launched, chosen in (("bf16", "bf16"), ("fp16", "fp16"), ("no", by_hardware)):
        monkeypatch.setenv(LAUNCHED_PRECISION, launched)
        assert choose_mixed_precision("auto") == chosen
        assert choose_mixed_precision("bf16") == "bf16"
    monkeypatch.setenv(LAUNCHED_PRECISION, "fp8")
    with pytest.raises(UserError, match="ACCELERATE_MIXED_PRECISION=fp8 is not supported"):
        choose_mixed_precision("auto")


@pytest.mark.parametrize("rows", [1, 100, 512, 2000])
def test_matmuls_stay_in_single_precision(rows: int) -> None:
    enable_onednn_fp32()
    torch.manual_seed(0)
    left, right = torch.randn(rows, 256), torch.randn(256, 3000)
    scale = left.double().abs() @ right.double().abs()
    error = ((left @ right).double() - left.double() @ right.double()).abs() / scale
    assert error.max() <= SINGLE_PRECISION


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_a_training_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch, mixed_precision: str) -> None:
    own, other = ONEDNN_CACHES
    monkeypatch.setenv(own, "7")
    monkeypatch.delenv(other, raising=False)
    matmul.fp32_precision = "ieee"
    with tuned_runtime(mixed_precision):
        assert os.environ[own] == "7"
        assert other in os.environ
    assert os.environ[own] == "7"
    assert other not in os.environ
    assert matmul.fp32_precision == "ieee"


def test_a_stage_of_the_gpu_benchmark_that_hits_its_limit_leaves_no_process(tmp_path: Path) -> None:
    report = Report(tmp_path)
    stage = Stage("slow", ["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!; wait"], limit=5)
    run_stage(stage, report, stage.limit, "cpu")
    assert report.stages["slow"]["exit"] == -signal.SIGKILL
    (child,) = map(int, report.stages["slow"]["tail"])
    wait_until(lambda: not is_running(child), lambda: f"{child} still runs")


@pytest.mark.parametrize(
    ("name", "half"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA GH200 480GB", 989.4),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 311.9),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.1),
        ("Tesla T4", 65.1),
        ("Tesla V100-SXM2-16GB", 125.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
    ],
)
def test_a_gpus_peak_is_found_by_its_name(name: str, half: float) -> None:
    assert peak_flops(name, "bf16") == peak_flops(name, "fp16") == half * 1e12
    single = peak_flops(name, "no")
    assert single is not None
    assert single < half * 1e12


@pytest.mark.parametrize("name", ["", "NVIDIA A1000", "NVIDIA L400", "AMD Instinct MI300X", "NVIDIA GeForce GTX 1080"])
def test_the_peak_of_an_unlisted_gpu_is_not_known(name: str) -> None:
    assert peak_flops(name, "bf16") is None


def test_the_operations_per_token_are_those_of_docs_scaling() -> None:
    base = GPT2Config(vocab_size=10_002, n_layer=3, n_embd=256, n_inner=512)
    assert flops_per_token(base, 59) == 6 * 4_133_376 + 543_744
    assert "6 × 4,133,376 + 543,744 = 25.3 million" in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    # four times the width if n_inner is none, as transformers reads it
    assert flops_per_token(GPT2Config(n_inner=None), 10) == flops_per_token(GPT2Config(n_inner=4 * 768), 10)


@pytest.mark.parametrize(
    ("peak", "tokens", "expected"),
    [
        pytest.param(989.4e12, 10**9, 16_384, id="H100: 4 ms at 10% are 15,643 positions"),
        pytest.param(65.1e12, 10**9, 2_048, id="T4"),
        pytest.param(989.4e12, 4_700_000, 8_192, id="8,000 reviews: no fewer than 300 steps"),
        pytest.param(989.4e12, 100, 1, id="hardly any data"),
    ],
)
def test_the_suggested_batch_fills_the_gpu_and_leaves_enough_steps(peak: float, tokens: int, expected: int) -> None:
    assert suggested_batch_tokens(25.3e6, peak, tokens, 300) == expected


def test_the_suggested_batch_leaves_a_distilled_student_enough_steps(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(utilization, "_known_gpu", lambda trainer: ("NVIDIA H100", 989.4e12))
    # the other 80,000 reviews are the sets of other epochs
    plan = BatchPlan(np.full(90_000, 50), 1024, seed=1, epochs=2, rows_of_epoch=lambda epoch: np.arange(10_000))
    module = SimpleNamespace(model=SimpleNamespace(config=GPT2Config(n_layer=3, n_embd=256, n_inner=512)))
    trainer: Any = SimpleNamespace(
        plan=plan, module=module, config=SimpleNamespace(epochs=2), accelerator=SimpleNamespace(num_processes=1)
    )
    with restored_state(), caplog.at_level("INFO"):
        # a logger of accelerate needs it
        Accelerator(cpu=True)
        utilization.suggest_batch_tokens(trainer, 300)
    suggested = int(re.findall(r"training\.batch_tokens ([\d,]+) takes", caplog.text)[0].replace(",", ""))
    assert 1024 < suggested <= 2 * 10_000 * 50 / 300
