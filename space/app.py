"""The demo: a page on which a small GPT-2 writes wine reviews and shows how it chose each word, and an API.

python app.py

WINE_GPT_MODEL names a model: a folder, or a repository on the Hub (org/name or org/name@revision).
WINE_GPT_ADAPTERS names its adapters, parted by commas.
"""

import importlib.util
import os
import sys

# before gradio is imported, which would report home, and after each call add up all calls that it remembers
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000"

import torch

from demo import Demo
from page import LAUNCH, build


def main() -> None:
    """Load the model and serve the page until stopped."""
    # one word at a time gives several threads nothing to share, and visitors come several at a time
    torch.set_num_threads(1)
    demo = Demo()
    for problem in demo.problems:
        print(problem, file=sys.stderr)
    page = build(demo)
    page.launch(**LAUNCH, mcp_server=importlib.util.find_spec("mcp") is not None)


if __name__ == "__main__":
    main()
