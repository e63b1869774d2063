"""Train a model with one loop, from scratch or from a base, and leave a run folder."""

from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.trainer import Trainer

__all__ = ["Trainer", "pretrain"]
