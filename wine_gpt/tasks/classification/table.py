"""The table of a classifier's test scores beside those of the baselines."""

from wine_gpt.markdown import table
from wine_gpt.tasks.classification.results import ClassifierMetrics


def to_markdown(metrics: ClassifierMetrics) -> str:
    """Return the scores on the test split in Markdown, the classifier last."""
    scores = {**metrics.baselines, "this classifier": metrics.test}
    distance = ("mean distance in labels",) if metrics.ordered else ()
    rows = [
        (
            name,
            f"{score.accuracy:.1%}",
            f"{score.macro_f1:.3f}",
            f"{score.nats_per_review:.3f}",
            *([f"{score.mean_distance:.2f}"] if score.mean_distance is not None else []),
        )
        for name, score in scores.items()
    ]
    return table(("method", "accuracy", "macro-F1", "nats per review", *distance), rows)
