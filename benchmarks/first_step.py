"""Measure what a training costs from the command line to its first step, and the memory of both its processes.

    python benchmarks/first_step.py class.yaml --records 130000          # Kaggle's JSON at its full size
    python benchmarks/first_step.py sample.yaml                          # the bundled sample, as a new user starts
    python benchmarks/first_step.py sample.yaml --steps 100000           # until the run ends, for its memory

The first row is from an empty cache, the second from the cache that the first run filled. The child process reads and
tokenizes while the process that trains imports torch. Memory is resident memory, as Keras's in the other tables; that
of both at a time counts shared pages twice.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from data_speed import write_file
from memory import of_all, peak, resident

COLUMNS = (
    "cache",
    "CPU of training",
    "CPU of the child",
    "wall",
    "memory of training",
    "of the child",
    "both at a time",
)


def main() -> None:
    """Generate the records, start the training twice and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", help="a config of the package")
    parser.add_argument("--records", type=int, help="train on so many generated records instead of the config's data")
    parser.add_argument("--data", help="train on this file")
    parser.add_argument("--steps", type=int, default=1, help="measure up to this step, or to the end")
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure([arguments.config, *arguments.measure], arguments.steps)
        return
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data
        if arguments.records:
            data = f"{folder}/reviews.json"
            write_file(Path(data), arguments.records)
        for cache in ("empty", "filled"):
            settings = ["--output_dir", f"{folder}/{cache}", *(["--data.path", data] if data else [])]
            found = measured(arguments.config, settings, Path(folder) / "cache", arguments.steps)
            seconds = (f"{found[name]:.1f} s" for name in ("cpu", "child_cpu", "wall"))
            memory = (f"{found[name] / 1e6:.0f} MB" for name in ("peak", "child_peak", "together"))
            print(f"| {' | '.join([cache, *seconds, *memory])} |", flush=True)


def measured(config: str, settings: list[str], cache: Path, steps: int) -> dict[str, float]:
    """Start a training in a new process, and return its figures: seconds, and bytes of memory."""
    environment = {**os.environ, "HF_DATASETS_CACHE": str(cache), "STARTED": str(time.monotonic())}
    command = [sys.executable, __file__, config, "--steps", str(steps), "--measure", *settings]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def measure(arguments: list[str], steps: int) -> None:
    """Train, as the command does, and print the figures after some steps or at the end."""
    from wine_gpt.commands.common import read_config, reading_ahead
    from wine_gpt.config import PretrainConfig
    from wine_gpt.imports import search_garbage_rarely

    search_garbage_rarely()
    with peak(partial(of_all, resident)) as together:
        config = read_config(PretrainConfig, arguments, name="pretrain", description=None)

        def on_step(step: int, micro_batches: object) -> None:
            if step == steps:
                figures(together())
                os._exit(0)

        with reading_ahead(config) as reading:
            from wine_gpt.training.pretrain import pretrain

            pretrain(config, on_step=on_step, reading=reading)
    figures(together())


def figures(together: int) -> None:
    """Print the figures of this process and its child as a line of JSON."""
    own, child = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    found: dict[str, Any] = {
        "cpu": own.ru_utime + own.ru_stime,
        "child_cpu": child.ru_utime + child.ru_stime,
        "wall": time.monotonic() - float(os.environ["STARTED"]),
        "peak": own.ru_maxrss * 1024,
        "child_peak": child.ru_maxrss * 1024,
        "together": together,
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
