"""Compare training speed and peak memory with three peers, and with the time of the matmuls alone.

pip install -r benchmarks/requirements.txt
python benchmarks/training_speed.py winemag-data-first-8000.json
python benchmarks/training_speed.py sample --rounds 1 --only "wine_gpt, bf16" "limit, bf16"

All train a model of the class's size on the same reviews, of the bundled sample by default. Each has its own process
and takes turns of ten steps, for several rounds. A review's first 80 words count; padding and end-of-text do not. The
limit is the time of the matmuls of one step of 31 reviews of 58 positions, Muon's included.

benchmarks/commits.py compares two commits.
"""

import itertools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from contest import Contestant, Found, Measured, median_ratio, print_ratios, run_contest

HERE = Path(__file__).parent
sys.path.append(str(HERE / "peers"))
CONFIG = HERE.parent / "configs" / "class.yaml"
WARMUP, STEPS, ROUNDS = 5, 10, 8
# the class config's width of the residual stream, heads, and the other dimension of each linear layer's weight
WIDTH, HEADS, LAYER_WIDTHS = 256, 2, (768, 256, 256, 256)


def main() -> None:
    """Measure each in turn, several times, and print Markdown tables of medians."""
    run_contest(__file__, __doc__, CONTESTANTS, ROUNDS, print_tables)


def print_tables(found: Found) -> None:
    """Print the rates, and the ratios of the contestants in :data:`COMPARED`."""
    print("| | real tokens/s, median | range | ms a step | CPU µs a token | peak memory |\n|---|---|---|---|---|---|")
    for name, results in found.items():
        if "rate" not in results[0]:
            continue
        rates = [result["rate"] for result in results]
        ms, cpu, memory = (statistics.median(result[key] for result in results) for key in ("ms", "cpu_us", "memory"))
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        print(
            f"| {name} | {statistics.median(rates):,.0f} | {spread} | {ms:.1f} | {cpu:.0f} | {memory / 1e9:.2f} GB |"
        )
    print_ratios(found, COMPARED)
    for precision in ("bf16", "no"):
        ours, limit = f"wine_gpt, {precision}", f"limit, {precision}"
        if ours in found and limit in found:
            wall, cpu = (median_ratio(found, limit, ours, key) for key in ("ms_a_position", "cpu_ms_a_position"))
            print(f"\n{precision}: the matmuls alone are {wall:.0%} of a step, {cpu:.0%} by CPU time")


def in_turns(steps: Iterator[int]) -> Iterator[Measured]:
    """Warm up, then yield the rate of each turn of :data:`STEPS` steps; a step yields its number of words."""
    for _ in itertools.islice(steps, WARMUP):
        pass
    while True:
        started, cpu = time.perf_counter(), time.process_time()
        words = sum(itertools.islice(steps, STEPS))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        yield {**rates(words, seconds, cpu), "memory": peak_memory()}


def peak_memory() -> int:
    """Return the peak resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rates(words: int, seconds: float, cpu: float) -> Measured:
    """Return words per second, wall and CPU ms per step, and CPU µs per word, of one turn."""
    return {
        "rate": words / seconds,
        "ms": seconds / STEPS * 1e3,
        "cpu_ms": cpu / STEPS * 1e3,
        "cpu_us": cpu / words * 1e6,
    }


def wine_gpt(data: str, _: str, precision: str, fast_matmuls: bool = True) -> Iterator[Measured]:
    """Measure this package's training loop."""
    trainer = build_trainer(data, precision, fast_matmuls)
    lengths = trainer.objective.train_split.with_format("numpy")["length"][:]
    positions = []

    def steps() -> Iterator[int]:
        for step in range(trainer.plan.total_steps):
            trainer.train_step(step)
            reviews = trainer.plan.batch(step)
            positions.append(int(trainer.plan.positions[reviews].sum()))
            # all but [BOS] and [EOS]
            yield int((lengths[reviews] - 2).clip(max=trainer.objective.block_size).sum())

    for measured in in_turns(steps()):
        # steps have different numbers of positions
        mean = statistics.mean(positions[-STEPS:])
        yield {**measured, **{f"{key}_a_position": measured[key] / mean for key in ("ms", "cpu_ms")}}


def build_trainer(data: str, precision: str, fast_matmuls: bool = True) -> Any:  # noqa: ANN401 - torch is imported where needed
    """Return the class config's trainer; ``fast_matmuls``: whether oneDNN computes float32 matmuls."""
    from wine_gpt.config import PretrainConfig
    from wine_gpt.config_io import parse_config

    config = parse_config(PretrainConfig, [str(CONFIG), "--data.path", data, "--training.mixed_precision", precision])
    from wine_gpt.data.reviews import load_reviews
    from wine_gpt.modeling.gpt2 import build_model
    from wine_gpt.modeling.loss import LanguageModelLoss
    from wine_gpt.tokenizer import tokenize_splits, train_on_reviews
    from wine_gpt.training.accelerator import make_accelerator
    from wine_gpt.training.hardware import enable_onednn_fp32, limit_onednn_cache
    from wine_gpt.training.objective import LanguageModeling
    from wine_gpt.training.trainer import Trainer

    folder = Path(tempfile.gettempdir())
    limit_onednn_cache()
    if precision == "no" and fast_matmuls:
        enable_onednn_fp32()
    accelerator = make_accelerator(config.training, folder, precision)
    reviews = load_reviews(config.data)
    tokenizer = train_on_reviews(reviews.splits["train"], config.data, config.tokenizer)
    splits = tokenize_splits(reviews.splits, tokenizer)
    trainer = Trainer(
        LanguageModeling(
            LanguageModelLoss(build_model(config.model, tokenizer, config.training.seed)),
            tokenizer,
            splits,
            config.data.prefix,
        ),
        config.training,
        accelerator,
        checkpoints=folder,
        resume_key={},
    )
    trainer.module.train()
    return trainer


def keras_class(_: str, ids: str) -> Iterator[Measured]:
    """Measure the class's model in Keras."""
    import keras_class as peer
    import numpy as np

    arrays = np.load(ids)
    rows, words = arrays["train"], len(arrays["vocabulary"])
    model = peer.build_model(words)
    rows = np.random.default_rng(0).permutation(rows)
    fit = partial(model.fit, batch_size=peer.BATCH, verbose=0)
    warm, rest = np.split(rows, [WARMUP * peer.BATCH])
    fit(warm[:, :-1], warm[:, 1:])
    for first in range(0, len(rest), STEPS * peer.BATCH):
        turn = rest[first : first + STEPS * peer.BATCH]
        started, cpu = time.perf_counter(), time.process_time()
        fit(turn[:, :-1], turn[:, 1:])
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        yield {**rates(int((turn[:, :-1] != 0).sum()), seconds, cpu), "memory": peak_memory()}


def transformers_gpt2(_: str, ids: str, blocks: bool) -> Iterator[Measured]:
    """Measure a plain training loop with transformers' GPT-2."""
    import numpy as np
    import transformers_gpt2 as peer

    arrays = np.load(ids)
    rows, words = arrays["train"], len(arrays["vocabulary"])
    return in_turns(peer.train(peer.build_model(words), rows, blocks))


def limit(_: str, ids: str, precision: str) -> Iterator[Measured]:
    """Time the matmuls of one step of the class config, with preallocated memory."""
    import numpy as np
    import torch

    from wine_gpt.training.hardware import enable_onednn_fp32

    # with [BOS] and [EOS]
    words = len(np.load(ids)["vocabulary"]) + 2
    if precision == "no":
        enable_onednn_fp32()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def matmul(*shape: int) -> Callable[[], Any]:
        *many, left, inner, right = shape
        matrices = torch.randn(*many, left, inner, dtype=dtype), torch.randn(*many, inner, right, dtype=dtype)
        return partial(torch.matmul, *matrices, out=torch.empty(*many, left, right, dtype=dtype))

    reviews, positions = 31, 58
    matmuls = [matmul(*shape) for shape in (*model_matmuls(reviews, positions, words), *muon_matmuls())]
    while True:
        started, cpu = time.perf_counter(), time.process_time()
        for multiply in matmuls * STEPS:
            multiply()
        spent = time.perf_counter() - started, time.process_time() - cpu
        wall, cpu = (seconds * 1e3 / (STEPS * reviews * positions) for seconds in spent)
        yield {"ms_a_position": wall, "cpu_ms_a_position": cpu}


def model_matmuls(reviews: int, positions: int, words: int) -> Iterator[tuple[int, ...]]:
    """Yield the sizes, ([many,] left, inner, right), of the class config's matmuls, forward and backward."""
    rows, per_head = reviews * positions, WIDTH // HEADS
    for width in (*LAYER_WIDTHS, words):
        # a linear layer's output, and the gradients of its input and weight
        yield from ((rows, WIDTH, width), (rows, width, WIDTH), (WIDTH, rows, width))
    # queries by keys, attention weights by values, and the gradients of all four
    for inner, right in 2 * [(per_head, positions), (positions, per_head), (positions, per_head)]:
        yield reviews * HEADS, positions, inner, right


def muon_matmuls() -> Iterator[tuple[int, ...]]:
    """Yield the sizes of the matmuls of Muon: in each iteration X Xᵀ, its square, and the square by X."""
    from wine_gpt.training.optimizer import ITERATIONS

    for width in LAYER_WIDTHS:
        for _ in range(ITERATIONS):
            yield from ((WIDTH, width, WIDTH), (WIDTH, WIDTH, WIDTH), (WIDTH, WIDTH, width))


CONTESTANTS: dict[str, Contestant] = {
    "wine_gpt, bf16": partial(wine_gpt, precision="bf16"),
    "wine_gpt, bf16, two processes of one thread": partial(wine_gpt, precision="bf16"),
    "wine_gpt, no": partial(wine_gpt, precision="no"),
    "wine_gpt, no, torch's own matmuls": partial(wine_gpt, precision="no", fast_matmuls=False),
    "(a) the class's model in Keras": keras_class,
    "(b) transformers GPT-2, padded to 80": partial(transformers_gpt2, blocks=False),
    "(c) transformers GPT-2, blocks": partial(transformers_gpt2, blocks=True),
    "limit, bf16": partial(limit, precision="bf16"),
    "limit, no": partial(limit, precision="no"),
}
COMPARED = [
    *itertools.product(["wine_gpt, bf16", "wine_gpt, no"], list(CONTESTANTS)[4:7]),
    ("wine_gpt, bf16, two processes of one thread", "wine_gpt, bf16"),
]


if __name__ == "__main__":
    main()
