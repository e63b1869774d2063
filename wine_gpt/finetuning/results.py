"""The figures of a fine-tuning, as dataclasses with the keys of its ``metrics.json``.

``docs/finetuning.md`` explains each figure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from wine_gpt.evaluation.bootstrap import Interval, perplexity_change
from wine_gpt.files import JsonObject, JsonRecord
from wine_gpt.modeling.scoring import NATS, WORDS, Score, Sums
from wine_gpt.training.record import Environment, TrainingSummary

# a bootstrap interval over fewer reviews is unreliable
MIN_TEST_REVIEWS = 5
# with fewer test reviews the bootstrap interval is too narrow, so the verdict says "likely"
FEW_REVIEWS = 20


@dataclass(frozen=True)
class ScorePair(JsonRecord):
    """Base and fine-tuned model, scored on the same test reviews."""

    base: Score
    tuned: Score
    perplexity_change: Interval

    @classmethod
    def of(cls, base: Sums, tuned: Sums, seed: int) -> Self:
        """Compare the sums of the same reviews; ``seed`` is that of the bootstrap."""
        change = perplexity_change(base[:, NATS], tuned[:, NATS], base[:, WORDS], seed)
        return cls(Score.of(base), Score.of(tuned), change)


@dataclass(frozen=True)
class HiddenValue(JsonRecord):
    """The base without the subset's value: in the header, [UNK] replaces each word of the value.

    Attributes:
        base: the base's score on the running text after such a header.
        perplexity_change: of the running text, if the header shows the value: what the value tells the base.
    """

    base: Score
    perplexity_change: Interval


@dataclass(frozen=True)
class Comparison(JsonRecord):
    """A fine-tuned model beside its base on the test split.

    Attributes:
        whole: on whole reviews.
        after_header: on the running text alone, with the header as context, which names the subset's value.
        better: whether the fine-tuned model is significantly better on whole reviews and not significantly worse
            after the header.
        train_fraction: the fraction of the base's training reviews that have the subset's value, above 0.
        value_hidden: see :class:`HiddenValue`; None if the field is not in the header.
    """

    whole: ScorePair
    after_header: ScorePair
    better: bool
    train_fraction: float
    value_hidden: HiddenValue | None = None

    @property
    def ceiling(self) -> float | None:
        """The change of perplexity on whole reviews that knowing the value can give: −0.06 is 6% lower.

        For a base that predicts perfectly, p(review | value) is at most p(review) / p(value): knowing the value saves
        at most −ln p(value) nats a review, which are spread over the review's words.
        """
        if not self.whole.base.words:
            return None
        return math.expm1(math.log(self.train_fraction) * self.whole.base.reviews / self.whole.base.words)

    @property
    def ceiling_reached(self) -> float | None:
        """The change on whole reviews as a fraction of :attr:`ceiling`; None if all reviews have the value."""
        return self.whole.perplexity_change.value / self.ceiling if self.ceiling else None

    @classmethod
    def of(
        cls,
        base: Sequence[Sums],
        tuned: Sequence[Sums],
        seed: int,
        train_fraction: float,
        hidden: Sums | None = None,
    ) -> Self:
        """Compare two models on the test split.

        Args:
            base: the base's sums, of whole reviews and of the running text after the header.
            tuned: the fine-tuned model's sums, with the reviews in the same order.
            seed: of the bootstrap.
            train_fraction: see :class:`Comparison`.
            hidden: the base's sums of the running text after headers whose value is hidden, if there are any.
        """
        whole, text = (ScorePair.of(before, after, seed) for before, after in zip(base, tuned, strict=True))
        enough = len(base[0]) >= MIN_TEST_REVIEWS
        # a fine-tuned model that is worse after the header is worse than the base with the header as its prompt
        better = enough and whole.perplexity_change.high < 0 and text.perplexity_change.low <= 0
        value_hidden = None
        if hidden is not None:
            # the base with the value in the header, beside the base without it
            pair = ScorePair.of(hidden, base[1], seed)
            value_hidden = HiddenValue(pair.base, pair.perplexity_change)
        return cls(whole, text, better, train_fraction, value_hidden)

    def verdict(self) -> str:
        """Return in words whether the fine-tuned model is better, and on how many test reviews this rests."""
        change, reviews = self.whole.perplexity_change, self.whole.base.reviews
        counted = f"{reviews:,} review{'' if reviews == 1 else 's'}"
        if self.better:
            return f"likely ({counted}: too few to be sure)" if reviews < FEW_REVIEWS else f"yes ({counted})"
        spans_zero = change.low <= 0 <= change.high and change.low < change.high
        answer = "too few to tell" if reviews < MIN_TEST_REVIEWS or spans_zero else "no"
        return f"{answer} ({counted}): the base is kept"

    def to_dict(self) -> JsonObject:
        """Return the fields for a metrics file, and the figures that follow from them."""
        return {**super().to_dict(), "ceiling": self.ceiling, "ceiling_reached": self.ceiling_reached}


@dataclass(frozen=True)
class BaseReference(JsonRecord):
    """The base model of a fine-tuning: its folder or Hub id, and the SHA-256 of its weights file."""

    path: str
    weights_sha256: str


@dataclass(frozen=True)
class ValidationLoss(JsonRecord):
    """Nats per word on the validation split, of whole reviews and of the running text after the header.

    ``text_is_worse`` is whether the interval of the running text's change from the base is above zero.
    """

    whole: float
    text: float
    text_is_worse: bool = False


@dataclass(frozen=True)
class CopyCheck(JsonRecord):
    """Mean longest span, in words, in common with a training review, of generated and of held-out descriptions."""

    generated: float
    real: float


@dataclass(frozen=True, kw_only=True)
class SubsetMetrics(JsonRecord):
    """The metrics file of a model that was fine-tuned on one subset.

    Attributes:
        field: the column of the subset.
        value: the column's value in the subset.
        method: lora or full.
        base: the model that was fine-tuned.
        reviews: split to number of reviews.
        comparison: see :class:`Comparison`.
        training: see :class:`TrainingSummary`.
        alpha: interpolation weight between base (0) and trained weights (1) that was kept (WiSE-FT).
        validation_by_alpha: the losses that ``alpha`` was chosen by.
        settings: the settings that must be equal on resume, by dotted key; None in a published file.
        environment: see :class:`Environment`.
        copying: see :class:`CopyCheck`; None without the package ``evaluate``, or if no header leaves a position.
        seconds: of the whole fine-tuning.
        size_bytes: of the weights file.
        header: the prompt fields' commonest values in the subset's training reviews.
    """

    field: str
    value: str
    method: str
    base: BaseReference
    reviews: dict[str, int]
    comparison: Comparison
    training: TrainingSummary
    alpha: float
    validation_by_alpha: dict[float, ValidationLoss]
    settings: JsonObject | None = None
    environment: Environment
    copying: CopyCheck | None
    seconds: float
    size_bytes: int
    header: dict[str, str]


def is_finetuned(metrics: JsonObject) -> bool:
    """Return whether the content of a ``metrics.json`` is of a :class:`SubsetMetrics`."""
    return "method" in metrics
