"""Measure the test loss over the number of training reviews, for three configs.

python benchmarks/data_curve.py winemag-data-first-8000.json

Each run trains on a random subset of the training split; of one seed, the larger subsets contain the smaller ones.
Validation and test split are the same for all, and so are the words that are scored: the tokenizer is that of the
whole training split, and each model has base's 192 positions. A run appends a JSON line to --output, and runs that are
there are not repeated. The output is a Markdown table and --picture. Further arguments are settings, such as
`--training.epochs 16`.
"""

import argparse
import contextlib
import dataclasses
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from datasets import DatasetDict
from rows import append, read
from transformers import PreTrainedTokenizerFast

from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.scoring import score
from wine_gpt.plots import new_axes, save_axes
from wine_gpt.tokenizer import tokenize_splits, train_on_reviews
from wine_gpt.training.accelerator import accelerator_session
from wine_gpt.training.calibration import calibrate
from wine_gpt.training.objective import LanguageModeling
from wine_gpt.training.trainer import Trainer

COLORS = {"small": "tab:green", "class": "tab:gray", "base": "tab:red"}


@dataclasses.dataclass(frozen=True)
class Row:
    """One run; losses in nats per word, ``words`` of the training reviews, seconds of the training steps."""

    config: str
    reviews: int
    seed: int
    epochs: int
    words: int
    parameters: int
    best_epoch: int
    validation: float
    test: float
    seconds: float

    @property
    def key(self) -> tuple[str, int, int, int]:
        """What distinguishes runs."""
        return self.config, self.reviews, self.seed, self.epochs


def main() -> None:
    """Run what is not finished, and print and draw all runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("data")
    parser.add_argument("--reviews", nargs="+", type=int, default=[500, 1000, 2000, 4000, 7100])
    parser.add_argument("--configs", nargs="+", default=list(COLORS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--output", type=Path, default=Path("runs/data_curve.jsonl"))
    parser.add_argument("--picture", type=Path, default=Path("docs/data_curve.png"))
    arguments, settings = parser.parse_known_args()
    for seed in arguments.seeds:
        for reviews in arguments.reviews:
            for name in arguments.configs:
                config = read_config(name, arguments.data, seed, settings)
                if (name, reviews, seed, config.training.epochs) not in {
                    row.key for row in read(arguments.output, Row)
                }:
                    append(arguments.output, run(name, config, reviews))
    rows = read(arguments.output, Row)
    print(to_markdown(rows))
    draw(rows, arguments.picture)


def read_config(name: str, data: str, seed: int, settings: list[str]) -> PretrainConfig:
    """Return a config of the package with the positions of base."""
    given = ["--data.path", data, "--training.seed", str(seed), "--model.block_size", "192", *settings]
    return parse_config(PretrainConfig, [f"{name}.yaml", *given])


def run(name: str, config: PretrainConfig, reviews: int) -> Row:
    """Train on some of the training reviews, calibrate and score."""
    loaded = load_reviews(config.data).splits
    tokenizer = train_on_reviews(loaded["train"], config.data, config.tokenizer)
    tokenizer.model_max_length = config.model.block_size - 1
    tokenized = tokenize_splits(loaded, tokenizer)
    order = np.random.default_rng(config.training.seed).permutation(len(tokenized["train"]))
    splits = DatasetDict({**tokenized, "train": tokenized["train"].select(np.sort(order[:reviews]))})
    with training(name, config, splits, tokenizer) as trainer:
        trainer.run()
        scoring = (trainer.tokenizer, trainer.accelerator)
        calibrate(trainer.module, splits["validation"], *scoring)
        losses = {part: score(trainer.module, splits[part], *scoring).nats_per_word for part in ("validation", "test")}
    assert trainer.state.best is not None
    lengths = np.array(splits["train"]["length"])
    return Row(
        config=name,
        reviews=reviews,
        seed=config.training.seed,
        epochs=config.training.epochs,
        # without the start and the end of text
        words=int((lengths - 2).sum()),
        parameters=trainer.module.model.num_parameters(),
        best_epoch=trainer.state.best.epoch,
        validation=round(losses["validation"], 4),
        test=round(losses["test"], 4),
        seconds=round(trainer.state.seconds, 1),
    )


@contextlib.contextmanager
def training(
    name: str, config: PretrainConfig, splits: DatasetDict, tokenizer: PreTrainedTokenizerFast
) -> Iterator[Trainer]:
    """Yield a trainer whose checkpoints are deleted at the end, and print the time."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, accelerator_session(config.training, Path(folder)) as accelerator:
        model = build_model(config.model, tokenizer, config.training.seed, config.generation)
        checkpoints = Path(folder) / "checkpoints"
        objective = LanguageModeling(LanguageModelLoss(model), tokenizer, splits, config.data.prefix)
        yield Trainer(objective, config.training, accelerator, checkpoints, {})
    print(f"{name}, {len(splits['train']):,} reviews: {time.monotonic() - started:.0f} s in all", flush=True)


def by_size(rows: list[Row]) -> dict[str, dict[int, list[Row]]]:
    """Return the rows of each config and number of reviews: one for each seed."""
    found: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row.reviews):
        found[f"{row.config}, {row.epochs} epochs"][row.reviews].append(row)
    return found


def to_markdown(rows: list[Row]) -> str:
    """Return the test losses, means over the seeds: a row for each number of reviews, a column for each config."""
    curves = by_size(rows)
    header = ["training reviews", "words", *curves]
    lines = [header, ["---"] * len(header)]
    for reviews in sorted({row.reviews for row in rows}):
        words = statistics.mean(row.words for row in rows if row.reviews == reviews)
        cells = [mean_test(curves[name].get(reviews, [])) for name in curves]
        lines.append([f"{reviews:,}", f"{words:,.0f}", *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def mean_test(rows: list[Row]) -> str:
    """Return the mean test loss; empty without rows."""
    return f"{statistics.mean(row.test for row in rows):.3f}" if rows else ""


def draw(rows: list[Row], file: Path) -> None:
    """Draw a curve for each config."""
    axes = new_axes("training reviews", "test loss, nats per word")
    for name, sizes in by_size(rows).items():
        means = [statistics.mean(row.test for row in of_size) for of_size in sizes.values()]
        axes.plot([*sizes], means, marker="o", color=COLORS.get(name.split(",")[0]), label=name)
    axes.set_xscale("log")
    ticks = sorted({row.reviews for row in rows})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    save_axes(axes, file)


if __name__ == "__main__":
    main()
