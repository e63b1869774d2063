"""Make the pictures of README and docs from the quickstart's run, with the installed Chromium.

make quickstart .venv/installed-dev && .venv/bin/python docs/make_pictures.py
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews
from wine_gpt.evaluation.ngram_filter import FILE_NAME
from wine_gpt.evaluation.ngram_index import build_index
from wine_gpt.publishing.explorer_server import ExplorerServer

DOCS = Path(__file__).parent
RUN = DOCS.parent / "runs" / "sample"
GENERATE = (sys.executable, "scripts/generate.py", "runs/sample")
# The page opens on its first word; another word has more alternatives.
SHOW_WORD = "<script>document.querySelectorAll('#text button')[27].click()</script>"
CHROMIUM = shutil.which("chromium") or "chromium"
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-device-scale-factor=1.5",
)

# A review of the demo, and the index of a word with several likely alternatives.
DEMO = {"prompt": "wine review : italy : tuscany : sangiovese :", "temperature": 0.8, "seed": 7}

# The same review in the explorer, which draws other numbers of a seed, and a word with several likely alternatives.
EXPLORER = {"prompt": "wine review : italy : tuscany : sangiovese :", "temperature": 0.8, "seed": 3, "word": 18}
EXPLORER_THUMBNAIL = DOCS.parent / "space" / "explorer" / "thumbnail.png"

# The Space's picture on social networks: words shaded as the demo shades them, for any corpus.
THUMBNAIL = DOCS.parent / "space" / "thumbnail.png"
THUMBNAIL_WORDS = (("A", 8), ("small", 30), ("GPT-2", 70), ("writes", 45), ("a", 5), ("text", 85))
THUMBNAIL_STYLE = """
body { margin: 0; width: 1200px; height: 630px; display: flex; align-items: center; background: #fff; color: #2b1a1d }
p { margin: 0 90px; font: 600 72px/1.6 sans-serif } span { padding: 4px 14px; border-radius: 10px }
"""


def main() -> None:
    """Copy the loss curve, and photograph the explanation page, the demo and the explorer."""
    shutil.copyfile(RUN / "loss.png", DOCS / "loss.png")
    photograph_explanation()
    photograph_demo()
    photograph_explorer()
    photograph_thumbnail()


def photograph_thumbnail() -> None:
    """Photograph a sentence whose words are shaded."""
    words = [
        f'<span style="background: rgb(114 47 55 / {alpha / 2}%)">{word}</span>' for word, alpha in THUMBNAIL_WORDS
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 630})
        text = f"{' '.join(words)}, and shows next&#8209;word probabilities and attention"
        page.set_content(f"<style>{THUMBNAIL_STYLE}</style><p>{text}</p>")
        page.screenshot(path=THUMBNAIL)
        browser.close()


def photograph_explanation() -> None:
    """Write the page that explains a review, and photograph it."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        prompt = ("--prompt", "wine review : germany", "--seed", "1")
        subprocess.run([*GENERATE, *prompt, "--html", str(page)], check=True, cwd=DOCS.parent)
        page.write_text(page.read_text(encoding="utf-8") + SHOW_WORD, encoding="utf-8")
        subprocess.run(
            [
                CHROMIUM,
                *CHROMIUM_FLAGS,
                f"--user-data-dir={folder}/profile",
                "--window-size=1100,760",
                f"--screenshot={DOCS / 'explain.png'}",
                page.as_uri(),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )


def photograph_explorer() -> None:
    """Serve the explorer with the run, and photograph a review and its thumbnail for social networks."""
    sys.path.insert(0, str(DOCS.parent / "tests"))
    from support.local_server import serving

    with serving(ExplorerServer(RUN)) as server, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for file, width, height in ((DOCS / "explorer.png", 1280, 1284), (EXPLORER_THUMBNAIL, 1200, 630)):
            page = browser.new_page(viewport={"width": width, "height": height}, locale="en-US")
            page.goto(f"{server.address}?{urlencode(EXPLORER)}")
            page.locator(".word.chosen").wait_for()
            # Colors fade in.
            page.wait_for_timeout(1000)
            page.screenshot(path=file)
        browser.close()


def photograph_demo() -> None:
    """Serve the demo with a model that has the span index of publishing, and photograph a review."""
    sys.path.insert(0, str(DOCS.parent / "tests"))
    from support.space_server import serving

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / RUN.name
        shutil.copytree(RUN, model, ignore=shutil.ignore_patterns("checkpoints"))
        train = load_reviews(DataConfig()).splits["train"]
        build_index(map(str, train[DataConfig.text_field][:]), model / FILE_NAME)
        with serving(Path(folder) / "log", WINE_GPT_MODEL=str(model)) as address, sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
            page.goto(f"{address}/?{urlencode(DEMO)}")
            page.locator("#notes a").first.wait_for()
            page.screenshot(path=DOCS / "demo.png", full_page=True)
            browser.close()


if __name__ == "__main__":
    main()
