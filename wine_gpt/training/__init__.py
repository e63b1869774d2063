"""Train a model from scratch or from a base, and write a run folder.

``pretrain`` is not exported here, because ``wine_gpt.training.pretrain`` is the module that defines it.
"""

from typing import TYPE_CHECKING

from wine_gpt.lazy import exports_lazily

if TYPE_CHECKING:
    from wine_gpt.training.pretrain import FinishedRun
    from wine_gpt.training.trainer import Trainer

__all__ = ["FinishedRun", "Trainer"]

__getattr__ = exports_lazily(__name__, {"FinishedRun": "pretrain", "Trainer": "trainer"})
