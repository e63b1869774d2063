"""Run ``scripts/publish.py`` and other scripts in one process, because each start of Python takes seconds.

The process is a new one, because huggingface_hub reads HF_ENDPOINT when it is imported. Waits are recorded
and skipped, a request times out only if it is the one that must hang, and the demo is the test's folder.
"""

import contextlib
import functools
import io
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.local_server import PATIENCE
from support.refused import error_line

TESTS = Path(__file__).parents[1]
SCRIPT = TESTS.parent / "scripts" / "publish.py"
# seconds after which the request that hangs times out
TIMEOUT = 0.2


@dataclass(frozen=True)
class Done:
    """What a command line did: its exit code, its output, and the seconds of each wait, in order."""

    code: int
    stdout: str
    stderr: str
    waits: list[float]

    @property
    def error(self) -> str:
        """The last line on stderr."""
        return self.stderr.splitlines()[-1] if self.stderr else ""

    def succeeded(self) -> str:
        """Assert exit code 0, and return stdout."""
        assert self.code == 0, self.stderr
        return self.stdout

    def refused(self) -> str:
        """Assert exit code 2 and a one-line error, and return the line."""
        return error_line(self.code, self.stderr)


class Publisher:
    """The process; ``run`` sends it a command line."""

    def __init__(self, environment: dict[str, str], space: Path, home: Path) -> None:
        self.space = space
        # the process's stderr, to which loggers write that were set up at its start
        self.log = home.with_suffix(".log")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
        python_path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        settings = {"HF_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path}
        # also if the tests run with a fixed seed, because no published file may depend on the order of a set
        settings["PYTHONHASHSEED"] = "random"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.publisher", str(space)],
            cwd=TESTS,
            env={**kept, **settings, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
        )

    def run(
        self,
        *arguments: object,
        script: Path = SCRIPT,
        token: str | None = None,
        reuse_staged: bool = False,
        hanging: int | None = None,
    ) -> Done:
        """Run a script.

        Args:
            arguments: the command line.
            script: the file.
            token: for this run only; an empty one means no token.
            reuse_staged: publish the folders that the same arguments staged before.
            hanging: the number, from 0, of the request that times out after TIMEOUT.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        options = {"token": token, "reuse_staged": reuse_staged, "hanging": hanging}
        command = {"arguments": [*map(str, (script, *arguments))], **options}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return Done(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _serve(space: Path) -> None:
    from wine_gpt.publishing import hub, publish, staging

    stage = publish.stage
    stage_once = functools.cache(lambda publication: stage(publication, Path(tempfile.mkdtemp(dir=space.parent))))

    def stage_from_cache(publication: Any, folder: Path) -> Any:  # noqa: ANN401
        return stage_once(publication)

    # of the next requests
    timeouts: list[float] = []
    previous: Any = None
    set_timeout = hub._set_timeout

    def set_own_timeout(request: Any) -> None:  # noqa: ANN401 - of httpx2
        nonlocal previous
        # nested calls of bounded_waits run the hook again
        if request is not previous:
            hub.TIMEOUT = timeouts.pop(0) if timeouts else PATIENCE
        previous = request
        set_timeout(request)

    hub._set_timeout = set_own_timeout
    staging.SPACE = space
    waits: list[float] = []
    time.sleep = waits.append
    answers = sys.stdout
    for line in sys.stdin:
        command = json.loads(line)
        waits.clear()
        timeouts.clear()
        if command["hanging"] is not None:
            timeouts += [PATIENCE] * command["hanging"] + [TIMEOUT]
        token = os.environ.get("HF_TOKEN")
        if command["token"] is not None:
            os.environ["HF_TOKEN"] = command["token"]
        publish.stage = stage_from_cache if command["reuse_staged"] else stage
        done = _run(command["arguments"])
        if token is not None:
            os.environ["HF_TOKEN"] = token
        print(json.dumps({**done, "waits": waits}), file=answers, flush=True)
    # without torch's shutdown, which takes seconds
    os._exit(0)


def _run(arguments: list[str]) -> dict[str, object]:
    stdout, stderr = io.StringIO(), io.StringIO()
    sys.argv = arguments
    code: object = 0
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            runpy.run_path(arguments[0], run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        except Exception as error:
            # a user would see a traceback
            code = 1
            print(f"Traceback: {type(error).__name__}: {error}", file=stderr)
    return {"code": code, "stdout": stdout.getvalue(), "stderr": stderr.getvalue()}


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
