"""Train a model from scratch or from a base, and write a run folder."""

from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.trainer import Trainer

__all__ = ["Trainer", "pretrain"]
