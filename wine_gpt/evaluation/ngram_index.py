"""A Bloom filter over the training set's 6-grams: detects copied spans without shipping the reviews.

The filter has few false positives and no false negatives. It holds bits of hashes, so no review can be read from it,
but whoever has a text can look up whether its spans occur in the training set.

A file is a safetensors file with one tensor, ``filter``, uint8 of shape (m / 8,), and metadata of strings:
``format``, ``n``, ``hashes`` (k), ``bits`` (m), ``ngrams`` and ``reviews``. A span is n of the class's words, joined
by one space, in UTF-8. Its 16-byte blake2b digest is two little-endian uint64, h1 and h2, and h2 is made odd. Its bits
are (h1 + i * h2) mod 2^64 mod m for i from 0 to k - 1 (Kirsch and Mitzenmacher 2006). Bit p is bit p mod 8, counted
from the lowest, of byte p // 8.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from wine_gpt.errors import UserError, one_line
from wine_gpt.tokenizer import class_words

FILE_NAME = "training_ngrams.safetensors"
FORMAT = "wine_gpt.ngrams.v1"
N = 6
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
        """Return for each span of six consecutive words whether a training review has it: bool of shape (spans,)."""
        bits = _bits(_hash_spans(words), self.hashes, self.bits)
        return np.asarray((self.filter[bits >> 3] >> (bits & 7).astype(np.uint8) & 1).all(axis=0))

    def longest_span(self, words: Sequence[str]) -> int:
        """Return the number of words of the longest span all of whose 6-grams occur in training reviews.

        The number is 0 if no 6-gram occurs. A span may continue from one review into another that has the same five
        words in a row, so the number is an upper bound of the longest span in one review.

        Args:
            words: the running text without its header, split by :func:`wine_gpt.tokenizer.class_words`.
        """
        longest = run = 0
        for found in self.contains(words):
            run = run + 1 if found else 0
            longest = max(longest, run)
        return longest + N - 1 if longest else 0


def build_index(descriptions: Iterable[str], path: Path) -> NgramIndex:
    """Build the index of the running texts of training reviews, without their headers, and write it atomically.

    Raises:
        UserError: if no review has six words, or the file can't be written.
    """
    reviews = 0
    hashes_of_reviews: list[Hashes] = []
    for description in descriptions:
        reviews += 1
        hashes_of_reviews.append(_hash_spans(class_words(description)))
    hashes = np.unique(np.concatenate([np.empty((0, 2), np.uint64), *hashes_of_reviews]), axis=0)
    if not len(hashes):
        raise UserError(f"n-gram index: none of {reviews:,} reviews has {N} words")
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
            metadata = file.metadata() or {}
            if (metadata.get("format"), metadata.get("n")) != (FORMAT, str(N)):
                raise UserError(f"n-gram index: {path} has format {metadata.get('format')!r}, not {FORMAT!r}")
            index = NgramIndex(
                file.get_tensor("filter"), *(int(metadata[name]) for name in ("hashes", "ngrams", "reviews"))
            )
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"n-gram index: can't read {path}: {one_line(error)}") from error
    if metadata.get("bits") != str(index.bits):
        raise UserError(f"n-gram index: {path} holds {index.bits} bits, but its metadata says {metadata.get('bits')}")
    return index


def _save(index: NgramIndex, path: Path) -> None:
    metadata = {
        "format": FORMAT,
        **{"n": str(N), "hashes": str(index.hashes), "bits": str(index.bits)},
        **{"ngrams": str(index.ngrams), "reviews": str(index.reviews)},
    }
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        temporary.write_bytes(save({"filter": index.filter}, metadata=metadata))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"n-gram index: can't write {path}: {error.strerror}") from error


def _hash_spans(words: Sequence[str]) -> Hashes:
    """Return h1 and h2 of each span: uint64 of shape (spans, 2)."""
    spans = (" ".join(words[start : start + N]) for start in range(len(words) - N + 1))
    digests = b"".join(blake2b(span.encode(), digest_size=16).digest() for span in spans)
    hashes = np.frombuffer(digests, "<u8").astype(np.uint64).reshape(-1, 2)
    hashes[:, 1] |= 1
    return hashes


def _bits(hashes: Hashes, count: int, bits: int) -> npt.NDArray[np.int64]:
    """Return the bits of each span: int64 of shape (count, spans)."""
    steps = np.arange(count, dtype=np.uint64)[:, None]
    # numpy's uint64 arithmetic is modulo 2^64
    return ((hashes[:, 0] + steps * hashes[:, 1]) % np.uint64(bits)).astype(np.int64)
