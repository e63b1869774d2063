"""Prepare the reviews of a training: read, filter and split them, train or load the tokenizer, and tokenize.

:func:`main` is the child process of :mod:`wine_gpt.tokenizer.reading_process`. It reads a request from stdin and
writes the answer to stdout, each a line of JSON.
"""

import dataclasses
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import tokenizers
from datasets import Dataset
from filelock import FileLock
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from wine_gpt.config import DataConfig, PretrainConfig
from wine_gpt.config_io import build_config
from wine_gpt.data.report import DataReport
from wine_gpt.data.reviews import Reviews, describe_empty_split, load_reviews
from wine_gpt.errors import UserError, is_out_of_memory, one_line
from wine_gpt.files import JsonObject, write_atomically
from wine_gpt.streams import configure_logging, prepare_streams
from wine_gpt.tokenizer.encoding import count_training_words, describe_poor_fit, require_known_words, tokenize_splits
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.tokenizer.prepared import OnReport, PreparedReviews, usable_tokenizer
from wine_gpt.tokenizer.schemes import WORDS, kind_of, to_transformers
from wine_gpt.tokenizer.train import train_on_reviews

# increase this when a change to the code changes a trained tokenizer
TRAINING_VERSION = 1


def prepare(config: PretrainConfig, held_out: bool, on_report: OnReport) -> PreparedReviews:
    """Return the tokenized reviews of a config; everything that takes long is cached beside the reviews.

    Args:
        config: its data, tokenizer and model's number of positions are used.
        held_out: whether there must be a validation split, and the tokenizer must fit it.
        on_report: called with the counts of the records before the reviews are tokenized.

    Raises:
        UserError: if the data or the tokenizer can't be used.
    """
    reviews = load_reviews(config.data)
    on_report(reviews.report)
    if held_out:
        _require_validation(reviews, config.data)
    tokenizer = usable_tokenizer(config, lambda: _train(config, reviews))
    splits = tokenize_splits(reviews.splits, tokenizer)
    require_known_words(splits, tokenizer)
    words = _count_words(reviews.folder, splits["train"], tokenizer)
    poor_fit = describe_poor_fit(reviews.splits["validation"], splits["validation"], tokenizer) if held_out else ""
    # Arrow's allocator keeps freed memory for itself, and training needs little of it
    pa.default_memory_pool().release_unused()
    return PreparedReviews(reviews.report, reviews.fingerprint, tokenizer, splits, words, poor_fit)


def _require_validation(reviews: Reviews, data: DataConfig) -> None:
    if not len(reviews.splits["validation"]):
        raise UserError(f"data: {describe_empty_split(reviews.report, data, 'validation')}")


def _train(config: PretrainConfig, reviews: Reviews) -> PreTrainedTokenizerFast:
    """Train a tokenizer on the training split, or load it from the cache."""
    settings = config.tokenizer
    key = json.dumps([dataclasses.asdict(settings), TRAINING_VERSION, tokenizers.__version__])
    name = f"tokenizer-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.json"

    def train() -> str:
        return train_on_reviews(reviews.splits["train"], config.data, settings).backend_tokenizer.to_str()

    return to_transformers(Tokenizer.from_str(_cached(reviews.folder, name, train)))


def _count_words(folder: Path, train: Dataset, tokenizer: PreTrainedTokenizerFast) -> int:
    """Count the words of the training split, or read their number from the cache."""
    if kind_of(tokenizer) == WORDS:
        # all tokens but [BOS] and [EOS]
        return int(pc.sum(train.data["length"]).as_py() or 0) - 2 * len(train)
    name = f"words-{fingerprint(tokenizer)[:16]}.txt"
    return int(_cached(folder, name, lambda: str(count_training_words(train, tokenizer))))


def _cached(folder: Path, name: str, make: Callable[[], str]) -> str:
    """Return a text from a file in the folder of the cached reviews, which is made if it is missing.

    The lock is for trainings that start at the same time on the same data, such as those of several seeds.
    """
    file = folder / name
    try:
        with FileLock(f"{folder}.lock"):
            if not file.exists():
                write_atomically(file, make())
            return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"data: can't write the cache {file}: {one_line(error)}; set HF_DATASETS_CACHE") from error


def main() -> None:
    """Answer the request of the parent process."""
    # what libraries print must not be part of the answer
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # end by an exception, so that incomplete files are removed
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    prepare_streams()
    configure_logging()
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    json.dump(_answer(request), answer)
    answer.close()


def _answer(request: JsonObject) -> JsonObject:
    answer: JsonObject = {}

    def on_report(report: DataReport) -> None:
        answer["report"] = report.to_dict()

    try:
        config = build_config(PretrainConfig, request["settings"])
        return prepare(config, request["held_out"], on_report).to_dict()
    except UserError as error:
        return {**answer, "error": str(error)}
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return {**answer, "out_of_memory": one_line(error)}


def _end_with_parent() -> None:
    """Wait for the end of stdin, which ends with the parent process, and end this process."""
    # unbuffered, because Python can't end while another thread reads sys.stdin
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
