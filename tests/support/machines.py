"""Two machines on one: a launcher for each, in network namespaces of their own or on loopback."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from support.processes import children, kill_together
from support.small_run import ROOT
from support.training_processes import SERVER
from support.waiting import wait_until

CONFIG = str(ROOT / "configs" / "accelerate" / "machines.yaml")
NEW_NETWORK = 0x40000000


@contextlib.contextmanager
def network_namespaces() -> Iterator[list[str]]:
    """Return the names of two network namespaces that a cable joins; none without the right to create them."""
    names = [f"wine-gpt-{os.getpid()}-{rank}" for rank in (0, 1)]
    commands = [f"netns add {name}" for name in names]
    commands.append(f"link add machine0 netns {names[0]} type veth peer name machine1 netns {names[1]}")
    for rank, name in enumerate(names):
        commands += [f"-n {name} addr add {address(rank)}/24 dev machine{rank}"]
        commands += [f"-n {name} link set {device} up" for device in ("lo", f"machine{rank}")]
    try:
        permitted = shutil.which("ip") is not None and all(
            subprocess.run(["ip", *line.split()], stderr=subprocess.DEVNULL).returncode == 0 for line in commands
        )
        yield names if permitted else []
    finally:
        if shutil.which("ip"):
            for name in names:
                subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


def address(rank: int) -> str:
    """Return a machine's address in its network namespace."""
    return f"10.99.99.{rank + 1}"


class Machines:
    """Starts and watches the launchers of two machines with one process each.

    Args:
        work: the folder of their logs, and of the cache of ``datasets``.
        namespaces: their network namespaces; none for loopback.
        port: of the first machine, on which the processes meet.
    """

    def __init__(self, work: Path, namespaces: list[str], port: int) -> None:
        self.work = work
        self.namespaces = namespaces
        self.port = port
        self.launchers: list[ForkServerProcess] = []

    def launch(self, commands: list[list[str]]) -> None:
        """Start the launcher of each machine with a script and its arguments."""
        main_address = address(0) if self.namespaces else "127.0.0.1"
        options = ["--config_file", CONFIG, "--num_processes", "2"]
        options += ["--main_process_ip", main_address, "--main_process_port", str(self.port)]
        self.launchers = []
        for rank, command in enumerate(commands):
            arguments = [*options, "--machine_rank", str(rank), *command]
            namespace = self.namespaces[rank] if self.namespaces else None
            launcher = SERVER.Process(target=_launch, args=(arguments, rank, namespace, self._log(rank), self.work))
            self._log(rank).unlink(missing_ok=True)
            launcher.start()
            self.launchers.append(launcher)

    def workers(self, rank: int) -> list[int]:
        """Return the process ids of the processes that a machine's launcher started."""
        return children(self.launchers[rank].pid)

    def wait_for(self, rank: int, line: str) -> None:
        """Wait until a machine has printed a line."""
        wait_until(
            lambda: line in self.output(rank),
            lambda: self.output(0) + self.output(1),
            alive=lambda: all(launcher.is_alive() for launcher in self.launchers),
        )

    def end(self) -> None:
        """Kill what still runs, such as after a test that failed."""
        for rank, launcher in enumerate(self.launchers):
            if launcher.is_alive():
                kill_together([launcher.pid, *self.workers(rank)])
            launcher.join()

    def exit_codes(self, seconds: float) -> list[int | None]:
        """Return the exit codes of the launchers, which must end within some seconds."""
        deadline = time.monotonic() + seconds
        for launcher in self.launchers:
            launcher.join(max(deadline - time.monotonic(), 0))
        return [launcher.exitcode for launcher in self.launchers]

    def output(self, rank: int) -> str:
        """Return what a machine printed since it was launched."""
        log = self._log(rank)
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def _log(self, rank: int) -> Path:
        return self.work / f"machine-{rank}.log"


def _launch(arguments: list[str], rank: int, namespace: str | None, log: Path, work: Path) -> None:
    """Be the launcher of a machine, in a process that has imported torch."""
    os.environ |= {"HF_DATASETS_CACHE": str(work / "cache"), "OMP_NUM_THREADS": "1"}
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    if namespace is not None:
        _enter(namespace)
        # gloo would take the address of the host's name
        os.environ["GLOO_SOCKET_IFNAME"] = f"machine{rank}"
    sys.argv = ["accelerate-launch", *arguments]
    from accelerate.commands.launch import main

    main()


def _enter(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}", "rb") as file:
        if libc.setns(file.fileno(), NEW_NETWORK):
            raise PermissionError(os.strerror(ctypes.get_errno()))
