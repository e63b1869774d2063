"""Seconds and memory of finding what 1,000 texts share with 130,000 reviews, exactly and by the n-gram index.

    python benchmarks/copying_speed.py

The reviews are written by the grammar of the bundled sample, the texts by the same grammar with another seed.
"""

import argparse
import tempfile
import time
from pathlib import Path

from data_speed import PeakMemory

from tools.sample_grammar.grammar import generate_records
from wine_gpt.evaluation.metrics import load_metric
from wine_gpt.evaluation.ngram_index import build_index, load_index
from wine_gpt.tokenizer import class_words


def main() -> None:
    """Measure both ways and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reviews", type=int, default=130_000)
    parser.add_argument("--texts", type=int, default=1_000)
    arguments = parser.parse_args()
    descriptions = [record["description"] or "" for record in generate_records(arguments.reviews, seed=1)]
    texts = [class_words(record["description"] or "") for record in generate_records(arguments.texts, seed=2)]
    metric = load_metric("copying")
    peak = PeakMemory()
    peak.start()
    print("| step | seconds | result |\n|---|---|---|")
    started = time.perf_counter()
    figures = metric.compute(predictions=texts, corpus=map(class_words, descriptions))
    print(f"| metric copying | {time.perf_counter() - started:.1f} | mean longest {figures['mean_longest']:.2f} |")
    print(f"| peak memory so far | | {peak.megabytes:,} MB |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.safetensors"
        started = time.perf_counter()
        built = build_index(descriptions, path)
        size = path.stat().st_size / 1e6
        print(f"| build the index | {time.perf_counter() - started:.1f} | {built.ngrams:,} spans, {size:.1f} MB |")
        started = time.perf_counter()
        index = load_index(path)
        spans = [index.longest_span(text) for text in texts]
        print(f"| ask it | {time.perf_counter() - started:.1f} | mean longest {sum(spans) / len(spans):.2f} |")
    print(f"| peak memory | | {peak.megabytes:,} MB |")


if __name__ == "__main__":
    main()
