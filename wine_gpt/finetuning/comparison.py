"""Compare a fine-tuned model with its base on the same test reviews."""

from wine_gpt.evaluation.bootstrap import perplexity_change
from wine_gpt.finetuning.results import Comparison, HiddenValue, ScorePair
from wine_gpt.modeling.scoring import NATS, WORDS, Score, Sums

# a bootstrap interval over fewer reviews is unreliable
MIN_TEST_REVIEWS = 5
# with fewer test reviews the bootstrap interval is too narrow, so the verdict says "likely"
FEW_REVIEWS = 20


def compare(
    base: tuple[Sums, Sums],
    tuned: tuple[Sums, Sums],
    seed: int,
    train_fraction: float,
    hidden: Sums | None = None,
) -> Comparison:
    """Compare two models on the test split.

    Args:
        base: the base's sums from :func:`wine_gpt.modeling.scoring.score_after`, of whole reviews and of the running
            text after the header.
        tuned: the fine-tuned model's sums, with the reviews in the same order.
        seed: of the bootstrap.
        train_fraction: see :class:`Comparison`.
        hidden: the base's sums of the running text after headers whose value is hidden, if there are any.
    """
    whole, text = (_pair(before, after, seed) for before, after in zip(base, tuned, strict=True))
    enough = len(base[0]) >= MIN_TEST_REVIEWS
    # a fine-tuned model that is worse after the header is worse than the base with the header as its prompt
    better = enough and whole.perplexity_change.high < 0 and text.perplexity_change.low <= 0
    shown = base[1]
    value_hidden = None
    if hidden is not None:
        change = perplexity_change(hidden[:, NATS], shown[:, NATS], shown[:, WORDS], seed)
        value_hidden = HiddenValue(Score.of(hidden), change)
    return Comparison(whole, text, better, train_fraction, value_hidden)


def verdict(comparison: Comparison) -> str:
    """Return in words whether the fine-tuned model is better, with the number of test reviews that this rests on."""
    change, reviews = comparison.whole.perplexity_change, comparison.whole.base.reviews
    counted = f"{reviews:,} review{'' if reviews == 1 else 's'}"
    if comparison.better:
        return f"likely ({counted}: too few to be sure)" if reviews < FEW_REVIEWS else f"yes ({counted})"
    spans_zero = change.low <= 0 <= change.high and change.low < change.high
    answer = "too few to tell" if reviews < MIN_TEST_REVIEWS or spans_zero else "no"
    return f"{answer} ({counted}): the base is kept"


def _pair(base: Sums, tuned: Sums, seed: int) -> ScorePair:
    change = perplexity_change(base[:, NATS], tuned[:, NATS], base[:, WORDS], seed)
    return ScorePair(Score.of(base), Score.of(tuned), change)
