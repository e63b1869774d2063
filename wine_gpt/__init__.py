"""Train a small GPT-2 on wine reviews, from raw records to a model on the Hugging Face Hub.

The functions of :mod:`wine_gpt.api` are exported here and imported at first use, because torch takes seconds to load.
"""

from typing import TYPE_CHECKING

from wine_gpt.lazy import exports_lazily
from wine_gpt.version import __version__ as __version__

if TYPE_CHECKING:
    from wine_gpt.api import (
        ask,
        build_model,
        classify,
        distill,
        evaluate_model,
        explain,
        finetune,
        finetune_embeddings,
        generate,
        load_reviews,
        pretrain,
        publish,
        similar,
        train_tokenizer,
    )

__all__ = [
    "ask",
    "build_model",
    "classify",
    "distill",
    "evaluate_model",
    "explain",
    "finetune",
    "finetune_embeddings",
    "generate",
    "load_reviews",
    "pretrain",
    "publish",
    "similar",
    "train_tokenizer",
]


__getattr__ = exports_lazily(__name__, dict.fromkeys(__all__, "api"))


def __dir__() -> list[str]:
    """Return the names that completion offers, the lazy ones included."""
    return sorted({*globals(), *__all__})
