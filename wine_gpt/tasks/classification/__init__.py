"""Fine-tune a base model to find a review's label, such as its variety, from its description."""

from wine_gpt.tasks.classification.classify import classify
from wine_gpt.tasks.classification.results import ClassifierMetrics

__all__ = ["ClassifierMetrics", "classify"]
