"""Records per second and peak memory from a raw file to token ids on disk, each measured in a process of its own.

    python benchmarks/data_speed.py                                          # Kaggle's JSON at its full size
    python benchmarks/data_speed.py --runs json:129971 jsonl:130000 jsonl:1300000 parquet:130000 parquet:1300000

The files are written by the grammar of the bundled sample; each run has an empty cache. Imports are not timed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from threading import Thread
from typing import Any

STAGES = ("load", "train tokenizer", "tokenize")


def main() -> None:
    """Make the files, measure each run and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", nargs="+", default=["json:129971"], help="FORMAT:RECORDS …")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    print(f"| file | size | {' | '.join(STAGES)} | together | records/s | imported | peak memory |")
    print("|---" * (len(STAGES) + 6) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for run in arguments.runs:
            kind, _, count = run.partition(":")
            path = Path(folder) / f"reviews.{kind}"
            write_file(path, int(count))
            print(row_of(path, int(count)), flush=True)
            path.unlink()


def row_of(path: Path, count: int) -> str:
    """Measure in a fresh process with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "HF_DATASETS_CACHE": cache, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, __file__, "--measure", str(path)]
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    result = json.loads(output)
    seconds = [result[stage] for stage in STAGES]
    cells = [
        f"{count:,} records, {path.suffix[1:]}",
        f"{path.stat().st_size / 1e6:,.0f} MB",
        *(f"{value:.2f} s" for value in seconds),
        f"{sum(seconds):.2f} s",
        f"{count / sum(seconds):,.0f}",
        f"{result['imported']} MB",
        f"{result['peak']} MB",
    ]
    return f"| {' | '.join(cells)} |"


def measure(path: str) -> dict[str, Any]:
    """Return seconds per stage, and MB of resident memory after the imports and at the peak."""
    from wine_gpt.config import DataConfig
    from wine_gpt.data.reviews import load_reviews, texts
    from wine_gpt.tokenizer import tokenize_splits, train_tokenizer

    imported = anonymous_megabytes()
    peak = PeakMemory()
    peak.start()
    times = [time.perf_counter()]
    reviews = load_reviews(DataConfig(path=path))
    times.append(time.perf_counter())
    tokenizer = train_tokenizer(texts(reviews.splits["train"]))
    times.append(time.perf_counter())
    tokenize_splits(reviews.splits, tokenizer)
    times.append(time.perf_counter())
    seconds = [end - start for start, end in pairwise(times)]
    return {**dict(zip(STAGES, seconds, strict=True)), "imported": imported, "peak": peak.megabytes}


class PeakMemory(Thread):
    """Watches the process's memory, in MB.

    Pages of files that are mapped don't count: the system takes those back when it needs them.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0

    def run(self) -> None:
        """Look 50 times a second until the process ends."""
        while True:
            self.megabytes = max(self.megabytes, anonymous_megabytes())
            time.sleep(0.02)


def anonymous_megabytes() -> int:
    """Return the resident memory that no file backs, as Linux tells it, in KiB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024 // 1_000_000


def write_file(path: Path, count: int) -> None:
    """Write synthetic records as one JSON array, JSON Lines or Parquet by the path's suffix."""
    from tools.sample_grammar.grammar import generate_records

    records: Iterator[dict[str, Any]] = iter(generate_records(count, seed=42))
    if path.suffix == ".parquet":
        write_parquet(path, records)
        return
    start, between, end = ("[", ", ", "]") if path.suffix == ".json" else ("", "\n", "\n")
    with path.open("w", encoding="utf-8") as file:
        file.write(start)
        for index, record in enumerate(records):
            file.write((between if index else "") + json.dumps(record))
        file.write(end)


def write_parquet(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """Write row groups of 100,000 records."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = list(islice(records, 100_000))
    schema = pa.schema([(name, pa.float64() if name == "price" else pa.string()) for name in first[0]])
    with pq.ParquetWriter(path, schema) as writer:
        group = first
        while group:
            writer.write_table(pa.Table.from_pylist(group, schema))
            group = list(islice(records, 100_000))


if __name__ == "__main__":
    main()
