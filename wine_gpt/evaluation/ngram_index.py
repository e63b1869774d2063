"""A Bloom filter over 12-word spans of the training set: detects long copied spans without shipping the reviews.

Each training review is cut into consecutive spans of twelve words, and each span is hashed as a whole. Spans do not
overlap, so a review cannot be read from the filter word by word: whoever knows a span must guess at least eight words
at once to get the next one (``tests/support/span_attack.py`` tries). What remains is a membership test: whoever knows
all twelve words of a span can check that it occurs in the training set, and whoever knows all but one or two can try
each candidate for the missing ones.

A file is a safetensors file with one tensor, ``filter``, uint8 of shape (m / 8,), and one metadata string, ``index``:
a JSON object with ``format``, ``n``, ``hashes`` (k), ``bits`` (m), ``ngrams`` and ``reviews``. A span is n of the
class's words, joined by one space, in UTF-8. Its 16-byte blake2b digest is two little-endian uint64, h1 and h2, and h2
is made odd. Its bits are (h1 + i * h2) mod 2^64 mod m for i from 0 to k - 1 (Kirsch and Mitzenmacher 2006). Bit p is
bit p mod 8, counted from the lowest, of byte p // 8. The same reviews give the same bytes.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from wine_gpt.errors import UserError, one_line
from wine_gpt.files import write_atomically
from wine_gpt.tokenizer import class_words

FILE_NAME = "training_ngrams.safetensors"
FORMAT = "wine_gpt.ngrams.v2"
# long enough that unseen reviews rarely share a span with the training set, as they do stock phrases of six words
N = 12
# the most words that the end of one span and the beginning of another may have in common
MAX_OVERLAP = 4
BITS_PER_NGRAM = 20
MAX_BITS = 19_000_000 * 8
MAX_HASHES = 14

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class NgramIndex:
    """A Bloom filter.

    Attributes:
        filter: uint8 of shape (bits / 8,).
        hashes: number of bits that each span sets.
        ngrams: distinct spans in the filter.
        reviews: reviews that the spans are from.
    """

    filter: npt.NDArray[np.uint8]
    hashes: int
    ngrams: int
    reviews: int

    @property
    def bits(self) -> int:
        """Number of bits of the filter."""
        return 8 * len(self.filter)

    def contains(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return for each span of twelve consecutive words whether it is in the filter: bool of shape (spans,)."""
        bits = _bits(_hash_spans(words, 1), self.hashes, self.bits)
        return np.asarray((self.filter[bits >> 3] >> (bits & 7).astype(np.uint8) & 1).all(axis=0))

    def longest_span(self, words: Sequence[str]) -> int:
        """Return the number of words of the longest run of adjacent spans that occur in training reviews.

        The number is a multiple of twelve, 0 if no span occurs. A copied run has up to 22 words more, eleven on each
        side. A copied run of 23 words or more has a span of the filter, unless the review shares words with another.

        Args:
            words: the running text without its header, split by :func:`wine_gpt.tokenizer.words.class_words`.
        """
        runs = self.contains(words).astype(int)
        for start in range(len(runs) - N - 1, -1, -1):
            runs[start] *= 1 + runs[start + N]
        return N * int(runs.max(initial=0))


def build_index(descriptions: Iterable[str], path: Path) -> NgramIndex:
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
    hashes = _hash_spans(words, N)
    bits = min(8 * math.ceil(BITS_PER_NGRAM * len(hashes) / 8), MAX_BITS)
    count = max(1, min(MAX_HASHES, round(bits / len(hashes) * math.log(2))))
    marked = np.zeros(bits, bool)
    for start in range(0, len(hashes), 2**18):
        marked[_bits(hashes[start : start + 2**18], count, bits)] = True
    index = NgramIndex(np.packbits(marked, bitorder="little"), count, len(hashes), reviews)
    _save(index, path)
    return index


def load_index(path: Path) -> NgramIndex:
    """Read what :func:`build_index` wrote.

    Raises:
        UserError: if the file is missing or is not an index.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            content = json.loads((file.metadata() or {}).get("index", "{}"))
            if (content.get("format"), content.get("n")) != (FORMAT, N):
                raise UserError(f"n-gram index: {path} has format {content.get('format')!r}, not {FORMAT!r}")
            index = NgramIndex(
                file.get_tensor("filter"), *(int(content[name]) for name in ("hashes", "ngrams", "reviews"))
            )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"n-gram index: can't read {path}: {one_line(error)}") from error
    if content.get("bits") != index.bits:
        raise UserError(f"n-gram index: {path} holds {index.bits} bits, but its metadata says {content.get('bits')}")
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


def _save(index: NgramIndex, path: Path) -> None:
    content = {
        "format": FORMAT,
        "n": N,
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


def _hash_spans(words: Sequence[str], step: int) -> Hashes:
    """Return h1 and h2 of the spans that begin at every ``step``-th word: uint64 of shape (spans, 2)."""
    spans = (" ".join(words[start : start + N]) for start in range(0, len(words) - N + 1, step))
    digests = b"".join(blake2b(span.encode(), digest_size=16).digest() for span in spans)
    hashes = np.frombuffer(digests, "<u8").astype(np.uint64).reshape(-1, 2)
    hashes[:, 1] |= 1
    return hashes


def _bits(hashes: Hashes, count: int, bits: int) -> npt.NDArray[np.int64]:
    """Return the bits of each span: int64 of shape (count, spans)."""
    steps = np.arange(count, dtype=np.uint64)[:, None]
    # numpy's uint64 arithmetic is modulo 2^64
    return ((hashes[:, 0] + steps * hashes[:, 1]) % np.uint64(bits)).astype(np.int64)
