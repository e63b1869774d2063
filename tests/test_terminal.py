"""Test the commands in terminals and environments that differ: encodings, closed streams, signals, no installation."""

import importlib
import os
import pkgutil
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from support.small_run import write_reviews
from support.system_faults import run_in_subprocess
from support.training_processes import start_script

from wine_gpt import installation
from wine_gpt.errors import UserError
from wine_gpt.training.signals import GracefulShutdown
from wine_gpt.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
TINY = [
    *("--model.n_layer=1", "--model.n_head=2", "--model.n_embd=16", "--model.n_inner=16", "--training.epochs=1"),
    *("--training.batch_tokens=8192", "--output_dir=run"),
]
# each runs a command line as "$@", with a standard stream that is closed
CLOSED = {"stdin": '"$@" <&-', "stdout": '"$@" >&-', "stderr": '"$@" 2>&-', "all": '"$@" <&- >&- 2>&-'}
# a command that uses each standard stream and starts at once, because it does not import torch
QUICK_COMMAND = """
import sys
from wine_gpt.cli import exits_cleanly

@exits_cleanly
def main():
    sys.stderr.write("an error\\n")
    print("\\N{END OF PROOF} 100.0%", sys.stdin.readable())

main()
"""


def script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments]


@pytest.fixture(autouse=True, scope="module")
def signals_of_a_terminal() -> Iterator[None]:
    """Restore the signals that nohup and a shell's background jobs ignore, as would processes under test."""
    numbers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file of 150 reviews."""
    return str(write_reviews(tmp_path_factory.mktemp("terminal") / "reviews.json"))


def run(command: Sequence[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, cwd=folder, env={**os.environ, **variables}, capture_output=True)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=lambda variables: " ".join(f"{name}={value}" for name, value in variables.items()),
)
def test_a_stream_that_lacks_a_character_gets_it_escaped(tmp_path: Path, variables: dict[str, str]) -> None:
    done = run([sys.executable, "-c", QUICK_COMMAND], tmp_path, **variables)
    assert (done.returncode, done.stderr) == (0, b"an error\n")
    assert done.stdout == b"\\u220e 100.0% True\n"


@pytest.mark.parametrize("closed", CLOSED)
def test_a_closed_stream_does_not_matter(tmp_path: Path, closed: str) -> None:
    done = run(["bash", "-c", CLOSED[closed], "bash", sys.executable, "-c", QUICK_COMMAND], tmp_path)
    assert done.returncode == 0
    assert done.stdout.endswith(b"" if closed in ("stdout", "all") else b" 100.0% True\n")
    assert bool(done.stdout) == (closed not in ("stdout", "all"))
    assert done.stderr == (b"" if closed in ("stderr", "all") else b"an error\n")


def test_a_closed_pipe_under_stdout_ends_without_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", QUICK_COMMAND]
    with open(writer, "wb") as pipe:
        done = subprocess.run(command, cwd=tmp_path, stdout=pipe, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"an error\n")


def test_a_full_disk_under_stdout_gets_one_line(tmp_path: Path) -> None:
    done = run(["bash", "-c", '"$@" > /dev/full', "bash", sys.executable, "-c", QUICK_COMMAND], tmp_path)
    line = b"error: can't write the output: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, b"an error\n" + line)


def test_an_argument_in_another_encoding_gets_one_line(tmp_path: Path) -> None:
    done = run([*script("pretrain"), b"--data.prefix", b"vino a\xf1ejo"], tmp_path)  # type: ignore[list-item]
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: command line: 'vino a\\udcf1ejo' is not utf-8")
    assert done.stderr.count(b"\n") == 1


def fail_at_epoch_end(folder: Path) -> None:
    """Make this process's trainings in a folder end with an error."""

    def end_epoch(*_: object) -> None:
        raise UserError("the end of the epoch")

    os.chdir(folder)
    Trainer.end_epoch = end_epoch  # type: ignore[method-assign]


def test_an_error_has_a_line_of_its_own_below_the_bar(reviews: str, tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    arguments = [str(ROOT / "scripts" / "pretrain.py"), "--data.path", reviews, *TINY]
    prepare = partial(fail_at_epoch_end, tmp_path)
    process = start_script(arguments, tmp_path / "cache", Path(os.ttyname(end)), prepare=prepare)
    shown = b""
    is_alive = True
    while is_alive:
        # asked first, because it may print until it ends
        is_alive = process.is_alive()
        while select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 1024)
    os.close(end)
    os.close(terminal)
    assert process.exitcode == 2, shown
    # the bar
    assert b"%|" in shown
    assert b"\nerror: the end of the epoch\r\n" in shown


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_nohup_keeps_sighup_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with GracefulShutdown() as shutdown:
            signal.raise_signal(signal.SIGHUP)
            assert shutdown.signal == 0
            signal.raise_signal(signal.SIGTERM)
            assert shutdown.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "ACCELERATE_DYNAMO_BACKEND ACCELERATE_MIXED_PRECISION"])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_a_launcher_forwards_does_not_end_a_run_before_it_is_saved(
    monkeypatch: pytest.MonkeyPatch, variable: str, second: signal.Signals
) -> None:
    """SLURM and systemd signal the launcher and its processes, and the launcher or its end signals them again."""
    for name in variable.split():
        monkeypatch.setenv(name, "0")
    with GracefulShutdown() as shutdown:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(second)
        assert shutdown.signal == signal.SIGTERM


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no SIGUSR1")
@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2"])
def test_the_signals_of_schedulers_are_recorded(name: str) -> None:
    number = getattr(signal, name)
    with GracefulShutdown() as shutdown:
        signal.raise_signal(number)
        assert shutdown.signal == number
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize("module", ["yaml", "draccus", "torch", "transformers"])
def test_ctrl_c_during_an_import_ends_without_traceback(tmp_path: Path, module: str) -> None:
    code = f"""
import importlib.abc, os, signal, sys
class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["scripts/pretrain.py", *{TINY!r}]
from wine_gpt.cli import command_main
command_main("pretrain")()
"""
    done = run([sys.executable, "-c", code], tmp_path)
    assert (done.returncode, done.stderr) == (130, b"stopped by Ctrl-C\n")


def import_without_posix() -> None:
    """Import all modules in this process after it has lost what Windows lacks."""
    import wine_gpt.api

    for name in ("fcntl", "resource", "pwd", "grp", "termios"):
        sys.modules[name] = None  # type: ignore[assignment]
    for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGPIPE", "SIGALRM"):
        delattr(signal, name)
    for name in ("fork", "getuid", "getpgid", "killpg", "WNOHANG", "sched_getaffinity", "O_DIRECTORY", "statvfs"):
        delattr(os, name)
    for name in [name for name in sys.modules if name.startswith("wine_gpt.")]:
        del sys.modules[name]
    for module in pkgutil.walk_packages(wine_gpt.__path__, "wine_gpt."):
        if "bundled" not in module.name and "metrics." not in module.name:
            importlib.import_module(module.name)


def test_all_modules_can_be_imported_without_posix() -> None:
    run_in_subprocess(import_without_posix)


def test_a_checkout_that_is_not_installed_trains_also_after_its_pipe_is_closed(reviews: str, tmp_path: Path) -> None:
    """The packages are found, but wine_gpt has no metadata."""
    (tmp_path / "site").mkdir()
    (packages,) = (Path(path) for path in sys.path if (Path(path) / "torch").is_dir())
    for path in [*packages.iterdir(), ROOT / "wine_gpt", ROOT / "configs"]:
        if "wine_gpt-" not in path.name:
            (tmp_path / "site" / path.name).symlink_to(path)
    # a file, because the line that names the sample would find the pipe closed before the training
    command = [sys.executable, "-S", str(ROOT / "scripts" / "pretrain.py"), "--data.path", reviews, *TINY]
    # an empty cache, because tokenizing writes to stderr
    variables = {"PYTHONPATH": str(tmp_path / "site"), "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = run(["bash", "-o", "pipefail", "-c", '"$@" 2>&1 | true', "bash", *command], tmp_path, **variables)
    assert (done.returncode, done.stdout, done.stderr) == (141, b"", b"")
    assert '"wine_gpt": "' in (tmp_path / "run" / "metrics.json").read_text(encoding="utf-8")


def test_the_advised_installation_works_from_a_checkout_and_from_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert installation.install_command("kaggle") == 'pip install -e ".[kaggle]"'
    monkeypatch.chdir(tmp_path)
    assert installation.install_command("kaggle") == f'pip install -e "{ROOT}[kaggle]"'
    # where a wheel is installed there is no pyproject.toml above the package
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "wine_gpt" / "installation.py"))
    assert installation.install_command("evaluation").startswith(
        "pip install 'evaluate<0.5,>=0.4.6' 'scikit-learn<2,>=1.7'"
    )


def test_a_notebooks_backend_of_matplotlib_does_not_matter(tmp_path: Path) -> None:
    code = "from wine_gpt.plots import new_axes; new_axes('x', 'y')"
    environment = {**os.environ, "MPLBACKEND": "module://another_environment.backend"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
