"""Fine-tune a base model on subsets of its reviews and compare the two."""

from wine_gpt.finetuning.finetune import finetune
from wine_gpt.finetuning.results import SubsetMetrics

__all__ = ["SubsetMetrics", "finetune"]
