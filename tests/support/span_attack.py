"""Attack a published index of training spans: rebuild training texts from known words, the vocabulary and the model.

The filter is read by the description of its format alone, as an attacker would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from wine_gpt.evaluation.ngram_filter import NgramFilter
from wine_gpt.evaluation.ngram_index import MAX_OVERLAP

Words = tuple[str, ...]
# takes texts and returns for each the most likely next words with their log probabilities
NextWords = Callable[[Sequence[Words]], list[list[tuple[str, float]]]]


@dataclass(frozen=True)
class SpanFilter:
    """A Bloom filter over spans of ``n`` words; after a known one at least ``fewest`` words complete another."""

    n: int
    fewest: int
    filter: npt.NDArray[np.uint8]
    hashes: int

    def has(self, spans: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
        """Return for each span whether it is in the filter: bool of shape (spans,)."""
        bits = _bits(spans, self.hashes, 8 * len(self.filter))
        return np.asarray((self.filter[bits >> 3] >> (bits & 7).astype(np.uint8) & 1).all(axis=0))


def published(index: NgramFilter) -> SpanFilter:
    """Return the filter of an index as it is published."""
    return SpanFilter(index.n, index.n - MAX_OVERLAP, index.filter, index.hashes)


def overlapping(texts: Sequence[Sequence[str]], n: int = 6) -> SpanFilter:
    """Return the filter that wine_gpt 0.1.0 published: every span of six words, 20 bits and 14 hashes for each."""
    spans = sorted({tuple(words[start : start + n]) for words in texts for start in range(len(words) - n + 1)})
    marked = np.zeros(8 * (len(spans) * 20 // 8 + 1), bool)
    marked[_bits(spans, 14, len(marked))] = True
    return SpanFilter(n, 1, np.packbits(marked, bitorder="little"), 14)


def _bits(spans: Sequence[Sequence[str]], count: int, size: int) -> npt.NDArray[np.int64]:
    digests = b"".join(blake2b(" ".join(span).encode(), digest_size=16).digest() for span in spans)
    hashes = np.frombuffer(digests, "<u8").reshape(-1, 2)
    steps = np.arange(count, dtype=np.uint64)[:, None]
    return ((hashes[:, 0] + steps * (hashes[:, 1] | np.uint64(1))) % np.uint64(size)).astype(np.int64)


def chain(spans: SpanFilter, seed: Words, vocabulary: Sequence[str], *, branches: int = 8, limit: int = 200) -> Words:
    """Try each word of the vocabulary after the seed, then before it, keep those whose span is found, and repeat."""
    for backward in (False, True):
        frontier = [seed]
        for _ in range(limit):
            longer = [(word, *text) if backward else (*text, word) for text in frontier for word in vocabulary]
            tried = [text[: spans.n] if backward else text[-spans.n :] for text in longer]
            found = [longer[place] for place in np.flatnonzero(spans.has(tried))[:branches]]
            if not found:
                break
            frontier = found
        seed = frontier[0]
    return seed


def guess(spans: SpanFilter, seed: Words, next_words: NextWords, *, width: int, limit: int = 200) -> Words:
    """Extend the seed by a beam search over the model's words, and keep a beam once its last words are in the filter.

    The seed must end where a span ends, so that as few words as possible must be guessed at once.
    """
    known = seed
    while len(known) < len(seed) + limit:
        beams = [(0.0, known)]
        for step in range(1, spans.n + 1):
            beams = _extend(beams, next_words, width)
            if step >= spans.fewest and beams:
                found = spans.has([text[-spans.n :] for _, text in beams])
                if found.any():
                    known = beams[int(found.argmax())][1]
                    break
        else:
            return known
    return known


def _extend(beams: list[tuple[float, Words]], next_words: NextWords, width: int) -> list[tuple[float, Words]]:
    candidates = [
        (score + likelihood, (*text, word))
        for (score, text), words in zip(beams, next_words([text for _, text in beams]), strict=True)
        for word, likelihood in words
    ]
    return sorted(candidates, reverse=True)[:width]


def longest_verbatim(words: Words, haystack: str) -> int:
    """Return the length of the longest run of the words that occurs in ``haystack``, texts of words between spaces."""
    longest, start = 0, 0
    for end in range(1, len(words) + 1):
        while f" {' '.join(words[start:end])} " not in haystack:
            start += 1
        longest = max(longest, end - start)
    return longest
