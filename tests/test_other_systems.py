"""What Windows and macOS lack: POSIX modules at import, opening a folder to flush it, operations on the GPU."""

import errno
import fcntl
import importlib
import os
import pkgutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wine_gpt
from wine_gpt.cli import exits_cleanly
from wine_gpt.files import make_folder, read_json, write_json

# what only POSIX systems, or only Linux, have
MODULES = ("crypt", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
SIGNALS = ("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGUSR2")
OF_OS = (
    *("chown", "fchmod", "fork", "getloadavg", "getpgid", "geteuid", "getuid", "killpg", "mkfifo", "pread", "setsid"),
    *("posix_fadvise", "register_at_fork", "sched_getaffinity", "statvfs", "sync", "sysconf", "uname"),
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW"),
)
# each metric's page is a program, which its Space runs
NAMES = [
    module.name
    for module in pkgutil.walk_packages(wine_gpt.__path__, "wine_gpt.")
    if not module.name.endswith((".__main__", ".app"))
]


@pytest.fixture
def imported_before() -> Iterator[None]:
    """Import all modules, with the libraries that they use, and restore them at the end."""
    for name in NAMES:
        importlib.import_module(name)
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "wine_gpt"}
    for name in ours:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "wine_gpt"]:
        del sys.modules[name]
    sys.modules.update(ours)


@pytest.mark.usefixtures("imported_before")
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_every_module_imports_without_what_only_linux_has(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    if system == "win32":
        for name in MODULES:
            monkeypatch.setitem(sys.modules, name, None)
        for name in SIGNALS:
            monkeypatch.delattr(signal, name)
    for name in OF_OS if system == "win32" else ("posix_fadvise", "sched_getaffinity"):
        monkeypatch.delattr(os, name)
    for name in NAMES:
        importlib.import_module(name)


def test_files_are_flushed_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a folder can't be opened, and only a file that is open for writing can be flushed."""
    open_file, flush = os.open, os.fsync

    def open_as_windows(path: Path, flags: int, mode: int = 0o777) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_file(path, flags, mode)

    def flush_as_windows(handle: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flush(handle)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "open", open_as_windows)
    monkeypatch.setattr(os, "fsync", flush_as_windows)
    make_folder(tmp_path / "runs" / "sample")
    write_json(tmp_path / "runs" / "sample" / "metrics.json", {"loss": 1})
    assert read_json(tmp_path / "runs" / "sample" / "metrics.json") == {"loss": 1}


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("The operator 'aten::_linalg_eigvals' is not currently implemented for the MPS device."),
        TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.07 GB)"),
    ],
)
def test_what_apples_gpu_can_not_do_is_one_line(capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    @exits_cleanly
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: Apple's GPU (MPS) can't compute this: use the CPU, with the variable PYTORCH_ENABLE"
    )
    assert line.endswith(f"({error})")
