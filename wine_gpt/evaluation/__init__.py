"""Measure a model on reviews it never saw: loss, copying, diversity, conditioning."""

from wine_gpt.evaluation.evaluate import evaluate_model
from wine_gpt.evaluation.predictions import predict

__all__ = ["evaluate_model", "predict"]
