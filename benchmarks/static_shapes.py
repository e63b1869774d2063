"""Count the shapes of an epoch's batches and their padding: today's plan beside a few fixed shapes.

python benchmarks/static_shapes.py winemag-data-first-8000.json

A fixed shape has a length that is a multiple of 2, 4, 8 or 16, and as many rows as the budget allows. A batch
that lacks reviews is filled with empty rows. The reviews are cut into windows as in wine_gpt/data/batching.py.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.batching import WINDOW_BATCHES, BatchPlan, positions_of
from wine_gpt.data.reviews import load_reviews
from wine_gpt.tokenizer import tokenize_splits, train_on_reviews

CONFIG = Path(__file__).parents[1] / "configs" / "base.yaml"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", default="sample")
    parser.add_argument("--batch_tokens", type=int, nargs="+", default=[2048, 16384, 65536])
    arguments = parser.parse_args()
    config = parse_config(PretrainConfig, [str(CONFIG), "--data.path", arguments.data])
    reviews = load_reviews(config.data)
    tokenizer = train_on_reviews(reviews.splits["train"], config.data, config.tokenizer)
    positions = positions_of(tokenize_splits(reviews.splits, tokenizer)["train"], config.model.block_size)
    print("| batch_tokens | lengths | shapes | batches | padding |\n|---|---|---|---|---|")
    for budget in arguments.batch_tokens:
        batches = BatchPlan(positions, budget, seed=42, epochs=1).epoch(0)
        print_row(budget, "any", [(len(batch), int(positions[batch].max())) for batch in batches], positions)
        for multiple in (2, 4, 8, 16):
            print_row(budget, f"multiples of {multiple}", fixed_shapes(positions, budget, multiple), positions)


def fixed_shapes(positions: npt.NDArray[np.int64], budget: int, multiple: int) -> list[tuple[int, int]]:
    """Return the rows and the length of each batch, the longest reviews of each window first."""
    order = np.random.default_rng(42).permutation(positions)
    windows = np.array_split(order, -(-len(order) // int(WINDOW_BATCHES * budget / positions.mean())))
    shapes = []
    for window in map(np.sort, windows):
        left = len(window)
        while left > 0:
            length = -(-int(window[left - 1]) // multiple) * multiple
            shapes.append((budget // length, length))
            left -= budget // length
    return shapes


def print_row(budget: int, lengths: str, shapes: list[tuple[int, int]], positions: npt.NDArray[np.int64]) -> None:
    """Print a row of the table."""
    padding = 1 - positions.sum() / sum(rows * length for rows, length in shapes)
    print(f"| {budget:,} | {lengths} | {len(set(shapes))} | {len(shapes)} | {padding:.1%} |", flush=True)


if __name__ == "__main__":
    main()
