"""Start the child process that reads and tokenizes the data of a training, and get its answer.

This module imports neither torch nor transformers, so that a command can start the child before it imports them.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import to_flat
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject

# what the child process runs, with this process's search path, so that it finds the same modules
RUN_CHILD = """
import sys
sys.path[:] = sys.argv[1:]
from wine_gpt.imports import search_garbage_rarely
search_garbage_rarely()
from wine_gpt.tokenizer.prepare import main
main()
"""
# seconds after SIGTERM in which the child can remove its incomplete files
END_SECONDS = 5.0


def saves_memory() -> bool:
    """Return whether a child process would save memory: not if this process has imported datasets already."""
    return "datasets" not in sys.modules and os.name == "posix" and bool(sys.executable)


class ReadingProcess:
    """A child process that does the work of :func:`wine_gpt.tokenizer.prepare.prepare`, and ends with this process.

    As a context manager it ends the child on leaving.

    Args:
        config: see that function.
        held_out: see that function.
    """

    def __init__(self, config: PretrainConfig, held_out: bool) -> None:
        self._process = _start()
        request = json.dumps({"settings": to_flat(config), "held_out": held_out})
        # the pipe stays open, because its end tells the child that this process has ended
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()

    def answer(self) -> JsonObject:
        """Wait for the child's answer.

        Raises:
            UserError: if the child process ends without one.
        """
        answer = self._process.stdout.read()
        code = self._process.wait()
        if code or not answer:
            if code == -signal.SIGKILL:
                memory = "probably for lack of memory: close other programs, or lower data.max_characters"
                raise UserError(f"data: the process that reads the reviews was killed by SIGKILL, {memory}")
            end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise UserError(f"data: the process that reads the reviews {end}: see the error above")
        content: JsonObject = json.loads(answer)
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def _start() -> Any:  # noqa: ANN401 - a Popen, whose pipes typeshed takes for None
    return subprocess.Popen(
        [sys.executable, "-c", RUN_CHILD, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        # its own group, so that Ctrl-C reaches this process only, which ends the child
        process_group=0,
    )
