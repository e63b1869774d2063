"""Compare words per second of generation with transformers' ``generate`` and the class's loop in Keras.

pip install -r benchmarks/requirements.txt
python benchmarks/generation_speed.py winemag-data-first-8000.json

An untrained model of the class's size generates 70 words after "wine review", with the default sampling settings and
the end of text suppressed. Each contestant has its own process and generates a text to warm up; then all take turns
for several rounds. The class's loop calls predict on the whole sequence, padded to 80, for each word.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from contest import Contestant, Found, Measured, print_ratios, run_contest
from training_speed import build_trainer

WORDS, TEXTS, ROUNDS = 70, 5, 5


def main() -> None:
    """Measure each in turn, several times, and print a Markdown table of medians."""
    run_contest(__file__, __doc__, CONTESTANTS, ROUNDS, print_table)


def print_table(found: Found) -> None:
    """Print the rates."""
    print("| | words/s, median | range | CPU ms a word |\n|---|---|---|---|")
    for name, results in found.items():
        rates = [result["rate"] for result in results]
        cpu = statistics.median(result["cpu_ms"] for result in results)
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        print(f"| {name} | {statistics.median(rates):,.0f} | {spread} | {cpu:.2f} |")
    print_ratios(found, COMPARED)


def in_turns(write: Callable[[int], Any], texts: int = 1) -> Iterator[Measured]:
    """Generate a text to warm up, then yield the rate of each turn of several texts, each with its own seed."""
    write(0)
    for first in itertools.count(1, TEXTS):
        wall, cpu = time.perf_counter(), time.process_time()
        for seed in range(first, first + TEXTS):
            write(seed)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        words = WORDS * TEXTS * texts
        yield {"rate": words / wall, "cpu_ms": cpu / words * 1e3}


def gpt2(data: str, _: str, texts: int, own_loop: bool) -> Iterator[Measured]:
    """Measure this package's decoding loop or ``model.generate``."""
    from transformers import set_seed

    from wine_gpt.generation.generate import encode_prompts, generate_ids

    # as in scripts/generate.py, because the fast float32 matmuls of training are slow for one row
    trainer = build_trainer(data, "no", fast_matmuls=False)
    model: Any = trainer.module.model.eval()
    inputs = encode_prompts(model, trainer.tokenizer, ["wine review"] * texts)
    endless = [*model.generation_config.suppress_tokens, trainer.tokenizer.eos_token_id]
    model.generation_config.suppress_tokens = endless

    def write(seed: int) -> None:
        if own_loop:
            generate_ids(model, inputs, seed=seed, max_new_tokens=WORDS)
        else:
            set_seed(seed)
            model.generate(**inputs, max_length=inputs["input_ids"].shape[1] + WORDS)

    return in_turns(write, texts)


def keras_loop(_: str, ids: str) -> Iterator[Measured]:
    """Measure the class's loop."""
    import keras_class as peer
    import numpy as np

    words = len(np.load(ids)["vocabulary"])
    model = peer.build_model(words)
    start = [7, 2]

    def write(seed: int) -> None:
        random = np.random.default_rng(seed)
        sequence = np.zeros((1, peer.POSITIONS), dtype=np.int32)
        sequence[0, : len(start)] = start
        for position in range(len(start), len(start) + WORDS):
            logits = model.predict(sequence, verbose=0)[0, position - 1].astype(np.float64) / 0.8
            weights = np.exp(logits - logits.max())
            sequence[0, position] = random.choice(words, p=weights / weights.sum())

    return in_turns(write)


CONTESTANTS: dict[str, Contestant] = {
    "wine_gpt, one text": partial(gpt2, texts=1, own_loop=True),
    "model.generate, one text": partial(gpt2, texts=1, own_loop=False),
    "wine_gpt, 64 texts at once": partial(gpt2, texts=64, own_loop=True),
    "model.generate, 64 texts at once": partial(gpt2, texts=64, own_loop=False),
    "the class's loop in Keras, one text": keras_loop,
}
COMPARED = [
    ("wine_gpt, one text", "the class's loop in Keras, one text"),
    ("wine_gpt, one text", "model.generate, one text"),
    ("wine_gpt, 64 texts at once", "wine_gpt, one text"),
]


if __name__ == "__main__":
    main()
