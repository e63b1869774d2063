"""Measure the explorer in Chromium: loading, first word, words per second, longest freeze of the page, memory.

python benchmarks/explorer_speed.py

A headless Chromium loads GPT-2s with random weights from loopback: the shape of configs/base.yaml and that of GPT-2
with 124 million parameters. CPU seconds are those of the page with all its threads; on an idle core they are the
seconds that a visitor waits.
"""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright
from transformers import GPT2Config, GPT2LMHeadModel

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.local_server import serving  # noqa: E402 - of the tests
from support.static_hub import StaticFiles  # noqa: E402

SHAPES = {
    # shows what the explorer itself takes
    "tiny": {"vocab_size": 64, "n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 1},
    "base": {"vocab_size": 10002, "n_positions": 192, "n_embd": 256, "n_layer": 3, "n_head": 4, "n_inner": 512},
    "gpt2": {},
}
WORDS = {"tiny": 50, "base": 180, "gpt2": 20}
REPETITIONS = 5
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")

PAGE = """<!doctype html><title>-</title><script type="module">
import { loadRemoteModel } from "/explorer/remote_model.js";
let last = performance.now(), longest = 0;
setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - last); last = now; }, 5);
window.load = async (name) => {
    window.model?.close();
    const start = performance.now();
    window.model = await loadRemoteModel({ url: `${location.origin}/models/${name}/` });
    return (performance.now() - start) / 1000;
};
window.write = async (count, seed) => {
    longest = 0;
    const start = performance.now();
    let first;
    // never the end of the text
    const settings = { temperature: 0.9, topK: 0, seed, maxNewTokens: count, suppress: model.generation.ends };
    await model.generate([1, 2, 3], settings, () => { first ??= (performance.now() - start) / 1000; });
    return { first, seconds: (performance.now() - start) / 1000, longest };
};
window.ready = true;
</script>"""


def main() -> None:
    """Measure each shape and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "index.html").write_text(PAGE)
        for shape, fields in SHAPES.items():
            GPT2LMHeadModel(GPT2Config(**fields, bos_token_id=None, eos_token_id=0)).save_pretrained(
                folder / "models" / shape
            )
        mounts = {"/explorer/": ROOT / "space" / "explorer", "/models/": folder / "models", "/": folder}
        with serving(StaticFiles(mounts)) as server:
            print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            for shape in SHAPES:
                weights = (folder / "models" / shape / "model.safetensors").stat().st_size / 1e6
                measure(server.address, shape, weights)


def measure(address: str, shape: str, weights: float) -> None:
    """Print a model's figures, from a browser of its own."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"{address}/index.html")
        page.wait_for_function("window.ready")
        processes = renderers()
        before = memory(processes)
        with peak_memory(processes) as peak:
            loaded, load_cpu = timed(processes, lambda: page.evaluate("name => load(name)", shape))
            first = page.evaluate("write(1, 0)")["first"]
            count = WORDS[shape]
            texts, cpu = timed(
                processes,
                lambda: [page.evaluate("([n, s]) => write(n, s)", [count, seed]) for seed in range(REPETITIONS)],
            )
        browser.close()
    rates = [count / text["seconds"] for text in texts]
    print(f"{shape}: {weights:.1f} MB of weights")
    print(f"  loading {loaded:.2f} s ({load_cpu:.2f} CPU s), first word after loading {first:.3f} s")
    print(f"  words/s: {min(rates):.1f} to {max(rates):.1f}; per CPU second {REPETITIONS * count / cpu:.1f}")
    print(f"  longest freeze of the page while writing: {max(text['longest'] for text in texts):.0f} ms")
    grown = peak() - before
    print(f"  memory: at most {grown:.0f} MB more than the empty page, {grown / weights:.1f} x the weights")


def timed(processes: list[psutil.Process], call: Callable[[], Any]) -> tuple[Any, float]:
    """Return a call's result and the CPU seconds of processes meanwhile."""
    start = cpu_seconds(processes)
    return call(), cpu_seconds(processes) - start


def renderers() -> list[psutil.Process]:
    """Return the browser's processes that run pages: the page's, and an empty one that Chromium keeps ready."""
    return [process for process in psutil.Process().children(recursive=True) if "--type=renderer" in process.cmdline()]


def memory(processes: list[psutil.Process]) -> float:
    """Return the resident memory of processes in MB."""
    return sum(process.memory_info().rss for process in processes) / 1e6


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return the CPU seconds that processes have used."""
    return sum(process.cpu_times().user + process.cpu_times().system for process in processes)


@contextmanager
def peak_memory(processes: list[psutil.Process]) -> Iterator[Callable[[], float]]:
    """Watch processes; yield a function that returns their largest resident memory in MB."""
    largest, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            largest[0] = max(largest[0], memory(processes))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: largest[0]
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main()
