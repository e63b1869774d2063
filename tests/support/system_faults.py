"""Faults from the kernel: a kill at a given system call, a list of the calls, a full or read-only disk.

Processes are forked from one that has imported torch, as in :mod:`support.training_processes`. Tests are skipped
without strace or the right to mount.
"""

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from support.training_processes import SERVER

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, a Debian package")

NEW_MOUNTS = 0x20000
PRIVATE, RECURSIVE = 0x40000, 0x4000
READ_ONLY = 1


class MountError(Exception):
    """The process has no right to mount."""


def traced(
    log: Path,
    options: list[str],
    target: Callable[..., Any],
    *arguments: Any,  # noqa: ANN401
) -> tuple[int | None, list[str]]:
    """Call ``target`` in a process under strace with these options; return its exit code and the lines of the log."""
    ready, child_end = SERVER.Pipe()
    process = SERVER.Process(target=_call_when_ready, args=(child_end, target, arguments))
    process.start()
    # wait for the imports, because strace must not count their system calls
    assert ready.recv() == "here"
    command = ["strace", "-f", "-y", "-o", str(log), *options, "-p", str(process.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    if "attached" not in attached:
        process.kill()
        pytest.skip(f"strace may not attach here: {attached.strip()}")
    ready.send("go")
    process.join()
    tracer.communicate()
    return process.exitcode, log.read_text(encoding="utf-8").splitlines()


def run_in_subprocess(target: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """Call ``target`` in a process that may have its own mounts, and return the result."""
    here, there = SERVER.Pipe()
    process = SERVER.Process(target=_answer, args=(there, target, arguments))
    process.start()
    there.close()
    try:
        answer = here.recv()
    except EOFError:
        answer = "no answer"
    process.join()
    if isinstance(answer, MountError):
        pytest.skip(f"needs the right to mount: {answer}")
    assert process.exitcode == 0, answer
    return answer


@contextlib.contextmanager
def disk(folder: Path, options: str, *, read_only: bool = False) -> Iterator[None]:
    """Put a file system in memory over a folder, for this process alone; ``options`` as in ``size=64k``."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount(str(folder).encode(), options.encode(), READ_ONLY if read_only else 0)
    yield
    # the mount ends with the process


def calls(log: list[str]) -> list[tuple[str, str]]:
    """Return name and path of each call in strace's log; for a rename, the old path."""
    found = [re.match(r'\d+ +(\w+)\((?:AT_FDCWD<[^>]*>, )?(?:\d+<([^>]*)>|"([^"]*)")', line) for line in log]
    return [(match[1], match[2] or match[3]) for match in found if match]


def _mount(folder: bytes, options: bytes, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for result in (
        libc.unshare(NEW_MOUNTS),
        libc.mount(None, b"/", None, PRIVATE | RECURSIVE, None),
        libc.mount(b"tmpfs", folder, b"tmpfs", flags, options),
    ):
        if result:
            raise MountError(os.strerror(ctypes.get_errno()))


def _call_when_ready(connection: Connection, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    connection.send("here")
    connection.recv()
    target(*arguments)
    # skips the writes of a normal exit
    os._exit(0)


def _answer(to: Connection, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        to.send(target(*arguments))
    except MountError as error:
        to.send(error)
