"""A model for onnxruntime: ids and attention mask in, logits out, for any number of texts and positions.

torch's own exporter does it: optimum-onnx, which would also export the keys and values of earlier positions, is not
made for transformers 5 yet.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from wine_gpt.errors import UserError
from wine_gpt.model import load_model

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"


class _Logits(nn.Module):
    """The model as a function of two tensors."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits, float32 of shape (texts, positions, vocabulary), from int64 of shape (texts, positions)."""
        call: Any = self.model
        logits: torch.Tensor = call(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        return logits


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
    example = torch.zeros(2, 8, dtype=torch.int64)
    texts = torch.export.Dim("texts", min=1)
    positions = torch.export.Dim("positions", min=1, max=loaded.config.max_position_embeddings)
    file.parent.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Logits(loaded),
            (example, torch.ones_like(example)),
            str(file),
            input_names=INPUTS,
            output_names=(OUTPUT,),
            dynamic_shapes=({0: texts, 1: positions}, {0: texts, 1: positions}),
            external_data=False,
            verbose=False,
        )
