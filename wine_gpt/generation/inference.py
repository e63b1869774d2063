"""Load a model to generate with."""

from pathlib import Path

import torch
from accelerate import PartialState
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.modeling.pretrained import load_model_and_tokenizer


def load_on_device(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a model, on the GPU if there is one, and its tokenizer; see :func:`load_model_and_tokenizer`."""
    model, tokenizer = load_model_and_tokenizer(path)
    # nn.Module, because transformers types PreTrainedModel.to as a decorator
    torch.nn.Module.to(model, PartialState().device)
    return model, tokenizer
