"""Start the demo: a page on which a small GPT-2 writes reviews and shows how it chose each word, and an API.

python app.py

WINE_GPT_MODEL names a model: a folder, or a repository on the Hub (org/name or org/name@revision).
WINE_GPT_ADAPTERS names its adapters, separated by commas.
"""

import importlib.util
import os
import sys

# set before gradio is imported, because gradio sends analytics and recomputes its call statistics after each call
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000"

import torch

from demo import Demo
from page import build, launch_options


def main() -> None:
    """Load the model and serve the page until stopped."""
    # one thread, because a single token's matmuls are too small for several
    torch.set_num_threads(1)
    demo = Demo()
    for problem in demo.problems:
        print(problem, file=sys.stderr)
    build(demo).launch(**launch_options(demo), mcp_server=importlib.util.find_spec("mcp") is not None)


if __name__ == "__main__":
    main()
