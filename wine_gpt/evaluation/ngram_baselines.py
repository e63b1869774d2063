"""Baselines of the loss: interpolated Kneser-Ney n-gram models, which only count the words of the training texts.

Source: Chen & Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling", section 2.7, in the
interpolated form, with one discount for each length of n-gram.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerFast

from wine_gpt.evaluation.bootstrap import Floats
from wine_gpt.evaluation.predictions import Bools, Ints, Prediction

# the length of each baseline's n-grams, with the predicted word
LENGTHS = {"unigram": 1, "bigram": 2, "5-gram": 5}


class _Counts:
    """The counts of all n-grams of one length.

    An n-gram's key is context * vocabulary size + last word, where the context is the index of its first words in the
    sorted keys of the next shorter n-grams.

    Args:
        keys: of all n-grams, sorted, int64 of shape (n-grams,).
        counts: int64 of shape (n-grams,).
        contexts: how many contexts there are.
        vocabulary: the number of token ids.
    """

    def __init__(self, keys: Ints, counts: Ints, contexts: int, vocabulary: int) -> None:
        self.keys, self.counts = keys, counts
        self.total = np.bincount(keys // vocabulary, counts, contexts)
        self.distinct = np.bincount(keys // vocabulary, counts > 0, contexts)
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        # of Ney, Essen & Kneser 1994; a corpus in which nothing occurs once has no estimate
        self.discount = once / (once + 2 * twice) if once else 0.5

    def interpolate(self, contexts: Ints, ngrams: Ints, shorter: Floats) -> Floats:
        """Return the probability of each word, given its probability by the shorter n-grams.

        Args:
            contexts: their indices, -1 for a context that training did not see.
            ngrams: their indices, -1 for an n-gram that training did not see.
            shorter: float64 of the same shape.
        """
        known = (contexts >= 0) & (self.total[contexts] > 0)
        kept = np.where(ngrams >= 0, np.maximum(self.counts[ngrams] - self.discount, 0), 0)
        total = np.where(known, self.total[contexts], 1)
        return np.where(known, (kept + self.discount * self.distinct[contexts] * shorter) / total, shorter)


class NgramModel:
    """An interpolated Kneser-Ney model.

    Args:
        rows: the tokens of the training texts, without start and end.
        length: of the n-grams, with the predicted token.
        tokenizer: for the start and end of text and the size of the vocabulary.
    """

    def __init__(self, rows: Iterable[Sequence[int]], length: int, tokenizer: PreTrainedTokenizerFast) -> None:
        self.length, self.tokenizer, self.vocabulary = length, tokenizer, len(tokenizer)
        tokens, predicted = self._stream(rows)
        # of the one 0-gram
        ngrams = np.zeros(len(tokens), np.int64)
        found = []
        for _ in range(length):
            keys, ngrams = np.unique(self._keys(np.roll(ngrams, 1), tokens), return_inverse=True)
            found.append((keys, ngrams[predicted]))
        self.levels: list[_Counts] = []
        for n, (keys, occurrences) in enumerate(found):
            if n + 1 < length:
                # Kneser-Ney counts different words before a shorter n-gram, not its occurrences
                _, first = np.unique(found[n + 1][1], return_index=True)
                occurrences = occurrences[first]
            contexts = len(found[n - 1][0]) if n else 1
            self.levels.append(_Counts(keys, np.bincount(occurrences, minlength=len(keys)), contexts, self.vocabulary))

    def nats(self, rows: Sequence[Sequence[int]]) -> list[Floats]:
        """Return −ln p of each token of each row and of its end of text, float64 of shape (tokens + 1,)."""
        tokens, predicted = self._stream(rows)
        ngrams = np.zeros(len(tokens), np.int64)
        probability = np.full(len(tokens), 1 / self.vocabulary)
        for level in self.levels:
            contexts = np.roll(ngrams, 1)
            ngrams = _index(level.keys, np.where(contexts >= 0, self._keys(contexts, tokens), -1))
            probability = level.interpolate(contexts, ngrams, probability)
        ends = np.cumsum([len(row) + 1 for row in rows])
        return np.split(-np.log(probability[predicted]), ends[:-1])

    def _stream(self, rows: Iterable[Sequence[int]]) -> tuple[Ints, Bools]:
        """Return all rows in one array, each after ``length`` - 1 starts of text, and where a token is predicted."""
        starts = [self.tokenizer.bos_token_id] * (self.length - 1)
        stream = [np.array([*starts, *row, self.tokenizer.eos_token_id], np.int64) for row in rows]
        predicted = [np.arange(len(row)) >= len(starts) for row in stream]
        return np.concatenate(stream), np.concatenate(predicted)

    def _keys(self, contexts: Ints, tokens: Ints) -> Ints:
        return contexts * self.vocabulary + tokens


def _index(keys: Ints, wanted: Ints) -> Ints:
    """Return the index of each wanted key in the sorted ``keys``, -1 where it is not."""
    indices = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[indices] == wanted, indices, -1)


def baselines(
    train: Iterable[str],
    predictions: Sequence[Prediction],
    tokenizer: PreTrainedTokenizerFast,
) -> dict[str, float]:
    """Return the nats per word of a uniform guess and of n-gram models, over the words that a model was scored on.

    Args:
        train: the texts to count.
        predictions: a model's, of the held-out texts.
        tokenizer: the model's.
    """
    words = sum(prediction.words for prediction in predictions)
    tokens = sum(len(prediction.ids) for prediction in predictions)
    train_rows, rows = _encode(list(train), tokenizer), [prediction.text_ids for prediction in predictions]
    found = {"uniform": tokens * float(np.log(len(tokenizer)))}
    for name, length in LENGTHS.items():
        nats = NgramModel(train_rows, length, tokenizer).nats(rows)
        found[name] = sum(
            float(of_text[prediction.first : prediction.first + len(prediction.ids)].sum())
            for of_text, prediction in zip(nats, predictions, strict=True)
        )
    return {name: total / words for name, total in found.items()}


def _encode(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    encoded = tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False
    )
    rows: list[list[int]] = encoded["input_ids"]
    return rows
