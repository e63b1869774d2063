"""Serve a demo.

python tests/support/serve_demo.py FOLDER [slow]

A slow one takes 0.1 s per word, serves one visitor at a time and lets one more wait.
"""

import runpy
import sys
import time
from collections.abc import Iterator
from typing import Any


def slow_down() -> None:
    """Replace the functions and numbers of the demo that make it slow."""
    import engine
    import page

    write = engine.Engine.write

    def write_slowly(*arguments: Any) -> Iterator[list[int]]:  # noqa: ANN401 - as Engine.write's
        for piece in write(*arguments):
            for word in piece:
                time.sleep(0.1)
                yield [word]

    engine.Engine.write = write_slowly  # type: ignore[method-assign]
    page.MAX_CONCURRENT = page.MAX_QUEUE = page.MODEL_CALL["concurrency_limit"] = 1


if __name__ == "__main__":
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    if sys.argv[2:] == ["slow"]:
        slow_down()
    runpy.run_path(f"{folder}/app.py", run_name="__main__")
