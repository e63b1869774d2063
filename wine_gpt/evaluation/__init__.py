"""Evaluate a model on held-out reviews: loss, copying, diversity, conditioning."""

from wine_gpt.evaluation.evaluate import evaluate_model
from wine_gpt.evaluation.predictions import predict
from wine_gpt.evaluation.results import EvaluationReport

__all__ = ["EvaluationReport", "evaluate_model", "predict"]
