"""Write a Bloom filter over 12-word spans of the training set: detects long copied spans without shipping the reviews.

Each training review is cut into consecutive spans of twelve words, and each span is hashed as a whole. Spans do not
overlap, so a review cannot be read from the filter word by word: whoever knows a span must guess at least eight words
at once to get the next one (``tests/support/span_attack.py`` tries). What remains is a membership test: whoever knows
all twelve words of a span can check that it occurs in the training set, and whoever knows all but one or two can try
each candidate for the missing ones.

:mod:`wine_gpt.evaluation.ngram_filter` describes the file and reads it. The same reviews give the same bytes.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from wine_gpt.errors import UserError
from wine_gpt.evaluation.ngram_filter import FORMAT, NgramFilter, bits_of, hash_spans
from wine_gpt.files import write_atomically
from wine_gpt.tokenizer import class_words

# long enough that unseen reviews rarely share a span with the training set, as they do stock phrases of six words
N = 12
# the most words that the end of one span and the beginning of another may have in common
MAX_OVERLAP = 4
BITS_PER_NGRAM = 20
MAX_BITS = 19_000_000 * 8
MAX_HASHES = 14


def build_index(descriptions: Iterable[str], path: Path) -> NgramFilter:
    """Build the index of the running texts of training reviews, without their headers, and write it atomically.

    Raises:
        UserError: if no review has twelve words, or the file can't be written.
    """
    reviews = 0

    def words_of_reviews() -> Iterator[list[str]]:
        nonlocal reviews
        for description in descriptions:
            reviews += 1
            yield class_words(description)

    words = [word for span in _cut_spans(words_of_reviews()) for word in span]
    if not words:
        raise UserError(f"n-gram index: none of {reviews:,} reviews has {N} words")
    hashes = hash_spans(words, N, N)
    bits = min(8 * math.ceil(BITS_PER_NGRAM * len(hashes) / 8), MAX_BITS)
    count = max(1, min(MAX_HASHES, round(bits / len(hashes) * math.log(2))))
    marked = np.zeros(bits, bool)
    for start in range(0, len(hashes), 2**18):
        marked[bits_of(hashes[start : start + 2**18], count, bits)] = True
    index = NgramFilter(np.packbits(marked, bitorder="little"), N, count, len(hashes), reviews)
    _save(index, path)
    return index


def _cut_spans(reviews: Iterable[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Yield distinct spans of N words, so that no two of them overlap by more than MAX_OVERLAP words in any review.

    Without this rule a passage that stands in several reviews at different positions would be cut at each of them, and
    its spans could be chained word by word. The last words of a review, fewer than N, are in no span.
    """
    spans: set[tuple[str, ...]] = set()
    # hashes, because the words themselves would need four times the memory
    beginnings: set[int] = set()
    ends: set[int] = set()
    lengths = range(MAX_OVERLAP + 1, N)
    for words in reviews:
        start = 0
        while start + N <= len(words):
            span = tuple(words[start : start + N])
            if span in spans:
                start += N
            elif any(hash(span[:length]) in ends or hash(span[-length:]) in beginnings for length in lengths):
                start += 1
            else:
                spans.add(span)
                beginnings.update(hash(span[:length]) for length in lengths)
                ends.update(hash(span[-length:]) for length in lengths)
                yield span
                start += N


def _save(index: NgramFilter, path: Path) -> None:
    content = {
        "format": FORMAT,
        "n": index.n,
        "hashes": index.hashes,
        "bits": index.bits,
        "ngrams": index.ngrams,
        "reviews": index.reviews,
    }
    try:
        # one string, because safetensors writes several in random order
        write_atomically(path, save({"filter": index.filter}, metadata={"index": json.dumps(content)}))
    except OSError as error:
        raise UserError(f"n-gram index: can't write {path}: {error.strerror}") from error
