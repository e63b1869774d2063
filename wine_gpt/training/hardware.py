"""Choose the precision of training for this device, and tune a CPU's matmuls while a training runs."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

# the limits of torch's and oneDNN's caches of matmul kernels
ONEDNN_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
# of each cache: enough for the matmul shapes of every step, because each kernel takes 2 to 3 MB
KERNELS_KEPT = 24
# largest relative error of a matmul in single precision; bfloat16's would be about 2⁻⁹
SINGLE_PRECISION = 2.0**-20


@contextlib.contextmanager
def tuned_runtime(mixed_precision: str) -> Iterator[None]:
    """Tune the process for training on a CPU, and restore it at the end.

    What each setting earns is in benchmarks/RESULTS.md, "Training speed". The settings apply to the whole process. The
    caches' limits stay after the end, because torch and oneDNN read them only once, at the process's first matmul.

    Args:
        mixed_precision: of the training; float32 matmuls are tuned only for ``no``, because bf16 has hardly any.
    """
    # the type stubs lack torch.backends.mkldnn.matmul
    matmul: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009
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


def choose_mixed_precision(wanted: str) -> str:
    """Return ``bf16`` or ``no`` for ``auto``, by this machine's hardware, and any other precision as it is.

    bf16 is chosen where the hardware has matmuls for it, because emulated bf16 is far slower than float32.
    """
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return "bf16" if fast else "no"


def limit_onednn_cache() -> None:
    """Limit oneDNN's primitive caches: by default each new matmul shape keeps a 2-3 MB kernel alive.

    Batches have many shapes, so the default of 1,024 kernels would take hundreds of megabytes, and most would never be
    used again. Without effect after the process's first matmul.
    """
    for cache in ONEDNN_CACHES:
        os.environ.setdefault(cache, str(KERNELS_KEPT))


def enable_onednn_fp32() -> None:
    """Compute float32 matmuls by the fastest library that keeps float32's accuracy.

    On a CPU torch uses MKL, which is slow on processors that are not Intel's. The setting "bf16" makes torch use
    oneDNN, which is then free to round its inputs to bfloat16. A test matmul shows whether it does so on this machine;
    if it does not, the setting is plain single precision. CUDA is left as it is, because TF32 is less accurate.
    """
    matmul: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009
    if torch.cuda.is_available() or not torch.backends.mkldnn.is_available():
        return
    matmul.fp32_precision = "bf16"
    if _matmul_error() > SINGLE_PRECISION:
        matmul.fp32_precision = "none"


def float32_library() -> str:
    """Return the name of the library that computes float32 matmuls."""
    matmul: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009
    return "oneDNN" if matmul.fp32_precision == "bf16" else "torch's own"


def _matmul_error() -> float:
    """Return the largest error of a matmul of a training step's size, relative to the sum of its absolute terms."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(512, 256, generator=generator), torch.randn(256, 1024, generator=generator)
    exact = left.double() @ right.double()
    scale = left.double().abs() @ right.double().abs()
    return float((((left @ right).double() - exact) / scale).abs().max())
