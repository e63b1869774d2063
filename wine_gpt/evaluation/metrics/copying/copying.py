"""How much of a text occurs word for word in the texts that a model was trained on."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

DESCRIPTION = """
The longest span of consecutive words that each text has in common with one text of a corpus, computed exactly, and the
fraction of texts with long spans. Real texts have stock phrases in common too, so compare the figures with those of
real texts that are not in the corpus.
"""

INPUTS = """
Args:
    predictions: texts, or the words of each text.
    corpus: the texts that may have been copied from, or their words; read once, so it can be a generator.
    thresholds: spans of at least this many words count as long.

Returns:
    texts: number of texts.
    mean_longest, median_longest, longest: mean, median and maximum of the texts' longest spans, in words.
    share_10, share_15, ...: for each threshold, the fraction of the texts with a span of at least that many words.

Examples:
    >>> metric = evaluate.load("wine_gpt/evaluation/metrics/copying")
    >>> texts = [["ripe", "black", "plum", "and", "oak"], ["dry"]]
    >>> corpus = [["black", "plum", "and", "spice"], ["ripe", "black", "cherry"]]
    >>> figures = metric.compute(predictions=texts, corpus=corpus, thresholds=[3])
    >>> figures["longest"], figures["mean_longest"], figures["share_3"]
    (3, 1.5, 0.5)
"""

# a punctuation mark or what stands between marks and white space
WORD = re.compile(r"[!-/:-@\[-`{-~]|[^!-/:-@\[-`{-~\s]+")


def words_of(text: str | Sequence[str]) -> Sequence[str]:
    """Return a text's words in lower case; a text that is a list of words already is returned unchanged."""
    return WORD.findall(text.lower()) if isinstance(text, str) else text


Positions = npt.NDArray[np.int64]


class Copying(evaluate.Metric):
    """See ``DESCRIPTION``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=[
                datasets.Features({"predictions": datasets.List(datasets.Value("string"))}),
                datasets.Features({"predictions": datasets.Value("string")}),
            ],
        )

    def compute(self, *, predictions: Any = None, **inputs: Any) -> Any:  # noqa: ANN401 - untyped in evaluate
        """Refuse an empty list; settings of others, which ``evaluate.combine`` passes to all, are ignored."""
        if predictions is not None and not len(predictions):
            raise ValueError("there is no text: predictions is empty")
        return super().compute(predictions=predictions, **inputs)

    def _compute(
        self,
        predictions: Sequence[str | Sequence[str]],
        corpus: Iterable[str | Sequence[str]],
        thresholds: Sequence[int] = (10, 15, 20),
        **_: object,
    ) -> dict[str, float]:
        spans = longest_shared_spans([*map(words_of, predictions)], map(words_of, corpus))
        return {
            "texts": len(spans),
            "mean_longest": float(spans.mean()),
            "median_longest": float(np.median(spans)),
            "longest": int(spans.max()),
            **{f"share_{threshold}": float((spans >= threshold).mean()) for threshold in thresholds},
        }


def longest_shared_spans(texts: Sequence[Sequence[str]], corpus: Iterable[Sequence[str]]) -> Positions:
    """Return the length in words of each text's longest span in common with a corpus text: int64 of shape (texts,).

    Round n numbers the spans of n words that both texts and corpus have. Round n + 1 extends only these spans by a
    word, so all but the first few rounds are short.
    """
    vocabulary: dict[str, int] = {}
    for text in texts:
        for word in text:
            # 0 is the end of a text and, in the corpus, a word that no text has
            vocabulary.setdefault(word, len(vocabulary) + 1)
    words, owners = _concatenate([vocabulary[word] for word in text] for text in texts)
    corpus_words, _ = _concatenate([vocabulary.get(word, 0) for word in text] for text in corpus)
    longest = np.zeros(len(texts), np.int64)
    positions, corpus_positions = np.flatnonzero(words), np.flatnonzero(corpus_words)
    # the number of the span that begins at each position
    spans, corpus_spans = np.zeros_like(positions), np.zeros_like(corpus_positions)
    length = 0
    while True:
        spans, positions = _extend(spans, positions, words, length, len(vocabulary))
        corpus_spans, corpus_positions = _extend(corpus_spans, corpus_positions, corpus_words, length, len(vocabulary))
        length += 1
        both, spans = np.unique(spans, return_inverse=True)
        if not len(both):
            return longest
        found = np.searchsorted(both, corpus_spans).clip(max=len(both) - 1)
        shared = both[found] == corpus_spans
        corpus_spans, corpus_positions = found[shared], corpus_positions[shared]
        kept = np.isin(spans, corpus_spans)
        spans, positions = spans[kept], positions[kept]
        longest[owners[positions]] = length


def _concatenate(texts: Iterable[Sequence[int]]) -> tuple[Positions, Positions]:
    """Concatenate the texts, with a 0 after each, and return for each position the index of its text."""
    joined = [np.asarray([*text, 0], np.int64) for text in texts]
    if not joined:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    return np.concatenate(joined), np.repeat(np.arange(len(joined)), [len(text) for text in joined])


def _extend(
    spans: Positions, positions: Positions, words: Positions, length: int, most_words: int
) -> tuple[Positions, Positions]:
    """Extend each span by the word after it and return number and position of the spans that have one.

    A span's number is below the number of positions, so int64 suffices while positions times words are below 2^63.
    """
    following = words[positions + length]
    extended = following > 0
    return spans[extended] * (most_words + 1) + following[extended], positions[extended]
