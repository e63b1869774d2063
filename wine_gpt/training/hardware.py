"""Choose the precision of training for this device, and tune a CPU's matmuls during training."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import torch
from accelerate.utils import parse_flag_from_env

from wine_gpt.errors import UserError

# environment variables with the capacities of torch's and oneDNN's caches of matmul kernels
ONEDNN_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
# capacity of each cache: enough for the matmul shapes that all steps have
KERNELS_KEPT = 24
# the environment variable in which accelerate's launcher passes --mixed_precision
LAUNCHED_PRECISION = "ACCELERATE_MIXED_PRECISION"
# TFLOP/s of dense matmuls in bfloat16 or float16 and in float32 (not TF32), by NVIDIA's data sheets and a part of the
# device's name; the first that fits counts
PEAK_TFLOPS = {
    "B200": (2250.0, 75.0),
    "H200": (989.4, 66.9),
    "GH200": (989.4, 66.9),
    "H100 NVL": (835.5, 60.0),
    "H100 PCIe": (756.0, 51.2),
    "H100": (989.4, 66.9),
    "A100": (311.9, 19.5),
    "L40S": (362.1, 91.6),
    "L4": (121.0, 30.3),
    "A10G": (70.0, 35.0),
    "A10": (125.0, 31.2),
    "T4": (65.1, 8.1),
    "V100": (125.0, 15.7),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71.2, 35.6),
}
# largest relative error of a matmul in single precision; bfloat16's would be about 2⁻⁹
SINGLE_PRECISION = 2.0**-20


@contextlib.contextmanager
def tuned_runtime(mixed_precision: str) -> Iterator[None]:
    """Tune the whole process for training on a CPU, and restore its settings at the end.

    The effect of each setting is in benchmarks/RESULTS.md, "Training speed". The capacities of the caches can't be
    restored, because torch and oneDNN read them only once, at the process's first matmul.

    Args:
        mixed_precision: the precision of training; float32 matmuls are tuned only for ``no``, because bf16 has few.
    """
    matmul = _matmul_settings()
    precision = matmul.fp32_precision
    unset = [name for name in ONEDNN_CACHES if name not in os.environ]
    limit_onednn_cache()
    if mixed_precision == "no":
        enable_onednn_fp32()
    try:
        yield
    finally:
        matmul.fp32_precision = precision
        for name in unset:
            os.environ.pop(name, None)


def choose_mixed_precision(setting: str) -> str:
    """Return the precision that ``training.mixed_precision`` stands for on this machine.

    ``auto`` stands for the bf16 or fp16 of ``accelerate launch --mixed_precision``. Without them it stands for bf16 if
    the hardware has bf16 matmuls, because emulated ones are far slower than float32, and otherwise for ``no``.
    The launcher's ``no`` does not count, because the launcher also sets it if it was given no precision.

    Raises:
        UserError: if the launcher was given another precision, such as fp8.
    """
    if setting != "auto":
        return setting
    launched = os.environ.get(LAUNCHED_PRECISION, "no").lower()
    if launched in ("bf16", "fp16"):
        return launched
    if launched != "no":
        raise UserError(f"{LAUNCHED_PRECISION}={launched} is not supported: take no, bf16 or fp16")
    if trains_on_cuda():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return "bf16" if fast else "no"


def trains_on_cuda() -> bool:
    """Return whether accelerate takes an NVIDIA GPU: there is one, and no variable names another device."""
    named = os.environ.get("ACCELERATE_TORCH_DEVICE", "cuda")
    return torch.cuda.is_available() and named.startswith("cuda") and not parse_flag_from_env("ACCELERATE_USE_CPU")


def device_name(device: torch.device) -> str:
    """Return the name of an NVIDIA GPU, and for another device its type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_flops(device_name: str, mixed_precision: str) -> float | None:
    """Return the operations per second of a GPU's dense matmuls by its data sheet; none for one that is not listed.

    Args:
        device_name: as ``torch.cuda.get_device_name`` returns it.
        mixed_precision: ``no``, ``bf16`` or ``fp16``.
    """
    for name, (half, single) in PEAK_TFLOPS.items():
        if re.search(rf"\b{name}\b", device_name):
            return (single if mixed_precision == "no" else half) * 1e12
    return None


def limit_onednn_cache() -> None:
    """Limit oneDNN's primitive caches: by default each new matmul shape keeps a 2-3 MB kernel alive.

    Batches have many shapes, so that most kernels would never be used again. This has no effect after the process's
    first matmul.
    """
    for cache in ONEDNN_CACHES:
        os.environ.setdefault(cache, str(KERNELS_KEPT))


def enable_onednn_fp32() -> None:
    """Compute float32 matmuls with oneDNN if it keeps float32's accuracy on this CPU.

    By default torch uses MKL, which is slow on processors that are not Intel's. The setting "bf16" makes torch use
    oneDNN and allows oneDNN to round the inputs to bfloat16. The setting is kept only if the error of a test matmul
    shows that oneDNN does not round on this machine. With CUDA nothing is changed, because TF32 is less accurate.
    """
    matmul = _matmul_settings()
    if trains_on_cuda() or not torch.backends.mkldnn.is_available():
        return
    matmul.fp32_precision = "bf16"
    if _matmul_error() > SINGLE_PRECISION:
        matmul.fp32_precision = "none"


def float32_library() -> str:
    """Return the name of the library that computes float32 matmuls."""
    return "oneDNN" if _matmul_settings().fp32_precision == "bf16" else "torch's own"


def _matmul_settings() -> Any:  # noqa: ANN401 - torch's type stubs lack it
    """Return torch's settings of oneDNN's matmuls."""
    return getattr(torch.backends.mkldnn, "matmul")  # noqa: B009 - as an attribute it is a type error


def _matmul_error() -> float:
    """Return the largest error of a matmul of a training step's size, relative to the sum of its absolute terms."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(512, 256, generator=generator), torch.randn(256, 1024, generator=generator)
    exact = left.double() @ right.double()
    scale = left.double().abs() @ right.double().abs()
    return float((((left @ right).double() - exact) / scale).abs().max())
