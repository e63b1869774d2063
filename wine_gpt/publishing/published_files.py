"""The files that publishing may write to a repository on the Hub.

A base or a whole fine-tuned model gets ``MODEL_FILES`` and ``TOKENIZER_FILES``, an adapter ``ADAPTER_FILES`` and
``TOKENIZER_FILES``, each with card, license, config, figures and template; a base also gets index and plots.
"""

from collections.abc import Collection
from pathlib import Path

from wine_gpt.evaluation.ngram_filter import FILE_NAME
from wine_gpt.run_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    EPOCH_INDEX,
    EPOCH_WEIGHTS,
    EPOCHS,
    EVALUATION,
    GENERATION_CONFIG,
    LOSS_PLOT,
    METRICS,
    MODEL_CONFIG,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
)

CARD, LICENSE = "README.md", "LICENSE"
# not FINETUNE_CONFIG, which marks a model that was fine-tuned on this machine
PUBLISHED_FINETUNE_CONFIG = "finetune_config.yaml"
NGRAM_INDEX = FILE_NAME
# the name that the Hub offers to open in Colab and Kaggle
NOTEBOOK = "notebook.ipynb"
# the names that transformers.js expects, for its dtypes fp32 and q8
ONNX, ONNX_QUANTIZED = "onnx/model.onnx", "onnx/model_quantized.onnx"
# config.json, generation_config.json, model.safetensors
MODEL_FILES = (MODEL_CONFIG, GENERATION_CONFIG, WEIGHTS)
# tokenizer.json, tokenizer_config.json
TOKENIZER_FILES = (TOKENIZER, TOKENIZER_CONFIG)
# adapter_config.json, adapter_model.safetensors
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
# index and weights of the epochs, for the explorer
EPOCH_FILES = (f"{EPOCHS}/{EPOCH_INDEX}", f"{EPOCHS}/{EPOCH_WEIGHTS}")
# every file that the repository of a fine-tuned model or a classifier may get
FINETUNED_FILES = (
    CARD,
    LICENSE,
    CONFIG,
    PUBLISHED_FINETUNE_CONFIG,
    METRICS,
    *MODEL_FILES,
    *TOKENIZER_FILES,
    *ADAPTER_FILES,
    TEMPLATE,
)
# every file that a base's repository may get, as glob patterns
BASE_FILES = (
    *FINETUNED_FILES,
    LOSS_PLOT,
    f"{EVALUATION}/{METRICS}",
    f"{EVALUATION}/reliability.png",
    f"{EVALUATION}/loss_by_*.png",
    NGRAM_INDEX,
    NOTEBOOK,
    ONNX,
    ONNX_QUANTIZED,
    *EPOCH_FILES,
)

# a Space gets the demo's files with these suffixes, and the file that names its model
SPACE_SUFFIXES = (".py", ".txt", ".css", ".js", ".html", ".svg", ".png", ".json")
# the picture that social networks show
SPACE_THUMBNAIL = "thumbnail.png"
SPACE_SETTINGS = "settings.json"


def files_below(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Return the files with one of the suffixes by their path in the folder, without hidden files and caches."""
    found = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        name.as_posix(): file
        for name, file in found.items()
        if file.suffix in suffixes and not any(part.startswith((".", "__")) for part in name.parts)
    }
