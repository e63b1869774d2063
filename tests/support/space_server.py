"""Serve the demo as it is published: its staged files, in a process where wine_gpt can't be imported."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from wine_gpt.publishing.staging import copy_demo

SPACE = Path(__file__).parents[2] / "space"
SUPPORT = Path(__file__).parent


@contextlib.contextmanager
def serving(log: Path, python: str = sys.executable, slow: bool = False, **environment: str) -> Iterator[str]:
    """Stage the demo next to its log, start it and yield its address.

    Args:
        log: receives what the process prints.
        python: the interpreter.
        slow: see serve_demo.py.
        environment: more environment variables.
    """
    programs = [str(SUPPORT / name) for name in ("without_wine_gpt.py", "serve_demo.py")]
    staged = log.parent / f"{log.name}-demo"
    staged.mkdir()
    copy_demo(staged)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WINE_GPT")}
    settings = {"GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, *programs, str(staged), *(["slow"] if slow else [])],
            env={**kept, **settings},
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, process, log)
            yield address
        finally:
            process.terminate()
            process.wait(20)


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text(errors="replace")
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{address}/config")
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text(errors="replace"))
