"""A model for onnxruntime and transformers.js: words, and keys and values of earlier ones in; logits out.

torch's own exporter does it, under the names that optimum-onnx gives and that transformers.js feeds: optimum-onnx
itself is not made for transformers 5 yet.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from wine_gpt.errors import UserError
from wine_gpt.modeling.pretrained import load_model

INPUTS = ("input_ids", "attention_mask", "position_ids")
OUTPUT = "logits"
# of the example that is traced: texts, positions given and positions kept, all different, for lengths that are alike,
# 0 or 1 would be taken for fixed
TEXTS, GIVEN, KEPT = 2, 3, 5


class _Step(nn.Module):
    """The model as a function of tensors alone."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        past: tuple[torch.Tensor, ...],
    ) -> tuple[torch.Tensor, ...]:
        """Return logits, float32 of shape (texts, given, vocabulary), then each layer's keys and values.

        Args:
            input_ids: int64 of shape (texts, given).
            attention_mask: int64 of shape (texts, kept + given); 0 is padding.
            position_ids: int64 of the ids' shape.
            past: each layer's keys and values so far, float32 of shape (texts, heads, kept, width of a head).
        """
        call: Any = self.model
        cache: Any = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        logits: torch.Tensor = call(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache
        ).logits
        return logits, *(tensor for layer in cache.layers for tensor in (layer.keys, layer.values))


def export(model: str | Path, file: Path) -> None:
    """Write a model as one ONNX file.

    Args:
        model: folder, or id on the Hub.
        file: its folder is made; weights included.

    Raises:
        UserError: if onnx or onnxscript is not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError('--onnx needs onnx and onnxscript: pip install "wine_gpt[onnx]"') from None
    loaded = load_model(model).eval()
    config = loaded.config
    tensors = [f"{layer}.{part}" for layer in range(config.n_layer) for part in ("key", "value")]
    ids = torch.zeros(TEXTS, GIVEN, dtype=torch.int64)
    mask = torch.ones(TEXTS, KEPT + GIVEN, dtype=torch.int64)
    past = tuple(torch.zeros(TEXTS, config.n_head, KEPT, config.n_embd // config.n_head) for _ in tensors)
    # transformers.js makes an empty cache by these names: what is no batch_size has length 0
    batch, given, kept, total = "batch_size", "sequence_length", "past_sequence_length", "total_sequence_length"
    file.parent.mkdir(parents=True, exist_ok=True)
    # it warns of what it could do with torchvision
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Step(loaded),
            # the exporter would take one tensor in two places for one input
            (ids, mask, ids.clone(), past),
            str(file),
            input_names=(*INPUTS, *(f"past_key_values.{name}" for name in tensors)),
            output_names=(OUTPUT, *(f"present.{name}" for name in tensors)),
            dynamic_shapes=(
                {0: batch, 1: given},
                {0: batch, 1: total},
                {0: batch, 1: given},
                tuple({0: batch, 2: kept} for _ in tensors),
            ),
            external_data=False,
            verbose=False,
        )
