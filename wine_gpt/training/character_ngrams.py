"""Embeddings that also learn from words of similar spelling, through the character n-grams that words have in common.

A word's embedding is the sum of a vector of its own and the vectors of its character n-grams, as in Bojanowski et al.
2017, "Enriching Word Vectors with Subword Information". The model has only the sum: after each step the moves of the
n-grams' vectors are added to the embeddings, so that the model is a plain GPT-2 at any time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from accelerate.logging import get_logger
from torch import nn
from torch.nn.functional import embedding_bag
from transformers import PreTrainedTokenizerFast

logger = get_logger(__name__)

# lengths of the n-grams, in characters; a word begins with "<" and ends with ">"
LENGTHS = (3, 4, 5)
# an n-gram counts if at least so many words have it
MIN_WORDS = 8


class CharacterNgrams:
    """The vectors of the character n-grams of a vocabulary.

    Each of a word's k n-grams has the weight 1 / √k in its embedding, so that long words are not moved further.

    Args:
        embeddings: the words' embeddings, float of shape (words, width).
        words_of: the ids of the words that each n-gram is in; see :func:`words_of_ngrams`. At least one n-gram.

    Attributes:
        moves: what the n-grams' vectors move by in a step, float of shape (n-grams, width); zeros between the steps.
    """

    def __init__(self, embeddings: nn.Parameter, words_of: Sequence[Sequence[int]]) -> None:
        device = embeddings.device
        words = torch.tensor([word for each in words_of for word in each], device=device)
        ngrams = torch.tensor([ngram for ngram, each in enumerate(words_of) for _ in each], device=device)
        weights = words.bincount()[words].rsqrt()
        self.embeddings = embeddings
        self.moves = nn.Parameter(embeddings.new_zeros(len(words_of), embeddings.shape[1]))
        self._over_words = _WeightedSums.of(ngrams, words, weights, len(words_of))
        self._over_ngrams = _WeightedSums.of(words, ngrams, weights, len(embeddings))

    @torch.no_grad()
    def take_gradient(self) -> None:
        """Give ``moves`` the gradient that follows from that of the embeddings by the chain rule."""
        assert self.embeddings.grad is not None
        self.moves.grad = self._over_words(self.embeddings.grad)

    @torch.no_grad()
    def move_words(self) -> None:
        """Add the moves of its n-grams' vectors to each word's embedding."""
        self.embeddings.add_(self._over_ngrams(self.moves))
        self.moves.zero_()


@dataclass(frozen=True)
class _WeightedSums:
    """Several weighted sums of rows of a matrix, as ``embedding_bag`` takes them.

    They are the product with a sparse matrix, for which ``torch.sparse`` is slower (benchmarks/RESULTS.md, "Character
    n-grams").

    Attributes:
        rows: int64, the rows of the first sum, then those of the second and so on.
        weights: float of the same shape.
        starts: int64, where each sum's rows begin.
    """

    rows: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor

    @classmethod
    def of(cls, sums: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor, number: int) -> Self:
        """Take the sum that each row and its weight belongs to, and the number of sums."""
        order, sizes = sums.argsort(stable=True), sums.bincount(minlength=number)
        return cls(rows[order], weights[order], sizes.cumsum(0) - sizes)

    def __call__(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return the sums of a matrix's rows, float of shape (sums, width)."""
        return embedding_bag(self.rows, matrix, self.starts, mode="sum", per_sample_weights=self.weights)


def find_character_ngrams(embeddings: nn.Parameter, tokenizer: PreTrainedTokenizerFast) -> CharacterNgrams | None:
    """Return the character n-grams of a tokenizer's words; None if it has none, as one of characters or a tiny one."""
    special = set(tokenizer.all_special_tokens)
    words_of = words_of_ngrams({word: index for word, index in tokenizer.get_vocab().items() if word not in special})
    if not words_of:
        entries = f"{MIN_WORDS} entries of this vocabulary have {LENGTHS[0]} characters in a row in common"
        logger.warning(f"training.character_ngrams has no effect, because no {entries}")
        return None
    return CharacterNgrams(embeddings, words_of)


def words_of_ngrams(vocabulary: Mapping[str, int]) -> list[list[int]]:
    """Return the ids of the words that each character n-gram is in, ascending, for n-grams in enough words."""
    words_of: dict[str, list[int]] = defaultdict(list)
    for word, index in sorted(vocabulary.items(), key=lambda entry: entry[1]):
        marked = f"<{word}>"
        for ngram in {marked[start : start + n] for n in LENGTHS for start in range(len(marked) - n + 1)}:
            words_of[ngram].append(index)
    return [words for _, words in sorted(words_of.items()) if len(words) >= MIN_WORDS]
