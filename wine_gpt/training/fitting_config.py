"""Which of the package's configs fits the number of training words."""

# The most training words of each config; None has no limit. Rules of thumb: small.yaml's test loss is lower on 1,000
# reviews of 58 words, and base.yaml's on 2,000 (benchmarks/RESULTS.md, "The loss over the number of reviews").
CONFIGS = {"small.yaml": 80_000, "base.yaml": None}
PAGE = "docs/training.md, How much data"


def describe_fitting_config(words: int) -> str:
    """Return one line with the config whose epochs fit a number of training words."""
    fitting = next(name for name, most in CONFIGS.items() if most is None or words <= most)
    return f"{words:,} training words: {fitting} fits, as a rule of thumb ({PAGE})"
