"""Run a benchmark of several contestants in turn, each in its own process, for several rounds.

All processes are alive at once and wait for their turns. Turns are short, so that other load on the machine slows all
contestants of a round equally, and a ratio within a round is more reliable than a ratio of medians.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

CLASS_IDS = Path(__file__).parent / "peers" / "class_ids.py"
Measured = dict[str, float]
# takes the data and the file that peers/class_ids.py makes of it; yields the measurement of each turn
Contestant = Callable[[str, str], Iterator[Measured]]
Found = dict[str, list[Measured]]


def run_contest(
    file: str, purpose: str, contestants: Mapping[str, Contestant], rounds: int, show: Callable[[Found], None]
) -> None:
    """Measure each contestant in turn, several times, and print the results.

    Args:
        file: the benchmark's script, which is started once for each contestant.
        purpose: the benchmark's docstring.
        contestants: by name, in order; one with "two processes" in its name runs in two processes of one thread each.
        rounds: number of turns of each contestant.
        show: prints the measurements of each contestant, one per round.
    """
    parser = argparse.ArgumentParser(description=purpose.partition("\n")[0])
    parser.add_argument("data", nargs="?", default="sample")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--only", nargs="+", default=list(contestants), choices=list(contestants), metavar="NAME")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--ids", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        _take_turns(contestants[arguments.measure], arguments.data, arguments.ids)
        return
    found: Found = {name: [] for name in arguments.only}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ids = str(Path(folder) / "ids.npz")
        subprocess.run([sys.executable, str(CLASS_IDS), arguments.data, ids], check=True, stdout=sys.stderr)
        command = [file, arguments.data, "--ids", ids, "--measure"]
        turns = {name: start_contestant(command, name, stack) for name in found}
        for _ in range(arguments.rounds):
            for name, results in found.items():
                results.append(turns[name]())
                print(name, results[-1], file=sys.stderr, flush=True)
    show(found)


def median_ratio(found: Found, name: str, other: str, key: str) -> float:
    """Return the median over the rounds of one contestant's figure divided by another's."""
    pairs = zip(found[name], found[other], strict=True)
    return statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)


def print_ratios(found: Found, compared: Iterable[tuple[str, str]]) -> None:
    """Print the ratio of the rates of each pair whose contestants were both measured."""
    print("\n| | by | rate, median of the rounds' ratios |\n|---|---|---|")
    for name, other in compared:
        if name in found and other in found:
            print(f"| {name} | {other} | {median_ratio(found, name, other, 'rate'):.2f} |")


def start_contestant(
    command: list[str], name: str, stack: contextlib.ExitStack, environment: Mapping[str, str] = os.environ
) -> Callable[[], Measured]:
    """Start a contestant's process, and return a function that runs one turn.

    Args:
        command: the benchmark's script and its arguments up to ``--measure``.
        name: the contestant.
        stack: the exit stack that ends the process.
        environment: the process's environment variables.
    """
    environment = dict(environment)
    if "two processes" in name:
        command = ["-m", "torch.distributed.run", "--nproc_per_node", "2", *command]
        environment["OMP_NUM_THREADS"] = "1"
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, *command, name],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
    )
    asked, answered = process.stdin, process.stdout
    assert asked is not None
    assert answered is not None

    def answer() -> Measured:
        line = answered.readline()
        if not line:
            raise SystemExit(f"{name}: ended, see above")
        measured: Measured = json.loads(line)
        return measured

    def turn() -> Measured:
        asked.write("\n")
        return answer()

    # the first measurement says that the process is ready
    answer()
    return turn


def _take_turns(contestant: Contestant, data: str, ids: str) -> None:
    """Measure one turn, then one for each line of stdin; of two processes only the first reads and answers."""
    answers, sys.stdout = sys.stdout, sys.stderr
    first = os.environ.get("RANK", "0") == "0"
    for measured in contestant(data, ids):
        if first:
            print(json.dumps(measured), file=answers, flush=True)
        if not _asked(first):
            return


def _asked(first: bool) -> bool:
    wanted = first and bool(sys.stdin.readline())
    if "RANK" not in os.environ:
        return wanted
    import torch

    another = torch.tensor(wanted)
    torch.distributed.broadcast(another, 0)
    return bool(another)
