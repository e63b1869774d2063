"""Measure the demo under load: time to the first word, words per second, 50 visitors at once, memory.

python benchmarks/space_load.py MODEL

Starts space/app.py in a new process and calls it through its queue, as visitors do.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
from memory import resident

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.local_server import reserved_port  # noqa: E402 - of the tests

APP = ROOT / "space" / "app.py"
PROMPT = "wine review : italy : tuscany : sangiovese :"
VISITORS = 50
REVIEWS = 1_000
REVIEWS_AT_ONCE = 4


def main() -> None:
    """Start the demo, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a run")
    model = parser.parse_args().model
    imports = time_imports()
    with reserved_port() as port:
        environment = {**os.environ, "WINE_GPT_MODEL": model, "GRADIO_SERVER_PORT": str(port)}
        started = time.perf_counter()
        server = subprocess.Popen([sys.executable, str(APP)], env=environment, stdout=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address)
            ready = time.perf_counter() - started
            print(f"start to ready: {ready:.1f} s, of which imports {imports:.1f} s")
            one_visitor(address)
            many_visitors(address)
            memory(address, server.pid)
        finally:
            server.terminate()
            server.wait()


def time_imports() -> float:
    """Return the seconds that importing the demo's packages takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio, peft, torch, transformers; peft.PeftModel"], check=True)
    return time.perf_counter() - started


def wait_for(address: str) -> None:
    """Wait until the page answers."""
    while True:
        try:
            httpx.get(f"{address}/config")
            return
        except httpx.HTTPError:
            time.sleep(0.05)


def one_visitor(address: str) -> None:
    """Print the time to the first word and the words per second."""
    visit(address, 0)
    visits = [visit(address, seed) for seed in range(1, 31)]
    first = [1000 * visit[0] for visit in visits]
    rates = [visit[2] / visit[1] for visit in visits]
    print(f"first word: median {statistics.median(first):.0f} ms, slowest of 30 {max(first):.0f} ms")
    print(f"words/s, from the click to the last word: median {statistics.median(rates):.0f}, slowest {min(rates):.0f}")


def many_visitors(address: str) -> None:
    """Print the time to the first word and the words per second of 50 visitors at once."""
    visits: list[tuple[float, float, int]] = []
    threads = [
        threading.Thread(target=lambda seed=seed: visits.append(visit(address, seed))) for seed in range(VISITORS)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    first = sorted(visit[0] for visit in visits)
    middle, last = first[len(first) // 2], first[-1]
    served = sum(visit[2] > 0 for visit in visits)
    print(
        f"{VISITORS} visitors at once: {served} served in {seconds:.1f} s; first word after {middle:.1f} s (median), "
        f"{last:.1f} s (last); {sum(visit[2] for visit in visits) / seconds:.0f} words/s together"
    )


def memory(address: str, process: int) -> None:
    """Print the server's resident memory after each 200 reviews."""
    print("resident memory after reviews:", end="", flush=True)
    for done in range(0, REVIEWS + 1, 200):
        print(f" {done}: {resident(process) / 1e6:.0f} MB", end="", flush=True)
        if done < REVIEWS:
            write_some(address, done, 200)
    print()


def write_some(address: str, start: int, count: int) -> None:
    """Generate ``count`` reviews, a few at once."""

    def write(first: int) -> None:
        for seed in range(first, start + count, REVIEWS_AT_ONCE):
            visit(address, seed)

    threads = [threading.Thread(target=write, args=(start + offset,)) for offset in range(REVIEWS_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def visit(address: str, seed: int) -> tuple[float, float, int]:
    """Generate a review; return the seconds to its first and to its last word, and its number of words."""
    started = time.perf_counter()
    call = f"{address}/gradio_api/call/generate"
    body = {"data": [PROMPT, 0.8, 1.0, None, seed, "base"]}
    event = httpx.post(call, json=body, timeout=120).json()["event_id"]
    first, text = 0.0, ""
    with httpx.stream("GET", f"{call}/{event}", timeout=120) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: ") and line != "data: null":
                first = first or time.perf_counter() - started
                text = json.loads(line.removeprefix("data: "))[0] or text
    written = text[len(PROMPT) :].split()
    return first, time.perf_counter() - started, len(written)


if __name__ == "__main__":
    main()
