"""Turn reviews into ids and back: train, save and load tokenizers, whose files need no code of this package."""

from typing import TYPE_CHECKING

from wine_gpt.lazy import exports_lazily

if TYPE_CHECKING:
    from wine_gpt.tokenizer.encoding import encode_reviews, tokenize_splits
    from wine_gpt.tokenizer.files import load_tokenizer, save_tokenizer
    from wine_gpt.tokenizer.train import train_on_reviews, train_tokenizer
    from wine_gpt.tokenizer.words import class_words

__all__ = [
    "class_words",
    "encode_reviews",
    "load_tokenizer",
    "save_tokenizer",
    "tokenize_splits",
    "train_on_reviews",
    "train_tokenizer",
]

__getattr__ = exports_lazily(
    __name__,
    {
        **dict.fromkeys(("encode_reviews", "tokenize_splits"), "encoding"),
        **dict.fromkeys(("load_tokenizer", "save_tokenizer"), "files"),
        **dict.fromkeys(("train_on_reviews", "train_tokenizer"), "train"),
        "class_words": "words",
    },
)
