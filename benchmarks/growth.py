"""Time per token and memory of training as the corpus grows, each measured in a process of its own.

python benchmarks/growth.py --records 8000 130000 1300000 --folder /tmp/reviews

Records of the sample's grammar, as Parquet; files that the folder has are not written again. The class config's model
and batches. Memory is what no file backs: the corpus itself is mapped.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from data_speed import anonymous_megabytes, write_file
from training_speed import WARMUP, build_trainer

STEPS, ROUNDS = 100, 3


def main() -> None:
    """Make the files, measure each in turn, several times, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", nargs="+", type=int, default=[8_000, 130_000, 1_300_000])
    parser.add_argument("--folder", type=Path, default=Path("runs/growth"))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    found: dict[int, list[dict[str, float]]] = {count: [] for count in arguments.records}
    for _ in range(ROUNDS):
        for count, results in found.items():
            path = arguments.folder / f"{count}.parquet"
            if not path.exists():
                write_file(path, count)
            command = [sys.executable, __file__, "--measure", str(path)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
    print("| records | steps of 5 epochs | to plan them | µs per token | of CPU | memory |\n|---|---|---|---|---|---|")
    for count, results in found.items():
        best = {key: min(result[key] for result in results) for key in results[0]}
        cells = [
            f"{count:,}",
            f"{best['steps']:,}",
            f"{best['plan']:.2f} s",
            f"{best['wall']:.1f}",
            f"{best['cpu']:.1f}",
        ]
        print(f"| {' | '.join(cells)} | {best['memory']} MB |")


def measure(path: str) -> dict[str, float]:
    """Return seconds of planning, µs per token of training steps, and MB of memory after them."""
    from wine_gpt.data.batching import BatchPlan

    trainer = build_trainer(path, "bf16")
    config = trainer.config
    started = time.process_time()
    plan = BatchPlan(trainer.plan.positions, config.batch_tokens, config.seed, config.epochs)
    planned = time.process_time() - started
    for step in range(WARMUP):
        trainer.train_step(step)
    before, wall, cpu = trainer.state.total_tokens, time.perf_counter(), time.process_time()
    for step in range(WARMUP, WARMUP + STEPS):
        trainer.train_step(step)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    tokens = (trainer.state.total_tokens - before) / 1e6
    figures = {"plan": planned, "wall": wall / tokens, "cpu": cpu / tokens}
    return {**figures, "steps": plan.total_steps, "memory": anonymous_megabytes()}


if __name__ == "__main__":
    main()
