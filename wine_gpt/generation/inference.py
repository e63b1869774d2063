"""Load a model to generate or score with, and leave a model that the user passes as it was."""

import contextlib
from collections.abc import Iterator
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


@contextlib.contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, without gradients, and restore its mode on leaving."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
