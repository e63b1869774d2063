"""Whether a text copies a training review, told without the reviews: a Bloom filter over their spans of six words.

It says "this span stands in some training review" and, rarely, is wrong when it says so; it never misses one. The
filter holds bits of hashes, so no review can be read from it; whoever has a text can ask whether it is there. That is
its purpose.

A file is a safetensors file with one tensor, ``filter``, uint8 of shape (m / 8,), and metadata of strings:
``format``, ``n``, ``hashes`` (k), ``bits`` (m), ``ngrams`` and ``reviews``. A span is n of the class's words, joined
by one space, as UTF-8; its blake2b of 16 bytes is two little-endian uint64, h1 and h2, and h2 is made odd; its bits
are (h1 + i * h2) mod 2^64 mod m for i from 0 to k - 1 (Kirsch and Mitzenmacher 2006), bit p being bit p mod 8, the
lowest first, of byte p // 8.
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
MOST_BITS = 19_000_000 * 8
MOST_HASHES = 14

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class NgramIndex:
    """The filter, uint8 of shape (bits / 8,), and how to ask it."""

    filter: npt.NDArray[np.uint8]
    hashes: int
    ngrams: int
    reviews: int

    @property
    def bits(self) -> int:
        """How many bits the filter has."""
        return 8 * len(self.filter)

    def contains(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Tell for each span of six consecutive words whether a training review has it: bool of shape (spans,)."""
        places = _places(_hashed(words), self.hashes, self.bits)
        return np.asarray((self.filter[places >> 3] >> (places & 7).astype(np.uint8) & 1).all(axis=0))

    def longest_span(self, words: Sequence[str]) -> int:
        """Return how many words the longest span has, all of whose spans of six words training reviews have.

        0 if there is none of six words: shorter ones are not looked for. Where two reviews share five words, a span
        may lead from one into the other, so the figure is at least that of the longest span in one review, and at
        times more.

        Args:
            words: of the running text alone, as :func:`wine_gpt.tokenizer.class_words` gives them.
        """
        longest = run = 0
        for found in self.contains(words):
            run = run + 1 if found else 0
            longest = max(longest, run)
        return longest + N - 1 if longest else 0


def build_index(descriptions: Iterable[str], path: Path) -> NgramIndex:
    """Index the running texts of training reviews, their headers left out, and write the file, whole or not at all.

    Raises:
        UserError: if no review has six words, or the file can't be written.
    """
    reviews = 0
    parts: list[Hashes] = []
    for description in descriptions:
        reviews += 1
        parts.append(_hashed(class_words(description)))
    # as one number of 16 bytes each span counts once
    hashes = np.unique(np.concatenate([np.empty((0, 2), np.uint64), *parts]), axis=0)
    if not len(hashes):
        raise UserError(f"n-gram index: none of {reviews:,} reviews has {N} words")
    bits = min(8 * math.ceil(BITS_PER_NGRAM * len(hashes) / 8), MOST_BITS)
    count = max(1, min(MOST_HASHES, round(bits / len(hashes) * math.log(2))))
    marked = np.zeros(bits, bool)
    for start in range(0, len(hashes), 2**18):
        marked[_places(hashes[start : start + 2**18], count, bits)] = True
    index = NgramIndex(np.packbits(marked, bitorder="little"), count, len(hashes), reviews)
    _save(index, path)
    return index


def load_index(path: Path) -> NgramIndex:
    """Read what :func:`build_index` wrote.

    Raises:
        UserError: if there is no such file, or it is not one.
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
        raise UserError(f"n-gram index: {path} holds {index.bits} bits, but says {metadata.get('bits')}")
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


def _hashed(words: Sequence[str]) -> Hashes:
    """Return h1 and h2 of each span: uint64 of shape (spans, 2)."""
    spans = (" ".join(words[start : start + N]) for start in range(len(words) - N + 1))
    digests = b"".join(blake2b(span.encode(), digest_size=16).digest() for span in spans)
    hashes = np.frombuffer(digests, "<u8").astype(np.uint64).reshape(-1, 2)
    hashes[:, 1] |= 1
    return hashes


def _places(hashes: Hashes, count: int, bits: int) -> npt.NDArray[np.int64]:
    """Return the bits of each span: int64 of shape (count, spans)."""
    steps = np.arange(count, dtype=np.uint64)[:, None]
    # numpy's uint64 wraps around, which is the mod 2^64
    return ((hashes[:, 0] + steps * hashes[:, 1]) % np.uint64(bits)).astype(np.int64)
