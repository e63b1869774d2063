"""Serve a demo.

python tests/support/serve_demo.py FOLDER [HOLD]

With ``HOLD``, the demo serves one visitor at a time with one more in the queue. While the file HOLD exists, a text
stops after three words until the file is deleted or a visitor stops a text.
"""

import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def hold_texts(hold: Path) -> None:
    """Replace the demo's functions and limits by ones that wait for the file's deletion."""
    from gradio import routes

    import engine
    import page

    write, cancel_tasks = engine.Engine.write, routes.cancel_tasks

    def write_and_wait(*arguments: Any) -> Iterator[list[int]]:  # noqa: ANN401 - as Engine.write's
        for number, word in enumerate(word for piece in write(*arguments) for word in piece):
            while number == 3 and hold.exists():
                time.sleep(0.01)
            yield [word]

    async def release_and_cancel(task_ids: set[str]) -> list[str]:
        # cancelling waits for the thread that writes
        hold.unlink(missing_ok=True)
        return await cancel_tasks(task_ids)

    engine.Engine.write = write_and_wait  # type: ignore[method-assign]
    routes.cancel_tasks = release_and_cancel
    page.MAX_CONCURRENT = page.MAX_QUEUE = 1
    page.MODEL_CALL["concurrency_limit"] = page.WRITING["concurrency_limit"] = 1


def wait_for_the_start() -> None:
    """Lift Gradio's limits of a few seconds for its own start, which a busy machine exceeds."""
    from gradio import http_server, networking

    networking.url_ok = lambda url: True
    http_server.time = SimpleNamespace(sleep=time.sleep, time=lambda: 0.0)  # type: ignore[assignment]


if __name__ == "__main__":
    wait_for_the_start()
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    if sys.argv[2:]:
        hold_texts(Path(sys.argv[2]))
    runpy.run_path(f"{folder}/app.py", run_name="__main__")
