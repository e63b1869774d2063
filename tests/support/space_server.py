"""Serve the demo as it is published: its staged files, in a process where wine_gpt can't be imported."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from gradio_client import Client

from support.local_server import PATIENCE, reserved_port
from support.waiting import wait_until
from wine_gpt.publishing.staging import copy_demo

SPACE = Path(__file__).parents[2] / "space"
SUPPORT = Path(__file__).parent


@contextlib.contextmanager
def serving(log: Path, python: str = sys.executable, hold: Path | None = None, **environment: str) -> Iterator[str]:
    """Stage the demo next to its log, start it and yield its address.

    Args:
        log: receives what the process prints.
        python: the interpreter.
        hold: a file that stops texts while it exists; see serve_demo.py.
        environment: more environment variables.
    """
    programs = [str(SUPPORT / name) for name in ("without_wine_gpt.py", "serve_demo.py")]
    staged = log.parent / f"{log.name}-demo"
    staged.mkdir()
    copy_demo(staged)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WINE_GPT")}
    with log.open("wb") as output, reserved_port() as port:
        settings = {"GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment}
        process = subprocess.Popen(
            [python, *programs, str(staged), *([str(hold)] if hold else [])],
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
            process.wait(PATIENCE)


def client_of(address: str, **options: Any) -> Client:  # noqa: ANN401 - as of gradio's Client
    """Return gradio's client of the demo."""
    return Client(address, verbose=False, httpx_kwargs={"timeout": PATIENCE}, **options)


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    def answers() -> bool:
        with contextlib.suppress(httpx.ConnectError):
            httpx.get(f"{address}/config", timeout=PATIENCE)
            return True
        return False

    wait_until(answers, lambda: log.read_text(errors="replace"), alive=lambda: process.poll() is None)
