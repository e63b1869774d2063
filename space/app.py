"""Start the demo: a page on which a small GPT-2 writes reviews, the explorer that looks inside it, and an API.

python app.py, or with hot reload: gradio app.py

WINE_GPT_MODEL names a model: a folder, or a repository on the Hub (org/name or org/name@revision).
WINE_GPT_ADAPTERS names its adapters, separated by commas.
WINE_GPT_REVIEWS names a run whose training reviews are searched for similar ones.
"""

import os
import sys

# set before gradio is imported, because gradio sends analytics and recomputes its call statistics after each call
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000"

try:
    # only ZeroGPU has it, where it must be imported before torch
    import spaces
except ImportError:
    spaces = None

import gradio as gr
import torch

from backend import Backend
from page import build
from serving import launch_options

if gr.NO_RELOAD:
    # one thread, because a single token's matmuls are too small for several
    torch.set_num_threads(1)
    backend = Backend()
    for problem in backend.problems:
        print(problem, file=sys.stderr)

if spaces is not None:
    # ZeroGPU wants a function that asks for a GPU; this model is small enough for the CPU
    spaces.GPU(lambda: None)

demo = build(backend)

if __name__ == "__main__":
    demo.launch(**launch_options(backend))
