"""Which of the package's configs fits the number of training words."""

# The most training words for which small.yaml fits. A rule of thumb: small.yaml's test loss is lower on 1,000 reviews
# of 58 words, and base.yaml's on 2,000 (benchmarks/RESULTS.md, "The loss over the number of reviews").
SMALL_CORPUS_WORDS = 80_000
PAGE = "docs/training.md, How much data"


def describe_fitting_config(words: int) -> str:
    """Return one line with the config whose epochs fit a number of training words."""
    fitting = "small.yaml" if words <= SMALL_CORPUS_WORDS else "base.yaml"
    return f"{words:,} training words: {fitting} fits, as a rule of thumb ({PAGE})"
