"""Export a model to ONNX with a KV cache, for onnxruntime and transformers.js.

transformers.js expects the input and output names of optimum-onnx. This module writes them with torch's exporter,
because optimum-onnx does not support transformers 5.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from wine_gpt.installation import require_package
from wine_gpt.modeling.pretrained import load_model

INPUTS = ("input_ids", "attention_mask", "position_ids")
OUTPUT = "logits"
# sizes of the traced example: distinct and above 1, because the exporter treats 0, 1 and equal sizes as constants
BATCH, NEW, CACHED = 2, 3, 5


class _Step(nn.Module):
    """The model with its KV cache as a flat tuple of tensors."""

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
        """Return logits, float32 of shape (batch, new, vocabulary), then each layer's keys and values.

        Args:
            input_ids: int64 of shape (batch, new).
            attention_mask: int64 of shape (batch, cached + new); 0 is padding.
            position_ids: int64 of shape (batch, new).
            past: each layer's cached keys, then values, float32 of shape (batch, heads, cached, head width).
        """
        # Any, because the types in transformers lack these arguments
        call: Any = self.model
        cache: Any = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        logits: torch.Tensor = call(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache
        ).logits
        return logits, *(tensor for layer in cache.layers for tensor in (layer.keys, layer.values))


def export(model: str | Path, file: Path) -> None:
    """Write a model as one ONNX file, weights included.

    Args:
        model: folder, or id on the Hub.
        file: the path to write; its folder is created.

    Raises:
        UserError: if onnx or onnxscript is not installed.
    """
    for package in ("onnx", "onnxscript"):
        require_package(package, "onnx", "--onnx")
    loaded = load_model(model).eval()
    config = loaded.config
    tensors = [f"{layer}.{part}" for layer in range(config.n_layer) for part in ("key", "value")]
    ids = torch.zeros(BATCH, NEW, dtype=torch.int64)
    mask = torch.ones(BATCH, CACHED + NEW, dtype=torch.int64)
    past = tuple(torch.zeros(BATCH, config.n_head, CACHED, config.n_embd // config.n_head) for _ in tensors)
    # transformers.js creates the empty cache by these names: a dimension other than batch_size gets length 0
    batch, new, cached, total = "batch_size", "sequence_length", "past_sequence_length", "total_sequence_length"
    file.parent.mkdir(parents=True, exist_ok=True)
    # the exporter warns that torchvision is missing
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Step(loaded),
            # clone, because the exporter merges inputs that are the same tensor
            (ids, mask, ids.clone(), past),
            str(file),
            input_names=(*INPUTS, *(f"past_key_values.{name}" for name in tensors)),
            output_names=(OUTPUT, *(f"present.{name}" for name in tensors)),
            dynamic_shapes=(
                {0: batch, 1: new},
                {0: batch, 1: total},
                {0: batch, 1: new},
                tuple({0: batch, 2: cached} for _ in tensors),
            ),
            external_data=False,
            verbose=False,
        )
    _remove_metadata(file)


def quantize(file: Path, quantized: Path) -> None:
    """Write a copy of an ONNX file with 8-bit weights, a quarter of its size; see ``benchmarks/RESULTS.md``.

    Args:
        file: what :func:`export` wrote.
        quantized: the path to write.

    Raises:
        UserError: if onnxruntime is not installed.
    """
    require_package("onnxruntime", "onnx", "--onnx")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet_root_logger():
        quantize_dynamic(file, quantized, weight_type=QuantType.QInt8)


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Keep onnxruntime from configuring the root logger, which it logs to."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


def _remove_metadata(file: Path) -> None:
    """Remove the exporter's notes, because the stack trace of each node names folders of the local machine."""
    import onnx

    model = onnx.load(file)
    _clear_notes(model)
    file.write_bytes(model.SerializeToString(deterministic=True))


# Any: a protobuf message, which has no type stubs
def _clear_notes(message: Any) -> None:  # noqa: ANN401
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _clear_notes(inner)
