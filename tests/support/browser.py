"""Chromium for the tests of pages: its options, window sizes, and axe's check of accessibility.

Import it after ``pytest.importorskip`` of playwright and axe.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.local_server import PATIENCE

CHROMIUM = shutil.which("chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# counts the calls of the explorer's worker that have no answer yet (space/explorer/remote_model.js)
COUNT_CALLS = """
window.unanswered = 0;
window.Worker = class extends Worker {
  #own = 0;
  constructor(...args) {
    super(...args);
    this.addEventListener("message", ({ data }) => { if ("id" in data && data.event === undefined) this.#count(-1); });
  }
  postMessage(message, ...rest) {
    if ("method" in message) this.#count(1);
    super.postMessage(message, ...rest);
  }
  terminate() {
    this.#count(-this.#own);
    super.terminate();
  }
  #count(by) {
    this.#own += by;
    window.unanswered += by;
  }
};
"""


@contextmanager
def launched() -> Iterator[Browser]:
    """Run Chromium; ``expect`` waits for PATIENCE."""
    with sync_playwright() as play:
        expect.set_options(timeout=1000 * PATIENCE)
        yield play.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=1000 * PATIENCE)


def new_page(browser: Browser, **context: Any) -> Page:  # noqa: ANN401 - of playwright
    """Open a window of its own, which waits for PATIENCE."""
    own = browser.new_context(**{"locale": "en-US", **context})
    own.set_default_timeout(1000 * PATIENCE)
    own.add_init_script(COUNT_CALLS)
    return own.new_page()


def settle(page: Page) -> None:
    """Wait until the explorer shows the effect of all that was done, before its values are read without ``expect``."""
    page.wait_for_function("() => window.unanswered === 0")


def screenshot(page: Page, name: str, *, full_page: bool = True) -> None:
    """Save a picture in build/screenshots if the environment has SCREENSHOTS, because each takes up to a second."""
    if "SCREENSHOTS" in os.environ:
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)


def serious(page: Page, part: str | None = None) -> list[str]:
    """Return the serious violations that axe finds in the page, or in the part that a selector names."""
    page.mouse.move(0, 0)
    # the colors' transitions must have ended
    page.wait_for_function("() => document.getAnimations().every(animation => animation.playState === 'finished')")
    found = Axe().run(page, context=part).response["violations"]
    return [
        f"{violation['id']}: {node['html']}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
