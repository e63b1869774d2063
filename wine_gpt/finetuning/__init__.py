"""Fine-tune a base model on subsets of its reviews and compare the two.

``finetune`` is not exported here, because ``wine_gpt.finetuning.finetune`` is the module that defines it.
"""

from typing import TYPE_CHECKING

from wine_gpt.lazy import exports_lazily

if TYPE_CHECKING:
    from wine_gpt.finetuning.results import SubsetMetrics

__all__ = ["SubsetMetrics"]

__getattr__ = exports_lazily(__name__, {"SubsetMetrics": "results"})
