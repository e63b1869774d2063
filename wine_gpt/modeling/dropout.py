"""Dropout on a CPU with one random generator per row, so that a review's dropout does not depend on its batch."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "wine_gpt"


class PerRowDropout(nn.Dropout):
    """Dropout that draws 16 random bits per element, four elements at a time, instead of torch's float per element.

    Drawing random numbers takes most of the time of dropout on a CPU. Elements are kept with probability 1 − p,
    rounded to a multiple of 2⁻¹⁶, and divided by it. On other devices, and in evaluation, this is
    :class:`torch.nn.Dropout`.

    Args:
        p: probability that an element becomes zero.
        generators: one per row of the input, or an empty list for torch's global generator. The list is not copied,
            because all dropout layers of a model use one list.
    """

    def __init__(self, p: float, generators: list[torch.Generator]) -> None:
        super().__init__(p)
        self.generators = generators

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input with random elements set to zero, of the same shape and dtype."""
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        dropped = round(self.p * 2**16)
        kept = self._random(input.shape) >= dropped - 2**15
        return input * kept.to(input.dtype).mul_(2**16 / (2**16 - dropped))

    def _random(self, shape: torch.Size) -> torch.Tensor:
        """Return uniformly distributed int16 values of the given shape."""
        elements = shape[1:].numel()
        packed = torch.empty(shape[0], -(-elements // 4), dtype=torch.int64)
        # the range from -2**63 to None is all of int64, so that every bit is random
        if self.generators:
            for row, generator in zip(packed, self.generators, strict=True):
                row.random_(-(2**63), None, generator=generator)
        else:
            packed.random_(-(2**63), None)
        return packed.view(torch.int16)[:, :elements].view(shape)


def install_per_row_dropout(model: PreTrainedModel) -> list[torch.Generator]:
    """Replace each :class:`torch.nn.Dropout` of a model by :class:`PerRowDropout`, that of attention weights included.

    The model's weights and its outputs in evaluation do not change.

    Returns:
        the list of generators that all the dropout layers use, empty at first.
    """
    generators: list[torch.Generator] = []
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, PerRowDropout(child.p, generators).train(child.training))
    AttentionInterface.register(ATTENTION, causal_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)
    return generators


def make_generators(seeds: Iterable[int]) -> list[torch.Generator]:
    """Return a generator for each seed; torch uses a seed's lowest 32 bits."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


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
        attention_mask: none if each position attends to itself and all positions before it.
        dropout: probability that an attention weight becomes zero.
        scaling: factor of the scores; width ** −0.5 by default.
        kwargs: passed to :func:`transformers.integrations.sdpa_attention.sdpa_attention_forward`.

    Returns:
        float of shape (reviews, positions, heads, width), and None for the attention weights.
    """
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
