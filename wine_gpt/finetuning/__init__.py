"""Fine-tune a base model on one subset of the reviews and compare the two."""

from wine_gpt.finetuning.finetune import finetune

__all__ = ["finetune"]
