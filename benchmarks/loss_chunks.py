"""Measure the time of the head's loss and gradients for several chunk sizes of the logits.

python benchmarks/loss_chunks.py

Random inputs of the shapes of a step of the class config: 1,827 rows of width 256 and 10,002 words. All sizes are
measured in turn, several rounds; the table has medians.
"""

import statistics
import time

import torch

from wine_gpt.modeling import cross_entropy
from wine_gpt.training.hardware import enable_onednn_fp32, limit_onednn_cache

ROWS, WIDTH, WORDS = 1827, 256, 10_002
MEBIBYTES = (2, 4, 10, 20, 40, 80)
ROUNDS = 12


def main() -> None:
    """Time each size in both precisions and print a Markdown table."""
    limit_onednn_cache()
    enable_onednn_fp32()
    print(f"| MiB of logits | {' | '.join(map(str, MEBIBYTES))} |\n|---{'|---' * len(MEBIBYTES)}|")
    for dtype in (torch.bfloat16, torch.float32):
        seconds: dict[int, list[float]] = {size: [] for size in MEBIBYTES}
        hidden, weight = torch.randn(ROWS, WIDTH, dtype=dtype), torch.randn(WORDS, WIDTH, dtype=dtype) * 0.1
        labels = torch.randint(0, WORDS, (ROWS,))
        for _ in range(ROUNDS):
            for size in MEBIBYTES:
                seconds[size].append(time_chunks(size, hidden, weight, labels))
        cells = (f"{statistics.median(times) * 1e3:.1f} ms" for times in seconds.values())
        print(f"| {str(dtype).removeprefix('torch.')} | {' | '.join(cells)} |")


def time_chunks(mebibytes: int, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the seconds that one loss with its gradients takes."""
    cross_entropy.CHUNK_BYTES = mebibytes << 20
    inputs = hidden.requires_grad_(), weight.requires_grad_()
    # only the second run counts, because the first allocates the buffer
    for _ in range(2):
        started = time.perf_counter()
        torch.autograd.grad(cross_entropy.summed_cross_entropy(*inputs, labels), inputs)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
