"""A Bloom filter over spans of the training texts, read by the package and by the demo: finds copied words.

A file is a safetensors file with one tensor, ``filter``, uint8 of shape (m / 8,), and one metadata string, ``index``:
a JSON object with ``format``, ``n``, ``hashes`` (k), ``bits`` (m), ``ngrams`` and ``reviews``. A span is n of the
class's words, joined by one space, in UTF-8. Its 16-byte blake2b digest is two little-endian uint64, h1 and h2, and h2
is made odd. Its bits are (h1 + i * h2) mod 2^64 mod m for i from 0 to k - 1 (Kirsch and Mitzenmacher 2006). Bit p is
bit p mod 8, counted from the lowest, of byte p // 8.

Imports numpy and safetensors only, because publishing copies this file into the Space.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

FILE_NAME = "training_ngrams.safetensors"
FORMAT = "wine_gpt.ngrams.v2"
# more would make each query slow, and a filter of a useful size needs fewer
MOST_HASHES = 64

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class NgramFilter:
    """A Bloom filter over spans of training reviews.

    Attributes:
        filter: uint8 of shape (bits / 8,).
        n: number of words of a span.
        hashes: number of bits that each span sets.
        ngrams: distinct spans in the filter.
        reviews: reviews that the spans are from.
    """

    filter: npt.NDArray[np.uint8]
    n: int
    hashes: int
    ngrams: int
    reviews: int

    @classmethod
    def load(cls, path: Path) -> "NgramFilter":
        """Read what :func:`wine_gpt.evaluation.ngram_index.build_index` wrote.

        Raises:
            OSError: if the file can't be read.
            ValueError: if the file is no such filter.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about, tensor = json.loads((file.metadata() or {}).get("index", "null")), file.get_tensor("filter")
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        match about:
            case {"n": int(n), "hashes": int(hashes), "ngrams": int(ngrams), "reviews": int(reviews)}:
                fits = tensor.dtype == np.uint8 and tensor.ndim == 1 and about.get("bits") == 8 * len(tensor) > 0
                if about.get("format") == FORMAT and fits and n > 0 and 0 < hashes <= MOST_HASHES:
                    return cls(tensor, n, hashes, ngrams, reviews)
        raise ValueError(f"its metadata is not that of {FORMAT}, or does not fit its filter")

    @property
    def bits(self) -> int:
        """Number of bits of the filter."""
        return 8 * len(self.filter)

    @functools.cached_property
    def error_rate(self) -> float:
        """The probability that a span that is in no training review is found."""
        return float(np.bitwise_count(self.filter).mean() / 8) ** self.hashes

    def contains(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return for each span of n consecutive words whether it is in the filter: bool of shape (spans,)."""
        bits = bits_of(hash_spans(words, self.n), self.hashes, self.bits)
        return np.asarray((self.filter[bits >> 3] >> (bits & 7).astype(np.uint8) & 1).all(axis=0))

    def longest_span(self, words: Sequence[str]) -> range:
        """Return the positions of the words of the longest run of adjacent spans in the filter, the first of several.

        Its length is a multiple of n, 0 if no span is in the filter. The run that was copied has up to n - 1 words
        more on each side. A copied run of 2n - 1 words or more has a span of the filter, unless the review shares
        words with another. Adjacent spans may be of two reviews.

        Args:
            words: the running text without its header, split by :func:`wine_gpt.tokenizer.words.class_words`.
        """
        lengths = self.n * self.contains(words).astype(int)
        for start in range(len(lengths) - self.n - 1, -1, -1):
            if lengths[start]:
                lengths[start] += lengths[start + self.n]
        if not lengths.any():
            return range(0)
        start = int(lengths.argmax())
        return range(start, start + int(lengths[start]))


def hash_spans(words: Sequence[str], n: int, step: int = 1) -> Hashes:
    """Return h1 and h2 of the spans of n words that begin at every ``step``-th word: uint64 of shape (spans, 2)."""
    spans = (" ".join(words[start : start + n]) for start in range(0, len(words) - n + 1, step))
    digests = b"".join(blake2b(span.encode(), digest_size=16).digest() for span in spans)
    hashes = np.frombuffer(digests, "<u8").astype(np.uint64).reshape(-1, 2)
    hashes[:, 1] |= 1
    return hashes


def bits_of(hashes: Hashes, count: int, bits: int) -> npt.NDArray[np.int64]:
    """Return the bits of each span: int64 of shape (count, spans)."""
    steps = np.arange(count, dtype=np.uint64)[:, None]
    # numpy's uint64 arithmetic is modulo 2^64
    return ((hashes[:, 0] + steps * hashes[:, 1]) % np.uint64(bits)).astype(np.int64)
