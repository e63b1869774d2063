"""Turn reviews into ids and back: train, save and load tokenizers, whose files need no code of this package."""

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
