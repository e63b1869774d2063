"""Measure the training step with each of its optimizations left out, relative to the whole step.

python benchmarks/ablation.py winemag-data-first-8000.json
OMP_NUM_THREADS=1 python benchmarks/ablation.py sample --rounds 5 --only "bf16" "bf16, torch's dropout"

Each variant of the class config's step has its own process; the variants take turns of ten steps, for several rounds.
A ratio is the median over the rounds of a variant's time divided by the whole step's: above 1 the optimization saves
time. On a busy machine compare CPU times, with one thread.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from contest import Contestant, Found, Measured, median_ratio, run_contest
from training_speed import wine_gpt

ROUNDS = 8


def main() -> None:
    """Measure each variant in turn, several times, and print a Markdown table of ratios."""
    run_contest(__file__, __doc__, CONTESTANTS, ROUNDS, print_ratios)


def print_ratios(found: Found) -> None:
    """Print each variant's time divided by the whole step's in the same precision."""
    print("| without | wall time | CPU time | peak memory |\n|---|---|---|---|")
    for name in found:
        whole = name.partition(",")[0]
        if name != whole and whole in found:
            wall, cpu, memory = (median_ratio(found, name, whole, key) for key in ("ms", "cpu_ms", "memory"))
            print(f"| {name} | {wall:.2f} | {cpu:.2f} | {memory:.2f} |")


def variant(data: str, ids: str, precision: str, change: Callable[[], None]) -> Iterator[Measured]:
    """Change the package in this process, and measure its training step."""
    change()
    return wine_gpt(data, ids, precision)


def whole() -> None:
    """Change nothing."""


def unlimited_onednn_cache() -> None:
    """Use oneDNN's and torch's default cache sizes."""
    import os

    from wine_gpt.training.hardware import ONEDNN_CACHES

    for name in ONEDNN_CACHES:
        os.environ[name] = "1024"


def dropout_of_floats() -> None:
    """Draw the dropout mask with bernoulli_, with a generator for each row."""
    import torch

    from wine_gpt.modeling.dropout import PerRowDropout

    def forward(self: PerRowDropout, input: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return input
        kept = torch.empty_like(input)
        for row, generator in zip(kept, self.generators, strict=True):
            row.bernoulli_(1 - self.p, generator=generator)
        return input * kept.mul_(1 / (1 - self.p))

    PerRowDropout.forward = forward


def torchs_dropout() -> None:
    """Use torch's dropout for the whole batch, and transformers' sdpa attention."""
    from wine_gpt.modeling import loss

    loss.install_per_row_dropout = lambda model: []


def torchs_loss(chunked: bool) -> None:
    """Compute the head's loss with linear_cross_entropy, or with a matmul and cross_entropy."""
    import torch
    from torch.nn import functional

    from wine_gpt.modeling import loss

    def torchs(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, soft_targets: None) -> torch.Tensor:
        if chunked:
            linear: Any = functional.linear_cross_entropy
            total: torch.Tensor = linear(hidden, weight, labels, reduction="sum")
            return total.float()
        return functional.cross_entropy(functional.linear(hidden, weight).float(), labels, reduction="sum")

    loss.summed_cross_entropy = torchs


def plain_tied_gradient() -> None:
    """Let autograd add the embedding's gradient to the head's."""
    from torch.nn import functional

    from wine_gpt.modeling import loss

    loss.embed_tied = lambda weight, ids: (functional.embedding(ids, weight), weight)


def gelu_new() -> None:
    """Compute GELU with the eight operations of transformers' gelu_new."""
    from transformers.activations import ACT2FN

    ACT2FN["gelu_pytorch_tanh"] = type(ACT2FN["gelu_new"])


def no_character_ngrams() -> None:
    """Let the embeddings learn from their own words alone."""
    from wine_gpt.training.character_ngrams import CharacterNgrams

    CharacterNgrams.take_gradient = CharacterNgrams.move_words = lambda self: None


def muon_in_every_process() -> None:
    """Let each process orthogonalize all matrices."""
    from wine_gpt.training import optimizer

    optimizer.orthogonalize_in_parallel = lambda matrices, dtype: [
        optimizer.orthogonalize(matrix, dtype) for matrix in matrices
    ]


def torchs_muon() -> None:
    """Use torch.optim.Muon for the matrices of the blocks."""
    import torch

    from wine_gpt.training.optimizer import MuonAdamW

    def step(self: MuonAdamW, closure: None = None) -> None:
        orthogonal = self.param_groups[0]
        if not hasattr(self, "muon"):
            self.muon = torch.optim.Muon(
                orthogonal["params"], weight_decay=orthogonal["weight_decay"], adjust_lr_fn="match_rms_adamw"
            )
        self.muon.param_groups[0]["lr"] = orthogonal["lr"]
        self.muon.step()
        for matrix in orthogonal["params"]:
            matrix.grad = None
        torch.optim.AdamW.step(self, closure)

    MuonAdamW.step = step


VARIANTS: dict[str, Callable[[], None]] = {
    "limit_onednn_cache": unlimited_onednn_cache,
    "packed random bits: bernoulli_ for each row": dropout_of_floats,
    "per-row dropout: torch's": torchs_dropout,
    "own loss: matmul and cross_entropy": partial(torchs_loss, chunked=False),
    "own loss: linear_cross_entropy": partial(torchs_loss, chunked=True),
    "gradient of the tied head in place": plain_tied_gradient,
    "gelu_pytorch_tanh: gelu_new": gelu_new,
    "own Muon: torch.optim.Muon": torchs_muon,
    "character n-grams": no_character_ngrams,
}
CONTESTANTS: dict[str, Contestant] = {
    **{
        f"{precision}{name and f', {name}'}": partial(variant, precision=precision, change=change)
        for precision, (name, change) in itertools.product(("bf16", "no"), {"": whole, **VARIANTS}.items())
    },
    "two processes": partial(variant, precision="bf16", change=whole),
    "two processes, Muon shared by the processes": partial(variant, precision="bf16", change=muon_in_every_process),
}


if __name__ == "__main__":
    main()
