"""Which arithmetic is used: read off the device and checked on it, never assumed."""

import ctypes
import os
import sys
from typing import Any

import torch

# of each cache: those that every step asks for, and little more, since each takes 2 to 3 MB
KERNELS_KEPT = 24
# what glibc's malloc.h calls them by
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# largest error of a product that counts as single precision, relative to the product of the absolute values;
# bfloat16's would be about 2⁻⁹
SINGLE_PRECISION = 2.0**-20


def choose_mixed_precision(wanted: str) -> str:
    """Return what ``auto`` stands for on this machine, ``bf16`` or ``no``; anything else as it is.

    bf16 is chosen where the device multiplies it in hardware: elsewhere a CPU is a hundred times slower in it.
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
    """Have oneDNN, and torch's layer above it, remember few of the kernels that they make for each shape of a product.

    Batches have many shapes, so a thousand kernels, which is what they remember by themselves, are hundreds of
    megabytes and are hardly ever asked for again. They read this when they first multiply.
    """
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, str(KERNELS_KEPT))


def tune_malloc() -> None:
    """Have glibc keep what is freed, up to 1 GB, for what is allocated next.

    By itself it gives large tensors back at once, and to have their pages again, zeroed one by one, was measured to
    take a tenth of a training step. Elsewhere than on Linux this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(threshold, 2**30)


def enable_onednn_fp32() -> str:
    """Have products of float32 matrices done the fastest way that keeps float32's accuracy; return its name.

    On a CPU torch leaves them to MKL, which is slow on other makers' processors. Its "bf16" setting hands them to
    oneDNN, which may shorten their factors; where it does not, which is tried here, it is single precision at up to
    twice the speed. On CUDA nothing is changed: TF32 would be another precision.
    """
    # which the type stubs lack
    matmul: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009
    if torch.cuda.is_available() or not torch.backends.mkldnn.is_available():
        return "torch's own"
    matmul.fp32_precision = "bf16"
    if _product_error() <= SINGLE_PRECISION:
        return "oneDNN"
    matmul.fp32_precision = "none"
    return "torch's own"


def _product_error() -> float:
    """Return the largest error of a product of the size of a training step's, relative to its terms."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(512, 256, generator=generator), torch.randn(256, 1024, generator=generator)
    exact = left.double() @ right.double()
    scale = left.double().abs() @ right.double().abs()
    return float((((left @ right).double() - exact) / scale).abs().max())
