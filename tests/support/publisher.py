"""A process that runs ``scripts/publish.py`` again and again, as a user would, without paying for each start.

huggingface_hub reads HF_ENDPOINT when it is imported, so it has to be a process of its own. Waiting is recorded
instead of done, connections are given up after a fraction of a second, and the demo is a folder of the test's.
"""

import contextlib
import functools
import importlib
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

SCRIPT = Path(__file__).parents[2] / "scripts" / "publish.py"
TIMEOUT = 0.5


@dataclass(frozen=True)
class Done:
    """What a command line did: exit code, output, and the seconds it asked to wait, in order."""

    code: int
    stdout: str
    stderr: str
    waits: list[float]

    @property
    def error(self) -> str:
        """The last line on stderr."""
        return self.stderr.splitlines()[-1] if self.stderr else ""


class Publisher:
    """The process; ``run`` gives it a command line."""

    def __init__(self, environment: dict[str, str], space: Path, home: Path) -> None:
        self.space = space
        # what loggers write, which have the stderr of the start
        self.log = home.with_suffix(".log")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(space)],
            env={**kept, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
        )

    def run(self, *arguments: object, token: str | None = None, staged: bool = False) -> Done:
        """Run the script.

        Args:
            arguments: the command line.
            token: for this time only; an empty one means none.
            staged: take what the same arguments staged the last time.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        wanted = {"arguments": [str(part) for part in arguments], "token": token, "staged": staged}
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        return Done(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _serve(space: Path) -> None:
    from wine_gpt.publishing import hub, staging

    # the package exports a function of that name
    publish = importlib.import_module("wine_gpt.publishing.publish")

    stage = publish.stage
    kept = functools.cache(lambda publication: stage(publication, Path(tempfile.mkdtemp(dir=space.parent))))
    hub.TIMEOUT = TIMEOUT
    staging.SPACE = space
    waits: list[float] = []
    time.sleep = waits.append
    answers = sys.stdout
    for line in sys.stdin:
        wanted = json.loads(line)
        waits.clear()
        token = os.environ.get("HF_TOKEN")
        if wanted["token"] is not None:
            os.environ["HF_TOKEN"] = wanted["token"]
        publish.stage = (lambda publication, folder: kept(publication)) if wanted["staged"] else stage
        done = _run(wanted["arguments"])
        if token is not None:
            os.environ["HF_TOKEN"] = token
        print(json.dumps({**done, "waits": waits}), file=answers, flush=True)


def _run(arguments: list[str]) -> dict[str, object]:
    stdout, stderr = io.StringIO(), io.StringIO()
    sys.argv = [str(SCRIPT), *arguments]
    code: object = 0
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        except Exception as error:
            # what a user would see as a traceback
            code = 1
            print(f"Traceback: {type(error).__name__}: {error}", file=stderr)
    return {"code": code, "stdout": stdout.getvalue(), "stderr": stderr.getvalue()}


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
