"""Is a text copied? The longest span whose every few words also stand somewhere in the training reviews.

The index is a Bloom filter over hashes, from which no text can be read. It never misses words that were there, and
errs now and then about words that were not; and a span may run from one review into another where they share words.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from texts import Problem

FILE = "training_ngrams.safetensors"
FORMAT = "wine_gpt.ngrams.v1"


@dataclass(frozen=True)
class Span:
    """Consecutive words of a text, found in the index: the first and how many."""

    start: int
    length: int


class Index:
    """The n-grams of a model's training reviews.

    Attributes:
        n: words of an n-gram.
        reviews: how many reviews were indexed.
        error_rate: how often an n-gram that was in no review is found all the same.
    """

    def __init__(self, path: Path) -> None:
        """Read the file that publishing writes.

        Raises:
            Problem: if it is damaged or of another format.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about, self._filter = file.metadata() or {}, file.get_tensor("filter")
            self.n, self._hashes, self._bits = (int(about[name]) for name in ("n", "hashes", "bits"))
            self.reviews = int(about["reviews"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise Problem("problem_index", file=FILE) from error
        sound = self._filter.dtype == np.uint8 and 0 < self._bits <= 8 * self._filter.size
        if about.get("format") != FORMAT or not sound or not 0 < self._hashes <= 64 or self.n < 1:
            raise Problem("problem_format", file=FILE, format=FORMAT)
        self.error_rate = float(np.unpackbits(self._filter).mean()) ** self._hashes

    def __contains__(self, ngram: str) -> bool:
        digest = hashlib.blake2b(ngram.encode(), digest_size=16).digest()
        first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1
        places = ((first + turn * second) % 2**64 % self._bits for turn in range(self._hashes))
        return all(self._filter[place >> 3] & (1 << (place & 7)) for place in places)

    def longest_span(self, words: Sequence[str]) -> Span | None:
        """Return the first of the longest spans whose every n words are in the index; none where no n words are."""
        best, run = None, 0
        for start in range(len(words) - self.n + 1):
            run = run + 1 if " ".join(words[start : start + self.n]) in self else 0
            length = run + self.n - 1
            if run and (best is None or length > best.length):
                best = Span(start - run + 1, length)
        return best
