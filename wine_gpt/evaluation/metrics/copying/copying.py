"""How much of a text stands word for word in the texts that a model was trained on."""

from collections.abc import Iterable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

DESCRIPTION = """
The longest span of consecutive words that each text shares with one text of a corpus, exactly (no span runs across
two texts), and the share of texts with long ones. Stock phrases are shared by texts that nobody copied: put the same
figures for real texts that are not in the corpus beside these.
"""

INPUTS = """
Args:
    predictions: the words of each text.
    corpus: the words of each text that may have been copied from; read once, so a generator will do.
    thresholds: spans from so many words on count as long.

Returns:
    texts: how many there were.
    mean_longest, median_longest, longest: over the texts, of each one's longest shared span, in words.
    share_10, share_15, ...: for each threshold, the share of the texts with a span of at least so many words; 0 to 1.

Examples:
    >>> metric = evaluate.load("wine_gpt/evaluation/metrics/copying")
    >>> texts = [["ripe", "black", "plum", "and", "oak"], ["dry"]]
    >>> corpus = [["black", "plum", "and", "spice"], ["ripe", "black", "cherry"]]
    >>> figures = metric.compute(predictions=texts, corpus=corpus, thresholds=[3])
    >>> figures["longest"], figures["mean_longest"], figures["share_3"]
    (3, 1.5, 0.5)
"""

Positions = npt.NDArray[np.int64]


class Copying(evaluate.Metric):
    """See ``DESCRIPTION``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": datasets.List(datasets.Value("string"))}),
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[str]],
        corpus: Iterable[Sequence[str]],
        thresholds: Sequence[int] = (10, 15, 20),
    ) -> dict[str, Any]:
        spans = longest_shared_spans(predictions, corpus)
        return {
            "texts": len(spans),
            "mean_longest": float(spans.mean()),
            "median_longest": float(np.median(spans)),
            "longest": int(spans.max()),
            **{f"share_{threshold}": float((spans >= threshold).mean()) for threshold in thresholds},
        }


def longest_shared_spans(texts: Sequence[Sequence[str]], corpus: Iterable[Sequence[str]]) -> Positions:
    """Return for each text the words of its longest span that one text of the corpus has too: int64 of (texts,).

    All spans of n words that both sides have are numbered; from them follow those of n + 1, until none is left. Each
    round looks only at the places that the last one left, so after the first few there is little to do.
    """
    vocabulary: dict[str, int] = {}
    for text in texts:
        for word in text:
            # 0 is the end of a text, and in the corpus any word that no text has
            vocabulary.setdefault(word, len(vocabulary) + 1)
    words, owners = _joined([vocabulary[word] for word in text] for text in texts)
    corpus_words, _ = _joined([vocabulary.get(word, 0) for word in text] for text in corpus)
    longest = np.zeros(len(texts), np.int64)
    places, corpus_places = np.flatnonzero(words), np.flatnonzero(corpus_words)
    # the number of the span so far that begins at each place
    spans, corpus_spans = np.zeros_like(places), np.zeros_like(corpus_places)
    length = 0
    while True:
        spans, places = _grown(spans, places, words, length, len(vocabulary))
        corpus_spans, corpus_places = _grown(corpus_spans, corpus_places, corpus_words, length, len(vocabulary))
        length += 1
        both, spans = np.unique(spans, return_inverse=True)
        if not len(both):
            return longest
        found = np.searchsorted(both, corpus_spans).clip(max=len(both) - 1)
        shared = both[found] == corpus_spans
        corpus_spans, corpus_places = found[shared], corpus_places[shared]
        kept = np.isin(spans, corpus_spans)
        spans, places = spans[kept], places[kept]
        longest[owners[places]] = length


def _joined(texts: Iterable[Sequence[int]]) -> tuple[Positions, Positions]:
    """Return all words one after the other, a 0 after each text, and for each place its text's number."""
    joined = [np.asarray([*text, 0], np.int64) for text in texts]
    if not joined:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    return np.concatenate(joined), np.repeat(np.arange(len(joined)), [len(text) for text in joined])


def _grown(
    spans: Positions, places: Positions, words: Positions, length: int, most_words: int
) -> tuple[Positions, Positions]:
    """Return span and place of those spans that have a word behind them, that word included.

    A span's number is below the number of places, so the product fits as long as places times words are below 2^63.
    """
    following = words[places + length]
    on = following > 0
    return spans[on] * (most_words + 1) + following[on], places[on]
