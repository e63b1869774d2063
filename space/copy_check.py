"""A Bloom filter over the training set's n-grams: detects copied spans without shipping the reviews.

The filter has no false negatives, and false positives at a known rate. A span may join overlapping n-grams of two
reviews.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from i18n import UserFacingError

FILE = "training_ngrams.safetensors"
FORMAT = "wine_gpt.ngrams.v1"


@dataclass(frozen=True)
class Span:
    """Consecutive words of a text that are in the index: the position of the first, and their number."""

    start: int
    length: int


class Index:
    """The n-grams of a model's training reviews.

    Attributes:
        n: number of words of an n-gram.
        reviews: number of indexed reviews.
        error_rate: probability of a false positive.
    """

    def __init__(self, path: Path) -> None:
        """Read the file that wine_gpt.evaluation.ngram_index writes.

        Raises:
            UserFacingError: if the file is damaged or has another format.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                metadata, self._filter = file.metadata() or {}, file.get_tensor("filter")
            self.n, self._hashes, self._bits = (int(metadata[name]) for name in ("n", "hashes", "bits"))
            self.reviews = int(metadata["reviews"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise UserFacingError("problem_file", file=FILE) from error
        sound = self._filter.dtype == np.uint8 and 0 < self._bits <= 8 * self._filter.size
        if metadata.get("format") != FORMAT or not sound or not 0 < self._hashes <= 64 or self.n < 1:
            raise UserFacingError("problem_format", file=FILE, format=FORMAT)
        self.error_rate = float(np.unpackbits(self._filter).mean()) ** self._hashes

    def __contains__(self, ngram: str) -> bool:
        digest = hashlib.blake2b(ngram.encode(), digest_size=16).digest()
        first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1
        bits = ((first + turn * second) % 2**64 % self._bits for turn in range(self._hashes))
        return all(self._filter[bit >> 3] & (1 << (bit & 7)) for bit in bits)

    def longest_span(self, words: Sequence[str]) -> Span | None:
        """Return the longest span all of whose n-grams are in the index, the first of several; None without one."""
        best, run = None, 0
        for start in range(len(words) - self.n + 1):
            run = run + 1 if " ".join(words[start : start + self.n]) in self else 0
            length = run + self.n - 1
            if run and (best is None or length > best.length):
                best = Span(start - run + 1, length)
        return best
