"""The arithmetic is the fastest that keeps its promise."""

from collections.abc import Iterator

import pytest
import torch

from wine_gpt.training.hardware import SINGLE_PRECISION, choose_mixed_precision, enable_onednn_fp32


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    before = torch.backends.mkldnn.matmul.fp32_precision
    yield
    torch.backends.mkldnn.matmul.fp32_precision = before


def test_auto_takes_bf16_only_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for capabilities, expected in (
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx2": True}, "no"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert choose_mixed_precision("auto") == expected
        assert [choose_mixed_precision(wanted) for wanted in ("no", "bf16", "fp16")] == ["no", "bf16", "fp16"]


@pytest.mark.parametrize("rows", [1, 100, 512, 2000])
def test_products_stay_in_single_precision(rows: int) -> None:
    enable_onednn_fp32()
    left, right = torch.randn(rows, 256), torch.randn(256, 3000)
    scale = left.double().abs() @ right.double().abs()
    error = ((left @ right).double() - left.double() @ right.double()).abs() / scale
    assert error.max() <= SINGLE_PRECISION
