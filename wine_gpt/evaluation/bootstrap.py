"""Bootstrap confidence intervals over texts, for one model's loss and for the change between two models."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wine_gpt.files import JsonRecord

RESAMPLES = 2000
LEVEL = 0.95

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval(JsonRecord):
    """A figure with its confidence interval; ``level`` is the nominal coverage, 0 to 1."""

    value: float
    low: float
    high: float
    level: float

    def as_percent(self) -> str:
        """Return, for a fraction, such as ``-5.0% (-8.1% to -2.0%)``."""
        return f"{self.value:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


def nats_per_word(nats: Floats, words: Floats, seed: int) -> Interval:
    """Return nats per word over all texts.

    Args:
        nats: of each text, float64 of shape (texts,).
        words: of each text, float64 of shape (texts,).
        seed: of the resampling.
    """
    return _ratio_of_sums(nats, words, seed, float)


def perplexity_change(base_nats: Floats, tuned_nats: Floats, words: Floats, seed: int) -> Interval:
    """Return the relative change of perplexity from a base model to a tuned one: −0.05 is 5% lower.

    The bootstrap is paired: both models' nats of a text are drawn together, because texts differ far more than models.

    Args:
        base_nats: of each text, float64 of shape (texts,).
        tuned_nats: of each text, in the same order.
        words: of each text.
        seed: of the resampling.
    """
    return _ratio_of_sums(tuned_nats - base_nats, words, seed, np.expm1)


def _ratio_of_sums(
    numerators: Floats, denominators: Floats, seed: int, transform: Callable[[float], float]
) -> Interval:
    """Return ``transform(sum of numerators / sum of denominators)`` with its percentile interval.

    Texts are drawn with replacement, and long texts weigh more than short ones (Efron & Tibshirani 1993, An
    Introduction to the Bootstrap, chapter 13). Texts without a word, such as the running texts of reviews that are cut
    within their header, have the ratio 0.
    """

    def statistic(texts: npt.NDArray[np.int64]) -> float:
        total = denominators[texts].sum()
        return float(transform(numerators[texts].sum() / total if total else 0.0))

    count = len(denominators)
    random = np.random.default_rng(seed)
    resampled = [statistic(random.integers(0, count, count)) for _ in range(RESAMPLES)]
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(statistic(np.arange(count)), float(low), float(high), LEVEL)
