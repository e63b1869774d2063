"""Measure test loss, time and memory of whole pretraining runs with several seeds.

python benchmarks/pretraining.py ../shared/data/winemag-data-first-8000.json --output_dir runs/benchmark

Finished runs are read and not repeated. The results are printed as a Markdown table.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file")

COLUMNS = (
    *("config", "precision", "seed", "test nats per word", "perplexity", "validation"),
    *("minutes", "tokens/s", "padding", "peak memory"),
)


def main() -> None:
    """Run every config with every seed and print the figures of the runs' metrics.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--configs", nargs="+", default=["class", "base"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--mixed_precision", default="auto")
    parser.add_argument("--launcher", default="cpu", help="a file of configs/accelerate")
    arguments = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for config in arguments.configs:
        losses = []
        for seed in arguments.seeds:
            folder = arguments.output_dir / f"{config}-{seed}"
            metrics = finished_run(config, seed, folder, arguments)
            losses.append(metrics["test"]["nats_per_word"])
            print(row(config, seed, metrics), flush=True)
        mean, spread = statistics.mean(losses), max(losses) - min(losses)
        print(f"| {config} | | mean | **{mean:.3f}** (spread {spread:.3f}) | | | | | | |", flush=True)


def finished_run(config: str, seed: int, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Start or resume a run unless it is finished, and return its metrics."""
    if not (folder / "metrics.json").exists():
        script = [str(ROOT / "scripts" / "pretrain.py"), str(ROOT / "configs" / f"{config}.yaml"), "--resume"]
        flags = ["--data.path", str(arguments.data), "--output_dir", str(folder), "--training.seed", str(seed)]
        flags += ["--training.mixed_precision", arguments.mixed_precision]
        accelerate = [*LAUNCH, str(ROOT / "configs" / "accelerate" / f"{arguments.launcher}.yaml")]
        # on stderr, so that stdout has only the table
        subprocess.run([*accelerate, *script, *flags], check=True, stdout=sys.stderr)
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def row(config: str, seed: int, metrics: dict[str, Any]) -> str:
    """Return a run's row of the table."""
    training = metrics["training"]
    cells = [
        config,
        training["mixed_precision"],
        str(seed),
        f"{metrics['test']['nats_per_word']:.3f}",
        f"{metrics['test']['perplexity']:.1f}",
        f"{metrics['validation']['nats_per_word']:.3f}",
        f"{training['seconds'] / 60:.1f}",
        f"{training['tokens_per_second']:,}",
        f"{training['padding_fraction']:.1%}",
        f"{metrics['peak_memory_bytes']['resident'] / 1e9:.2f} GB",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
