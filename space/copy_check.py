"""A Bloom filter over spans of n words of the training set: detects long copied runs without shipping the reviews.

The spans of a review do not overlap, so a copied run of n to 2n - 2 words may be missed. False positives occur at a
known rate, and a run of adjacent spans may join spans of two reviews.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from i18n import UserFacingError

FILE = "training_ngrams.safetensors"
FORMAT = "wine_gpt.ngrams.v2"


@dataclass(frozen=True)
class Span:
    """Consecutive words of a text that are in the index: the position of the first, and their number."""

    start: int
    length: int


class Index:
    """The spans of a model's training reviews.

    Attributes:
        n: number of words of a span.
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
                content, self._filter = (
                    json.loads((file.metadata() or {}).get("index", "{}")),
                    file.get_tensor("filter"),
                )
            if content.get("format") != FORMAT:
                raise UserFacingError("problem_format", file=FILE, format=FORMAT)
            self.n, self._hashes, self._bits = (int(content[name]) for name in ("n", "hashes", "bits"))
            self.reviews = int(content["reviews"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise UserFacingError("problem_file", file=FILE) from error
        sound = self._filter.dtype == np.uint8 and 0 < self._bits <= 8 * self._filter.size
        if not sound or not 0 < self._hashes <= 64 or self.n < 1:
            raise UserFacingError("problem_format", file=FILE, format=FORMAT)
        self.error_rate = float(np.unpackbits(self._filter).mean()) ** self._hashes

    def __contains__(self, span: str) -> bool:
        digest = hashlib.blake2b(span.encode(), digest_size=16).digest()
        first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1
        bits = ((first + turn * second) % 2**64 % self._bits for turn in range(self._hashes))
        return all(self._filter[bit >> 3] & (1 << (bit & 7)) for bit in bits)

    def longest_span(self, words: Sequence[str]) -> Span | None:
        """Return the longest run of adjacent spans that are in the index, the first of several; None without one."""
        lengths = [0] * (len(words) + 1)
        for start in range(len(words) - self.n, -1, -1):
            if " ".join(words[start : start + self.n]) in self:
                lengths[start] = self.n + lengths[start + self.n]
        longest = max(lengths)
        return Span(lengths.index(longest), longest) if longest else None
