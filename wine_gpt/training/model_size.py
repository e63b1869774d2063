"""Which of the package's configs fits the number of training words."""

# The most training words of each config, the smallest model first; None has no limit. Rules of thumb: of the measured
# corpora the smallest has 8,000 reviews (benchmarks/RESULTS.md, "Pretraining on real reviews").
CONFIGS = {"small.yaml": 120_000, "base.yaml": None}
PAGE = "docs/training.md, How much data"


def describe_fitting_size(words: int) -> str:
    """Return one line with the config whose model fits a number of training words."""
    fitting = next(name for name, most in CONFIGS.items() if most is None or words <= most)
    return f"{words:,} training words: the sizes of {fitting} fit, as a rule of thumb ({PAGE})"
