"""How much texts differ from one another, and each within itself."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy.stats import wasserstein_distance

DESCRIPTION = """
How varied a set of texts is. All figures depend on the number and the length of the texts, so compare them with those
of equally many real texts.

distinct-n (Li et al. 2016): different spans of n words divided by all spans of n words, over all texts together.
Self-BLEU (Zhu et al. 2018): the mean BLEU-4 of each text against all others as references, without smoothing; 1 means
that every text repeats others. Repeated spans: the fraction of a text's spans of 4 words that occur earlier in it.
"""

CITATION = """
@inproceedings{li2016diversity, title={A Diversity-Promoting Objective Function for Neural Conversation Models},
  author={Li, Jiwei and Galley, Michel and Brockett, Chris and Gao, Jianfeng and Dolan, Bill},
  booktitle={NAACL}, year={2016}}
@inproceedings{zhu2018texygen, title={Texygen: A Benchmarking Platform for Text Generation Models},
  author={Zhu, Yaoming and others}, booktitle={SIGIR}, year={2018}}
"""

INPUTS = """
Args:
    predictions: texts, or the words of each text.
    real_lengths: numbers of words of real texts; None: length_distance is not computed.

Returns:
    distinct_1, distinct_2, distinct_3: 0 to 1, higher is more varied. self_bleu: 0 to 1, lower is more varied.
    repeated_4: mean over the texts, 0 to 1. mean_length, sd_length: words per text and their standard deviation.
    length_distance: Wasserstein-1 distance between the distributions of the lengths and of real_lengths, in words;
        only if real_lengths are given.

Examples:
    >>> metric = evaluate.load("wine_gpt/evaluation/metrics/diversity")
    >>> figures = metric.compute(predictions=[["ripe", "plum"], ["ripe", "fig"]], real_lengths=[3, 3])
    >>> figures["distinct_1"], figures["distinct_2"], figures["length_distance"]
    (0.75, 1.0, 1.0)
"""

# a punctuation mark or what stands between marks and white space
WORD = re.compile(r"[!-/:-@\[-`{-~]|[^!-/:-@\[-`{-~\s]+")


def words_of(text: str | Sequence[str]) -> Sequence[str]:
    """Return a text's words in lower case; a text that is a list of words already is returned unchanged."""
    return WORD.findall(text.lower()) if isinstance(text, str) else text


Span = tuple[str, ...]


class Diversity(evaluate.Metric):
    """See ``DESCRIPTION``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
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
        self, predictions: Sequence[str | Sequence[str]], real_lengths: Sequence[int] | None = None, **_: object
    ) -> dict[str, float]:
        predictions = [*map(words_of, predictions)]
        lengths = np.array([len(text) for text in predictions])
        figures = {
            **{f"distinct_{n}": distinct(predictions, n) for n in (1, 2, 3)},
            "self_bleu": float(np.mean(self_bleu(predictions))),
            "repeated_4": float(np.mean([repeated(text, 4) for text in predictions])),
            "mean_length": float(lengths.mean()),
            "sd_length": float(lengths.std()),
        }
        if real_lengths is not None:
            figures["length_distance"] = float(wasserstein_distance(lengths, real_lengths))
        return figures


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """Return the number of distinct spans of ``n`` words divided by the number of spans, or 0 without spans."""
    counts = Counter(span for text in texts for span in spans(text, n))
    return len(counts) / counts.total() if counts else 0.0


def repeated(text: Sequence[str], n: int) -> float:
    """Return the fraction of the text's spans of ``n`` words that occur earlier in it."""
    counts = Counter(spans(text, n))
    return 1 - len(counts) / counts.total() if counts else 0.0


def self_bleu(texts: Sequence[Sequence[str]], order: int = 4) -> list[float]:
    """Return BLEU (Papineni et al. 2002) of each text against all others.

    BLEU clips a span's count to its highest count in another text. The highest and second highest count of each span
    suffice for that, so the time grows with the number of words and not with the number of pairs of texts.
    """
    precisions = [_precisions(texts, n) for n in range(1, order + 1)]
    lengths = [len(text) for text in texts]
    return [
        _brevity(index, lengths) * math.exp(sum(map(math.log, of_text)) / order) if all(of_text) else 0.0
        for index, of_text in enumerate(zip(*precisions, strict=True))
    ]


def _precisions(texts: Sequence[Sequence[str]], n: int) -> list[float]:
    """Return each text's clipped n-gram precision against all other texts."""
    counts = [Counter(spans(text, n)) for text in texts]
    # highest count, index of its text, highest count in the other texts
    highest: defaultdict[Span, tuple[int, int, int]] = defaultdict(lambda: (0, -1, 0))
    for index, of_text in enumerate(counts):
        for span, count in of_text.items():
            first, owner, second = highest[span]
            highest[span] = (count, index, first) if count > first else (first, owner, max(second, count))
    return [
        sum(min(count, _of_others(highest[span], index)) for span, count in of_text.items()) / max(of_text.total(), 1)
        for index, of_text in enumerate(counts)
    ]


def _of_others(highest: tuple[int, int, int], index: int) -> int:
    first, owner, second = highest
    return second if owner == index else first


def _brevity(index: int, lengths: list[int]) -> float:
    """Return BLEU's brevity penalty against the other text nearest in length, the shorter of two equally near."""
    others = lengths[:index] + lengths[index + 1 :]
    length = lengths[index]
    if not others or not length:
        return 0.0
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return min(1.0, math.exp(1 - nearest / length))


def spans(text: Sequence[str], n: int) -> Iterator[Span]:
    """Yield each span of ``n`` consecutive words."""
    return zip(*(text[start:] for start in range(n)), strict=False)
