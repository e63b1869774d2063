"""Measure CPU seconds and memory of each stage of a training as the corpus grows, from Parquet parts to a resumed run.

    python benchmarks/large_corpus.py --records 100000 1000000 10000000 --folder /tmp/reviews

The first part of a corpus has records of the bundled sample's grammar. Each further part joins the first sentence of a
record to the rest of another record, because the grammar is 30 times as slow. Parts that are in the folder already are
used. Each size is measured in three processes with an empty cache: one that reads and tokenizes, a training that is
interrupted, and its resume, which both have a child process for the data, as the command has. Memory is anonymous
memory, child processes included, because the system can reclaim the pages of mapped files.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from memory import anonymous, of_all, peak

# the records of a part, and how many of them are the first part's, as duplicates across parts
PART_RECORDS, REPEATED = 200_000, 2_000
# a prime, so that no two parts join the same sentences
SHIFT = 7_919
# steps before the interruption, and after the resume
STEPS = 10
# a small model, because its steps do not depend on the size of the corpus
SMALL = {"model.n_layer": 1, "model.n_embd": 64, "model.n_inner": 128, "training.epochs": 2}


def main() -> None:
    """Generate the parts, measure each size and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", nargs="+", type=int, default=[100_000, 1_000_000], help="multiples of 200,000")
    parser.add_argument("--folder", type=Path, default=Path("runs/large_corpus"))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(STARTS[arguments.measure[1]](config_of(*arguments.measure))))
        return
    print("| records | stage | CPU | wall | peak memory |\n|---|---|---|---|---|")
    for count in arguments.records:
        corpus = arguments.folder / str(count)
        work = [Path(f"{corpus}-{name}") for name in ("cache", "run")]
        for folder in work:
            shutil.rmtree(folder, ignore_errors=True)
        write_parts(corpus, count)
        for start in STARTS:
            for stage, found in measured(corpus, start).items():
                seconds = f"{found['cpu']:.1f} s | {found['wall']:.1f} s"
                print(f"| {count:,} | {stage} | {seconds} | {found['megabytes']} MB |", flush=True)
        for folder in work:
            shutil.rmtree(folder)


def measured(corpus: Path, start: str) -> dict[str, dict[str, Any]]:
    """Measure in a new process; return the seconds and megabytes of each stage."""
    environment = {**os.environ, "HF_DATASETS_CACHE": f"{corpus}-cache", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, __file__, "--measure", str(corpus), start]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, dict[str, Any]] = json.loads(output.splitlines()[-1])
    return found


def config_of(corpus: str, start: str) -> Any:  # noqa: ANN401 - imported in the measured processes only
    """Return the config of a corpus."""
    from wine_gpt.config import PretrainConfig
    from wine_gpt.config_io import parse_config

    settings = {"data.path": corpus, "output_dir": f"{corpus}-run", **SMALL}
    arguments = ["configs/base.yaml", *(part for key, value in settings.items() for part in (f"--{key}", str(value)))]
    return parse_config(PretrainConfig, [*arguments, *(["--resume"] if start == "resume" else [])])


def fill_cache(config: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401
    """Fill the cache; return CPU seconds, seconds and the peak of MB of each stage."""
    from wine_gpt.data.reviews import load_reviews
    from wine_gpt.tokenizer.prepare import prepare

    found: dict[str, dict[str, Any]] = {}
    with stage("read, filter, deduplicate, split", found):
        load_reviews(config.data)
    with stage("train the tokenizer, tokenize", found):
        prepare(config, held_out=True, on_report=lambda report: print(report, file=sys.stderr))
    return found


def train(config: Any, begin: str, steps: str) -> dict[str, dict[str, Any]]:  # noqa: ANN401
    """Train until an interruption; return the figures of the stage up to the first step and of the steps."""
    from wine_gpt.errors import RunInterrupted
    from wine_gpt.training.pretrain import pretrain

    found: dict[str, dict[str, Any]] = {}
    current = stage(begin, found)
    current.__enter__()
    first: list[int] = []

    def on_step(step: int, micro_batches: object) -> None:
        nonlocal current
        if not first:
            first.append(step)
            current.__exit__(None, None, None)
            current = stage(steps, found)
            current.__enter__()
        if step == first[0] + STEPS - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        pretrain(config, on_step=on_step)
    except RunInterrupted as stopped:
        print(stopped, file=sys.stderr)
    current.__exit__(None, None, None)
    return found


# what each measured process does, in this order
STARTS: dict[str, Callable[[Any], dict[str, dict[str, Any]]]] = {
    "prepare": fill_cache,
    "first": partial(train, begin="start from the cache", steps=f"{STEPS} steps and a checkpoint"),
    "resume": partial(train, begin="resume", steps=f"{STEPS} more steps and a checkpoint"),
}


@contextmanager
def stage(name: str, found: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Add the figures of a stage to ``found``."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    with peak(partial(of_all, anonymous)) as largest:
        yield
    found[name] = {
        "cpu": cpu_seconds() - cpu,
        "wall": time.perf_counter() - wall,
        "megabytes": largest() // 10**6,
    }
    print(name, found[name], file=sys.stderr, flush=True)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def write_parts(folder: Path, records: int) -> None:
    """Write the parts that are not in the folder yet; ``records`` is below PART_RECORDS or a multiple of it."""
    import pyarrow.parquet as pq
    from data_speed import write_file

    folder.mkdir(parents=True, exist_ok=True)
    size = min(records, PART_RECORDS)
    first = folder / "part-00000.parquet"
    if not first.exists():
        write_file(first, size)
    table = pq.read_table(first)
    for part in range(1, records // size):
        path = folder / f"part-{part:05}.parquet"
        if not path.exists():
            pq.write_table(_recombined(table, part * SHIFT), path, row_group_size=100_000)


def _recombined(table: Any, shift: int) -> Any:  # noqa: ANN401 - a pyarrow.Table, imported in the functions
    """Replace the rest of each description by that of the record ``shift`` later, except in the first records."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = table["description"].combine_chunks()
    sentences = pc.split_pattern(texts, ". ", max_splits=1)
    first, rest = (
        pc.list_element(pc.list_slice(sentences, index, index + 1, return_fixed_size_list=True), 0) for index in (0, 1)
    )
    start = shift % len(rest)
    rest = pa.concat_arrays([rest.slice(start), rest.slice(0, start)])
    joined = pc.binary_join_element_wise(first, pc.coalesce(rest, ""), ". ")
    texts = pa.concat_arrays([texts.slice(0, REPEATED), joined.slice(REPEATED)])
    return table.set_column(table.schema.get_field_index("description"), "description", texts)


if __name__ == "__main__":
    main()
