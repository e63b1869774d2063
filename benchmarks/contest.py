"""The driver of benchmarks that measure several contestants in turn, each in a process of its own, some rounds.

All processes live at once and wait for their turns, which are short: so what slows the machine down for a while slows
all of them, and the ratio of two turns of one round says more than that of two medians.
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
# of the data and the file that peers/class_ids.py makes of them; gets ready, then measures one turn after the other
Contestant = Callable[[str, str], Iterator[Measured]]
Found = dict[str, list[Measured]]


def run_contest(
    file: str, purpose: str, contestants: Mapping[str, Contestant], rounds: int, show: Callable[[Found], None]
) -> None:
    """Measure each contestant in turn, several times, and show what was found.

    Args:
        file: the benchmark, which is run again for each contestant.
        purpose: its docstring.
        contestants: by name, in their order; one with "two processes" in its name has two, of one thread each.
        rounds: how many turns each has.
        show: takes each one's figures, one entry a round.
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
        turns = {name: _start(command, name, stack) for name in found}
        for _ in range(arguments.rounds):
            for name, results in found.items():
                results.append(turns[name]())
                print(name, results[-1], file=sys.stderr, flush=True)
    show(found)


def median_ratio(found: Found, name: str, other: str, key: str) -> float:
    """Return the median over the rounds of one's figure by another's."""
    pairs = zip(found[name], found[other], strict=True)
    return statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)


def print_ratios(found: Found, compared: Iterable[tuple[str, str]]) -> None:
    """Print how the rates of each two that were both measured stand to each other."""
    print("\n| | by | rate, median of the rounds' ratios |\n|---|---|---|")
    for name, other in compared:
        if name in found and other in found:
            print(f"| {name} | {other} | {median_ratio(found, name, other, 'rate'):.2f} |")


def _start(command: list[str], name: str, stack: contextlib.ExitStack) -> Callable[[], Measured]:
    """Start a contestant's process, and return what lets it have a turn."""
    environment = dict(os.environ)
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

    # once unasked, when it is ready
    answer()
    return turn


def _take_turns(contestant: Contestant, data: str, ids: str) -> None:
    """Measure one turn unasked, then one for each line that comes in; of two processes the first reads and answers."""
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

    said = torch.tensor(wanted)
    torch.distributed.broadcast(said, 0)
    return bool(said)
