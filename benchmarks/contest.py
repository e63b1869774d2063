"""The driver of benchmarks that measure several contestants in turn, each in a process of its own, some rounds."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

CLASS_IDS = Path(__file__).parent / "peers" / "class_ids.py"
ROUNDS = 3
Measured = dict[str, float]
# of the data and the file that peers/class_ids.py makes of them
Contestant = Callable[[str, str], Measured]
Found = dict[str, list[Measured]]


def run_contest(file: str, purpose: str, contestants: Mapping[str, Contestant], show: Callable[[Found], None]) -> None:
    """Measure each contestant in turn, several times, and show what was found.

    Args:
        file: the benchmark, which is run again for each measurement.
        purpose: its docstring.
        contestants: by name, in their order; one with "two processes" in its name has two, of one thread each.
        show: takes each one's figures, one entry a round.
    """
    parser = argparse.ArgumentParser(description=purpose.partition("\n")[0])
    parser.add_argument("data", nargs="?", default="sample")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="+", default=list(contestants), choices=list(contestants), metavar="NAME")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--ids", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measured = contestants[arguments.measure](arguments.data, arguments.ids)
        # of two processes one tells: their lines could mix
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(measured))
        return
    found: Found = {name: [] for name in arguments.only}
    with tempfile.TemporaryDirectory() as folder:
        ids = str(Path(folder) / "ids.npz")
        subprocess.run([sys.executable, str(CLASS_IDS), arguments.data, ids], check=True, stdout=sys.stderr)
        for _ in range(arguments.rounds):
            for name, results in found.items():
                results.append(_measured([file, arguments.data, "--measure", name, "--ids", ids], name))
                print(name, results[-1], file=sys.stderr, flush=True)
    show(found)


def _measured(command: list[str], name: str) -> Measured:
    environment = dict(os.environ)
    if "two processes" in name:
        command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", *command]
        environment["OMP_NUM_THREADS"] = "1"
    output = subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: Measured = json.loads(output.stdout.splitlines()[-1])
    return result
