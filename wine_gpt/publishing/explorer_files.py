"""The files that the explorer reads of a model's folder, and the types under which a server sends files to it.

Imports nothing of the package, because publishing copies this file into the Gradio Space.
"""

import re

# not from the operating system's table, which on Windows may have another type for .js
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".safetensors": "application/octet-stream",
}
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "review_template.json",
    "training_ngrams.safetensors",
)
_EPOCH_FILE = re.compile(r"epochs/(index\.json|epoch-[0-9]+\.safetensors)")


def is_model_file(path: str) -> bool:
    """Return whether the explorer may read a file of a model's folder."""
    return path in MODEL_FILES or _EPOCH_FILE.fullmatch(path) is not None
