"""Serve a demo.

python tests/support/serve_demo.py FOLDER [slow]

With ``slow``, a word takes 0.1 s, and the demo serves one visitor at a time with one more in the queue.
"""

import runpy
import sys
import time
from collections.abc import Iterator
from typing import Any


def slow_down() -> None:
    """Replace the demo's functions and limits by slow ones."""
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
