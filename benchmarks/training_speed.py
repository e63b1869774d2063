"""Real tokens/s of training steps in each precision, alternating, each in a process of its own.

python benchmarks/training_speed.py ../shared/data/winemag-data-first-8000.json

The class config's model and batches; without the file, the bundled sample's reviews. What is shown beside the rate is
the share of the step's time that its matrix products take, by torch's profiler, and the peak of the memory.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parents[1] / "configs" / "class.yaml"
PRECISIONS = ("no, torch's own products", "no", "bf16")
WARMUP, STEPS, PROFILED, ROUNDS = 5, 40, 10, 3
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")


def main() -> None:
    """Measure each precision in turn, several times, and print a Markdown table of medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", default="sample")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.data, arguments.measure)))
        return
    found: dict[str, list[dict[str, float]]] = {precision: [] for precision in PRECISIONS}
    for _ in range(ROUNDS):
        for precision, results in found.items():
            command = [sys.executable, __file__, arguments.data, "--measure", precision]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
    print("| precision | tokens/s, median | range | products' share | peak memory |\n|---|---|---|---|---|")
    for precision, results in found.items():
        rates = [result["tokens_per_second"] for result in results]
        share = statistics.median(result["products"] for result in results)
        memory = statistics.median(result["memory"] for result in results)
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        print(f"| {precision} | {statistics.median(rates):,.0f} | {spread} | {share:.0%} | {memory / 1e9:.2f} GB |")


def measure(data: str, precision: str) -> dict[str, float]:
    """Train a few steps and return the rate, the products' share of the time and the peak memory in bytes."""
    trainer = build_trainer(data, precision)
    step = iter(range(trainer.plan.total_steps))
    for _ in range(WARMUP):
        trainer._optimizer_step(next(step))
    before, started = trainer.state.total_tokens, time.perf_counter()
    for _ in range(STEPS):
        trainer._optimizer_step(next(step))
    rate = (trainer.state.total_tokens - before) / (time.perf_counter() - started)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(PROFILED):
            trainer._optimizer_step(next(step))
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    products = sum(times.get(name, 0) for name in PRODUCTS) / sum(times.values())
    return {"tokens_per_second": rate, "products": products, "memory": memory}


def build_trainer(data: str, precision: str) -> Any:  # noqa: ANN401 - torch is not imported in the process that waits
    """Return the trainer that the class config makes."""
    from wine_gpt.config import PretrainConfig, parse_config

    config = parse_config(PretrainConfig, [str(CONFIG), "--data.path", data])
    from accelerate import Accelerator

    from wine_gpt.data import load_reviews
    from wine_gpt.model import build_model
    from wine_gpt.precision import keep_few_kernels, keep_freed_memory, use_fast_single_precision
    from wine_gpt.tokenizer import tokenize_splits, train_on_reviews
    from wine_gpt.training import Trainer

    keep_few_kernels()
    keep_freed_memory()
    if precision == "no":
        use_fast_single_precision()
    reviews = load_reviews(config.data)
    tokenizer = train_on_reviews(reviews.splits["train"], config.data, config.tokenizer.vocab_size)
    splits = tokenize_splits(reviews.splits, tokenizer)
    trainer = Trainer(
        build_model(config.model, tokenizer, config.training.seed),
        tokenizer,
        splits,
        config.training,
        Accelerator(mixed_precision=precision.partition(",")[0]),
        checkpoints=Path(tempfile.gettempdir()),
        prompt=config.data.prefix,
        identity={},
    )
    trainer.module.train()
    return trainer


if __name__ == "__main__":
    main()
