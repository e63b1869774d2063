"""How well a model predicts the words of held-out texts: nats per word and word perplexity."""

import math
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

DESCRIPTION = """
Nats per word and word perplexity: the mean of -ln p(word) over all words of all texts together, and its exponential.
A long text weighs more than a short one. The end of a text is not a word and has its own figure; padding is not
counted. All words outside the vocabulary are predicted as one unknown word, which is easier than predicting the rare
words themselves, so compare perplexities only at equal rates of unknown words.

For a tokenizer whose tokens are not words, give the number of words of each text. To compare models with different
tokenizers, use bits per character, which needs the lengths of the texts.
"""

INPUTS = """
Args:
    predictions: for each text, the natural logarithm of the probability that the model gave each token.
    references: for each text, the ids of those tokens.
    end_id: the id that ends a text.
    unknown_id: the id of all words outside the vocabulary; None without one.
    padding_id: the id of padding; None without one.
    words: the number of words of each text; None: each token is a word.
    characters: the number of characters of each text; None: no bits per character.

Returns:
    nats_per_word: mean -ln p of a word.
    perplexity: exp(nats_per_word).
    unknown_rate: fraction of the tokens, without end of text and padding, that are unknown; 0 to 1.
    bits_per_character: all words' nats / ln 2 / all characters; only if characters are given.
    words, reviews: number of words and of texts.
    end_of_text_nats: mean -ln p of the token that ends a text; None if no text has it.

Examples:
    >>> import math
    >>> metric = evaluate.load("wine_gpt/evaluation/metrics/word_perplexity")
    >>> logs = [[math.log(0.5), math.log(0.125), math.log(0.9)]]
    >>> figures = metric.compute(predictions=logs, references=[[7, 8, 3]], end_id=3)
    >>> round(figures["perplexity"], 6)  # the square root of 2 * 8
    4.0
"""


class WordPerplexity(evaluate.Metric):
    """See ``DESCRIPTION``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.List(datasets.Value("float64")),
                    "references": datasets.List(datasets.Value("int64")),
                }
            ),
        )

    def compute(self, *, predictions: Any = None, **inputs: Any) -> Any:  # noqa: ANN401 - untyped in evaluate
        """Refuse an empty list; settings of others, which ``evaluate.combine`` passes to all, are ignored."""
        if predictions is not None and not len(predictions):
            raise ValueError("there is no text: predictions is empty")
        return super().compute(predictions=predictions, **inputs)

    def _compute(
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[Sequence[int]],
        end_id: int,
        unknown_id: int | None = None,
        padding_id: int | None = None,
        words: Sequence[int] | None = None,
        characters: Sequence[int] | None = None,
        **_: object,
    ) -> dict[str, float | None]:
        for text, (logs, ids) in enumerate(zip(predictions, references, strict=True)):
            if len(logs) != len(ids):
                raise ValueError(f"text {text}: {len(logs)} logarithms, but {len(ids)} ids")
        nats = -np.concatenate([np.asarray(logs, np.float64) for logs in predictions])
        tokens = np.concatenate([np.asarray(ids, np.int64) for ids in references])
        end, word = tokens == end_id, (tokens != end_id) & (tokens != padding_id)
        total_words = int(word.sum()) if words is None else sum(words)
        if not word.any() or not total_words:
            raise ValueError("there is not one word")
        nats_per_word = float(nats[word].sum() / total_words)
        figures: dict[str, float | None] = {
            "nats_per_word": nats_per_word,
            # math.exp overflows beyond 709
            "perplexity": math.exp(nats_per_word) if nats_per_word < 709 else math.inf,
            "unknown_rate": float((tokens[word] == unknown_id).mean()),
            "words": total_words,
            "reviews": len(references),
            "end_of_text_nats": float(nats[end].mean()) if end.any() else None,
        }
        if characters is not None:
            figures["bits_per_character"] = float(nats[word].sum() / math.log(2) / sum(characters))
        return figures
