"""Distill an ensemble of pretrained models into one model of the same size."""

from wine_gpt.distillation.distill import distill

__all__ = ["distill"]
