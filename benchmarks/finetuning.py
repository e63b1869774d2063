"""Compare adapter and whole model with the base for each variety, over several seeds.

python benchmarks/finetuning.py runs/base --data winemag-data-first-8000.json --output_dir runs/finetuning

Finished runs are read and not repeated. The baseline shows whether a gain comes from the variety's reviews: it is an
adapter trained for as many steps on as many random reviews of all varieties, and validated and tested on the variety's
reviews. The output has a Markdown table of the quality, and the size on disk and switching time of adapters.
"""

import argparse
import dataclasses
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from wine_gpt.config import FinetuneConfig, ReviewsConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.subsets import Subset, choose_subsets, find_subsets
from wine_gpt.finetuning.base import load_base, load_base_reviews
from wine_gpt.finetuning.results import SubsetMetrics
from wine_gpt.finetuning.subset_reviews import SubsetReviews
from wine_gpt.finetuning.subset_run import SubsetRun
from wine_gpt.finetuning.table import read_subsets
from wine_gpt.tokenizer import tokenize_splits
from wine_gpt.training.accelerator import accelerator_session

ROOT = Path(__file__).parents[1]
SWITCHES = 200
# a variety's metrics, one for each seed
Rows = dict[str, list[SubsetMetrics]]
Figure = Callable[[SubsetMetrics], float]

# by column
CHANGES: dict[str, Figure] = {
    "change": lambda metrics: metrics.comparison.whole.perplexity_change.value,
    "after the header": lambda metrics: metrics.comparison.after_header.perplexity_change.value,
}


def main() -> None:
    """Run what is not finished and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/finetuning"))
    parser.add_argument("--min_reviews", type=int, default=100)
    parser.add_argument("--methods", nargs="+", default=["lora", "full"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--baseline_seeds", nargs="+", type=int, default=[42])
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for method in arguments.methods:
            run_script(method, seed, arguments)
    for seed in arguments.baseline_seeds:
        run_baseline(seed, arguments)
    names = [*arguments.methods, "all"]
    print_quality({name: read_seeds(arguments.output_dir, name) for name in names}, names)
    print_sizes_and_switching(arguments)


def run_script(method: str, seed: int, arguments: argparse.Namespace) -> None:
    """Fine-tune on every variety with scripts/finetune.py."""
    config = ROOT / "configs" / "finetune" / f"{method}.yaml"
    settings = {
        "base": arguments.base,
        "data.path": arguments.data,
        "variety": "all",
        "min_reviews": arguments.min_reviews,
        "training.seed": seed,
        "output_dir": arguments.output_dir / f"{method}-{seed}",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, str(ROOT / "scripts" / "finetune.py"), str(config), *flags, "--resume"]
    # on stderr, so that stdout has only the tables
    subprocess.run(command, check=True, stdout=sys.stderr)


def run_baseline(seed: int, arguments: argparse.Namespace) -> None:
    """Train the baseline adapter for each variety."""
    config = parse_config(FinetuneConfig, [str(ROOT / "configs" / "finetune" / "lora.yaml"), "--variety", "all"])
    config = dataclasses.replace(
        config,
        base=str(arguments.base),
        data=ReviewsConfig(path=str(arguments.data)),
        training=dataclasses.replace(config.training, seed=seed),
        output_dir=str(arguments.output_dir / f"all-{seed}"),
        resume=True,
    )
    base = load_base(config.base)
    reviews = load_base_reviews(base, config)
    tokenized = tokenize_splits(reviews.splits, base.tokenizer)
    subsets, _ = choose_subsets(find_subsets(reviews.splits, "variety"), "variety", "all", arguments.min_reviews)
    for subset in subsets:
        random = np.random.default_rng(seed)
        sample = random.choice(len(tokenized["train"]), len(subset.indices["train"]), replace=False)
        mixed = Subset(subset.value, subset.slug, {**subset.indices, "train": np.sort(sample)})
        with accelerator_session(config.training, Path(config.output_dir)) as accelerator:
            chosen = SubsetReviews.select(base, mixed, reviews.splits, tokenized)
            SubsetRun(chosen, config, accelerator).finish()


def read_seeds(folder: Path, name: str) -> Rows:
    """Return each variety's metrics, one for each finished seed."""
    found: Rows = defaultdict(list)
    for run in sorted(folder.glob(f"{name}-*")):
        for metrics in read_subsets(run).values():
            found[metrics.value].append(metrics)
    return found


def print_quality(methods: dict[str, Rows], names: list[str]) -> None:
    """Print a row for each variety: means over the seeds, their range, and how often the model was better."""
    columns = [
        *("variety", "reviews (train, validation, test)", "base perplexity"),
        *(column for name in names for column in (f"{name}: {change}" for change in CHANGES)),
        *(f"{name}: better" for name in names if name != "all"),
        *("seconds", "MB"),
    ]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for value, rows in methods[names[0]].items():
        first = rows[0]
        counts = f"{sum(first.reviews.values())} ({', '.join(map(str, first.reviews.values()))})"
        of_value = {name: methods[name][value] for name in names}
        trained = [of_value[name] for name in names if name != "all"]
        cells = [
            *(value, counts, f"{first.comparison.whole.base.perplexity:.1f}"),
            *(spread(of_value[name], figure) for name in names for figure in CHANGES.values()),
            *(f"{sum(metrics.comparison.better for metrics in found)} of {len(found)}" for found in trained),
            ", ".join(f"{statistics.mean(metrics.seconds for metrics in found):.0f}" for found in trained),
            ", ".join(f"{found[0].size_bytes / 1e6:.2f}" for found in trained),
        ]
        print(f"| {' | '.join(cells)} |")
    means = [pooled(methods[name], figure) for name in names for figure in CHANGES.values()]
    totals = (sum(found[0].seconds for found in methods[name].values()) for name in names)
    seconds = ", ".join(f"{total:.0f}" for name, total in zip(names, totals, strict=True) if name != "all")
    better = "| " * sum(name != "all" for name in names)
    print(f"| mean of the varieties; seconds in all | | | {' | '.join(means)} {better}| {seconds} | |")


def spread(found: list[SubsetMetrics], figure: Figure) -> str:
    """Return the mean over the seeds and, for several, their range."""
    values = [figure(metrics) for metrics in found]
    seeds = f" ({min(values):+.1%} to {max(values):+.1%})" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.1%}{seeds}" if values else ""


def pooled(rows: Rows, figure: Figure) -> str:
    """Return the mean over the varieties and their seeds."""
    return f"{statistics.mean(figure(metrics) for found in rows.values() for metrics in found):+.1%}" if rows else ""


def print_sizes_and_switching(arguments: argparse.Namespace) -> None:
    """Load all adapters of one seed side by side and switch between them."""
    folders = sorted((arguments.output_dir / f"lora-{arguments.seeds[0]}").glob("*/adapter_config.json"))
    model = AutoModelForCausalLM.from_pretrained(arguments.base)
    names = [file.parent.name for file in folders]
    served = PeftModel.from_pretrained(model, folders[0].parent, adapter_name=names[0])
    for file, name in zip(folders[1:], names[1:], strict=True):
        served.load_adapter(file.parent, adapter_name=name)
    seconds = []
    for number in range(SWITCHES):
        started = time.perf_counter()
        served.set_adapter(names[number % len(names)])
        seconds.append(time.perf_counter() - started)
    with torch.no_grad():
        served(torch.zeros(1, 8, dtype=torch.long))
    base_bytes = (arguments.base / "model.safetensors").stat().st_size
    adapter_bytes = max((file.parent / "adapter_model.safetensors").stat().st_size for file in folders)
    print(
        f"\n{len(names)} adapters side by side: a switch takes {1000 * statistics.median(seconds):.1f} ms "
        f"(median of {SWITCHES}; longest {1000 * max(seconds):.1f} ms). "
        f"An adapter has at most {adapter_bytes:,} bytes, {adapter_bytes / base_bytes:.1%} of the base's."
    )


if __name__ == "__main__":
    main()
