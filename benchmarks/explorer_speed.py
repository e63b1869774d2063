"""Measure the explorer in Chromium: loading, first word, words per second, longest freeze of the page, memory.

    python benchmarks/explorer_speed.py
    python benchmarks/explorer_speed.py --explorer OTHER_CHECKOUT/space/explorer

A headless Chromium loads GPT-2s with random weights from loopback: the shape of configs/base.yaml and that of GPT-2
with 124 million parameters. CPU seconds are those of the page with all its threads; on an idle core they are the
seconds that a visitor waits. No debugger is attached, because for one Chromium keeps copies of what a page downloads.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
from memory import peak, resident
from transformers import GPT2Config, GPT2LMHeadModel

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.local_server import serving  # noqa: E402 - of the tests
from support.static_hub import StaticFiles, StaticHandler  # noqa: E402

SHAPES = {
    # shows what the explorer itself takes
    "tiny": {"vocab_size": 64, "n_positions": 64, "n_embd": 8, "n_layer": 1, "n_head": 1},
    "base": {"vocab_size": 10002, "n_positions": 192, "n_embd": 256, "n_layer": 3, "n_head": 4, "n_inner": 512},
    "gpt2": {},
}
WORDS = {"tiny": 50, "base": 180, "gpt2": 20}
REPETITIONS = 5
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# seconds until the page's next report
PATIENCE = 600

PAGE = """<!doctype html><title>-</title><script type="module">
import { loadRemoteModel } from "/explorer/remote_model.js";
const { shape, words, repetitions } = Object.fromEntries(new URLSearchParams(location.search));
const report = (figures) => fetch("/report", { method: "POST", body: JSON.stringify(figures) });
const timed = async (call) => {
    const start = performance.now();
    await call();
    return (performance.now() - start) / 1000;
};
// so that this page's process is the one that used the processor
let sum = 0;
for (let i = 0; i < 1e9; i++) sum += Math.sqrt(i);
await report({ sum });
let last = performance.now(), longest = 0;
setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - last); last = now; }, 5);
let model;
const source = { url: `${location.origin}/models/${shape}/` };
const load = await timed(async () => { model = await loadRemoteModel(source); });
// never the end of the text
const settings = { temperature: 0.9, topK: 0, suppress: model.generation.ends };
const write = (seed, maxNewTokens) => model.generate([1, 2, 3], { ...settings, seed, maxNewTokens });
const first = await timed(() => write(0, 1));
await report({ load, first });
longest = 0;
const texts = [];
for (let seed = 0; seed < repetitions; seed++) texts.push(await timed(() => write(seed, Number(words))));
await report({ texts, longest });
</script>"""


class Reports(StaticHandler):
    """Serves files, and queues what the page posts."""

    queue: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def do_POST(self) -> None:
        """Queue the figures."""
        self.queue.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()


def main() -> None:
    """Measure each shape and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--explorer", type=Path, default=ROOT / "space" / "explorer", help="the explorer's folder")
    explorer = parser.parse_args().explorer
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "index.html").write_text(PAGE)
        for shape, fields in SHAPES.items():
            model = GPT2LMHeadModel(GPT2Config(**fields, bos_token_id=None, eos_token_id=0))
            model.save_pretrained(folder / "models" / shape)
        mounts = {"/explorer/": explorer, "/models/": folder / "models", "/": folder}
        with serving(StaticFiles(mounts, handler=Reports)) as server:
            print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            for shape in SHAPES:
                weights = (folder / "models" / shape / "model.safetensors").stat().st_size / 1e6
                measure(server.address, shape, weights)


def measure(address: str, shape: str, weights: float) -> None:
    """Print a model's figures, from a browser of its own."""
    count = WORDS[shape]
    with chromium(f"{address}/index.html?shape={shape}&words={count}&repetitions={REPETITIONS}") as browser:
        Reports.queue.get(timeout=PATIENCE)
        page = page_of(browser)
        before = resident(page.pid)
        with peak(lambda: resident(page.pid), 0.02) as largest:
            loading, load_cpu = timed(page, lambda: Reports.queue.get(timeout=PATIENCE))
            writing, cpu = timed(page, lambda: Reports.queue.get(timeout=PATIENCE))
        grown = (largest() - before) / 1e6
    rates = [count / seconds for seconds in writing["texts"]]
    print(f"{shape}: {weights:.1f} MB of weights")
    print(
        f"  loading {loading['load']:.2f} s, first word after loading {loading['first']:.3f} s; {load_cpu:.2f} CPU s"
    )
    print(f"  words/s: {min(rates):.1f} to {max(rates):.1f}; per CPU second {REPETITIONS * count / cpu:.1f}")
    print(f"  longest freeze of the page while writing: {writing['longest']:.0f} ms")
    print(f"  memory: at most {grown:.0f} MB more than the empty page, {grown / weights:.1f} x the weights")


@contextmanager
def chromium(address: str) -> Iterator[psutil.Process]:
    """Open a page."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(shutil.which("chromium")), f"--user-data-dir={profile}", *FLAGS, address]
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        browser = psutil.Process(started.pid)
        try:
            yield browser
        finally:
            children = browser.children(recursive=True)
            started.terminate()
            started.wait()
            psutil.wait_procs(children, timeout=10)


def page_of(browser: psutil.Process) -> psutil.Process:
    """Return the browser's process that used the processor most; the others that run pages are kept ready, empty."""
    children = browser.children(recursive=True)
    return max((child for child in children if "--type=renderer" in child.cmdline()), key=cpu_seconds)


def timed(process: psutil.Process, call: Callable[[], Any]) -> tuple[Any, float]:
    """Return a call's result and the CPU seconds of a process meanwhile."""
    start = cpu_seconds(process)
    return call(), cpu_seconds(process) - start


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
