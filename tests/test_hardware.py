"""The precision fits the hardware; tuning a process for training keeps accuracy and is undone afterwards."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from wine_gpt.errors import UserError
from wine_gpt.training.hardware import (
    LAUNCHED_PRECISION,
    ONEDNN_CACHES,
    SINGLE_PRECISION,
    choose_mixed_precision,
    enable_onednn_fp32,
    tuned_runtime,
)

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
