"""Which of the package's configs fits the number of training words."""

# The most training words of each config; None has no limit. Rules of thumb: they are measured on 1,000 and 8,000
# reviews (benchmarks/RESULTS.md, "Small corpora").
CONFIGS = {"small.yaml": 120_000, "base.yaml": None}
PAGE = "docs/training.md, How much data"


def describe_fitting_config(words: int) -> str:
    """Return one line with the config whose epochs fit a number of training words."""
    fitting = next(name for name, most in CONFIGS.items() if most is None or words <= most)
    return f"{words:,} training words: {fitting} fits, as a rule of thumb ({PAGE})"
