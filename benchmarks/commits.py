"""Compare the training speed of two checkouts, ten steps of each in turn.

git worktree add /tmp/old COMMIT
python benchmarks/commits.py /tmp/old . winemag-data-first-8000.json
OMP_NUM_THREADS=1 python benchmarks/commits.py /tmp/old . winemag-data-first-8000.json --rounds 20

Each checkout runs its own package and its own benchmarks/training_speed.py. A ratio is the median over the rounds of
the first checkout's time divided by the second's: above 1 the second is faster. On a busy machine compare CPU times,
with one thread.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

from contest import Found, median_ratio, start_contestant


def main() -> None:
    """Measure both checkouts in turn in each precision and print a Markdown table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT")
    parser.add_argument("data", nargs="?", default="sample")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "no"])
    arguments = parser.parse_args()
    print("| precision | wall time | CPU time |\n|---|---|---|")
    for precision in arguments.precisions:
        found = measure(arguments.checkouts, arguments.data, f"wine_gpt, {precision}", arguments.rounds)
        wall, cpu = (median_ratio(found, "0", "1", key) for key in ("ms", "cpu_ms"))
        print(f"| {precision} | {wall:.3f} | {cpu:.3f} |", flush=True)


def measure(checkouts: list[Path], data: str, contestant: str, rounds: int) -> Found:
    """Return the measurements of each checkout, by its position on the command line."""
    found: Found = {str(index): [] for index in range(len(checkouts))}
    with contextlib.ExitStack() as stack:
        turns = []
        for checkout in checkouts:
            script = str(checkout.resolve() / "benchmarks" / "training_speed.py")
            # the spin limit is what the commands of both checkouts set
            environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "GOMP_SPINCOUNT": "1000"}
            turns.append(start_contestant([script, data, "--measure"], contestant, stack, environment))
        for _ in range(rounds):
            for results, turn in zip(found.values(), turns, strict=True):
                results.append(turn())
            print({name: results[-1] for name, results in found.items()}, file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
