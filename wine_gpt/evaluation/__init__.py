"""Evaluate a model on held-out reviews: loss, copying, diversity, conditioning."""

from typing import TYPE_CHECKING

from wine_gpt.lazy import exports_lazily

if TYPE_CHECKING:
    from wine_gpt.evaluation.evaluate import evaluate_model
    from wine_gpt.evaluation.predictions import predict
    from wine_gpt.evaluation.results import EvaluationReport

__all__ = ["EvaluationReport", "evaluate_model", "predict"]

__getattr__ = exports_lazily(
    __name__,
    {"EvaluationReport": "results", "evaluate_model": "evaluate", "predict": "predictions"},
)
