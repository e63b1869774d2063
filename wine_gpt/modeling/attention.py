"""Causal attention in training: each position attends to itself and to earlier positions."""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# the name of causal_attention in the registry of transformers
ATTENTION = "wine_gpt"


def use_causal_attention(model: PreTrainedModel) -> None:
    """Make a model compute its attention with :func:`causal_attention`."""
    AttentionInterface.register(ATTENTION, causal_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)


def no_mask(hidden: torch.Tensor) -> torch.Tensor:
    """Return an empty attention mask on the device of ``hidden``, for rows that need none.

    Without a mask transformers looks for several texts in a row, and waits for the GPU to find out. A mask of four
    dimensions is passed on as it is.
    """
    return hidden.new_empty(0, 0, 0, 0)


def causal_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,  # noqa: ANN401 - transformers passes the arguments of all attention functions
) -> tuple[torch.Tensor, None]:
    """Compute causal attention with torch's fused kernels, except when training with dropout on a CPU.

    There torch has no fused kernel, and its fallback computes float32 matmuls and draws dropout from one generator.

    Args:
        module: the attention layer, with ``attn_dropout``.
        query: float of shape (reviews, heads, positions, width).
        key: float of the query's shape.
        value: float of the query's shape.
        attention_mask: none or :func:`no_mask` if each position attends to itself and all positions before it.
        dropout: probability that an attention weight becomes zero.
        scaling: factor of the scores; width ** −0.5 by default.
        kwargs: passed to :func:`transformers.integrations.sdpa_attention.sdpa_attention_forward`.

    Returns:
        float of shape (reviews, positions, heads, width), and None for the attention weights.
    """
    if attention_mask is not None and not attention_mask.numel():
        attention_mask = None
    if not dropout or attention_mask is not None or query.device.type != "cpu":
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, None
    positions = query.shape[2]
    hidden = torch.ones(positions, positions, dtype=torch.bool).triu_(1)
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.transpose(-1, -2)
    weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), dim=-1).to(value.dtype)
    drop: Any = module.attn_dropout
    return (drop(weights) @ value).transpose(1, 2).contiguous(), None
