"""Make the pictures of the README from the quickstart's run, with the Chromium that is installed.

make quickstart && .venv/bin/python docs/make_pictures.py
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
RUN = DOCS.parent / "runs" / "sample"
GENERATE = (sys.executable, "scripts/generate.py", "runs/sample")
# the page opens on its first word; this one is in the middle of a sentence
SHOW_WORD = "<script>document.querySelectorAll('#text button')[25].click()</script>"
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-device-scale-factor=1.5",
)


def main() -> None:
    """Copy the loss curve; write a review's page and take its picture."""
    shutil.copyfile(RUN / "loss.png", DOCS / "loss.png")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        prompt = ("--prompt", "wine review : germany", "--seed", "1")
        subprocess.run([*GENERATE, *prompt, "--html", str(page)], check=True, cwd=DOCS.parent)
        page.write_text(page.read_text(encoding="utf-8") + SHOW_WORD, encoding="utf-8")
        subprocess.run(
            [
                shutil.which("chromium") or "chromium",
                *CHROMIUM_FLAGS,
                f"--user-data-dir={folder}/profile",
                "--window-size=1100,760",
                f"--screenshot={DOCS / 'explain.png'}",
                page.as_uri(),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    main()
