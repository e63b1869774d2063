"""Sample from a GPT-2 with a KV cache, faster than transformers' ``generate`` and with its results.

For a small model ``generate`` spends most of its time on masks, caches and processors that it prepares for each token
(benchmarks/RESULTS.md, "Generation"). This loop allocates the cache once and runs only the layers.
"""

import copy
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import GenerationConfig, GPT2LMHeadModel, PreTrainedModel

from wine_gpt.generation.sampler import TokenSampler, guide

# fields of a generation config that :func:`decode` applies; if another field is set, ``generate`` must be called
SUPPORTED = {
    *("do_sample", "temperature", "top_k", "top_p", "suppress_tokens", "max_length", "max_new_tokens"),
    "guidance_scale",
    *("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version"),
}


class Streamer(Protocol):
    """The interface of transformers' streamers."""

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt's ids, of shape (1, positions), at the first call, then each new id, of shape (1,)."""

    def end(self) -> None:
        """End the stream."""


def supported_config(model: PreTrainedModel, settings: Mapping[str, Any]) -> GenerationConfig | None:
    """Return the model's generation config with the settings applied, or None if :func:`decode` does not support it.

    Args:
        model: any model; only a GPT-2 without cross-attention is supported.
        settings: arguments of ``generate``; only fields of a generation config are supported.
    """
    config = copy.deepcopy(model.generation_config)
    unknown = config.update(**settings)
    supported = (
        type(model) is GPT2LMHeadModel
        and not model.config.add_cross_attention
        and not unknown
        and None not in (config.eos_token_id, config.pad_token_id)
        and config.to_diff_dict().keys() <= SUPPORTED
    )
    return config if supported else None


def decode(
    model: GPT2LMHeadModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    config: GenerationConfig,
    limit: int,
    streamer: Streamer | None = None,
    negative_prompt_ids: torch.Tensor | None = None,
    negative_prompt_attention_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Continue all rows until each has reached its end of text, as ``model.generate`` does.

    Greedy decoding, and sampling of a single row, return the ids that ``generate`` returns; with a guidance scale
    this one keeps the probability of the end of the text (:func:`wine_gpt.generation.sampler.guide`).

    Args:
        model: a model in evaluation mode.
        input_ids: int64 of shape (rows, positions), padded on the left.
        attention_mask: int64 of the shape of ``input_ids``, 0 at padding.
        config: what :func:`supported_config` returns.
        limit: largest number of positions of the result, prompt included.
        streamer: takes the ids of a single row while they are generated.
        negative_prompt_ids: see :class:`Guidance`, int64 of shape (rows, positions); the last token of each prompt if
            there are none. Without a guidance scale they are not used.
        negative_prompt_attention_mask: int64 of the shape of ``negative_prompt_ids``, 0 at padding.

    Returns:
        int64 of shape (rows, at most ``limit``), filled with the padding id after the end of text.
    """
    choose = TokenSampler(config, model.device)
    ends = torch.as_tensor(config.eos_token_id, device=model.device).reshape(-1)
    ids = input_ids.new_full((len(input_ids), limit), config.pad_token_id)
    filled = input_ids.shape[1]
    ids[:, :filled] = input_ids
    if streamer is not None:
        streamer.put(input_ids.cpu())
    cached = KVCachedGPT2(model, attention_mask, limit)
    logits = cached.extend(input_ids)
    guidance = None
    if config.guidance_scale not in (None, 1):
        negative = input_ids[:, -1:] if negative_prompt_ids is None else negative_prompt_ids
        mask = torch.ones_like(negative) if negative_prompt_attention_mask is None else negative_prompt_attention_mask
        scales = _scales(config, input_ids, negative)
        guidance = Guidance(model, ends, scales, mask, limit - filled + negative.shape[1])
        logits = guidance(logits, negative)
    running = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
    while True:
        chosen = choose(logits).masked_fill_(~running, config.pad_token_id)
        ids[:, filled] = chosen
        filled += 1
        if streamer is not None:
            streamer.put(chosen.cpu())
        running &= ~torch.isin(chosen, ends)
        if filled == limit or not running.any():
            break
        logits = cached.extend(chosen[:, None])
        logits = guidance(logits, chosen[:, None]) if guidance else logits
    if streamer is not None:
        streamer.end()
    return ids[:, :filled]


class Guidance:
    """Classifier-free guidance by negative prompts, see :func:`wine_gpt.generation.sampler.guide`.

    Args:
        model: a model in evaluation mode.
        ends: ids of the end of text, int64 of shape (ends,).
        scales: the guidance scale of each row, float of shape (rows, 1).
        attention_mask: that of the negative prompts, int64 of shape (rows, positions), 0 at the padding on the left.
        limit: largest number of positions after a negative prompt, prompt included.
    """

    def __init__(
        self,
        model: GPT2LMHeadModel,
        ends: torch.Tensor,
        scales: torch.Tensor,
        attention_mask: torch.Tensor,
        limit: int,
    ) -> None:
        self._scales = scales
        self._ends = ends
        self._negative = KVCachedGPT2(model, attention_mask, limit)

    def __call__(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return guided log-probabilities, float32 of shape (rows, vocabulary).

        Args:
            logits: those of the next word after the prompt, of shape (rows, vocabulary).
            ids: what follows in the negative text, int64 of shape (rows, new): first the negative prompt.
        """
        return guide(logits, self._negative.extend(ids), self._scales, self._ends)


def _scales(config: GenerationConfig, prompts: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Return the guidance scale of each row, float of shape (rows, 1): 1 where the negative prompt is the prompt."""
    scales = torch.full((len(prompts), 1), float(config.guidance_scale), device=prompts.device)
    if negative.shape == prompts.shape:
        scales[(negative == prompts).all(1)] = 1
    return scales


class KVCachedGPT2:
    """A GPT-2 with a KV cache that is allocated once, for all positions."""

    def __init__(self, model: GPT2LMHeadModel, attention_mask: torch.Tensor, limit: int) -> None:
        """Allocate the cache.

        Args:
            model: a model in evaluation mode.
            attention_mask: the prompts' mask, int64 of shape (rows, positions), 0 at the padding on the left.
            limit: largest number of positions.
        """
        self._transformer, self._head = model.transformer, model.lm_head
        # Any, because torch types a ModuleList's members as Module
        self._blocks: list[Any] = list(model.transformer.h)
        self._heads, width = model.config.n_head, model.config.n_embd
        shape = (2, len(self._blocks), len(attention_mask), self._heads, limit, width // self._heads)
        self._keys, self._values = torch.empty(shape, dtype=model.dtype, device=model.device)
        self._seen = 0
        padded = attention_mask.shape[1] - attention_mask.sum(1, keepdim=True)
        columns = torch.arange(limit, device=model.device)
        self._positions = (columns - padded).clamp(min=0)
        # True where a column may be attended to; None if no row is padded
        self._visible = columns >= padded if padded.any() else None

    def extend(self, ids: torch.Tensor) -> torch.Tensor:
        """Append ids, int64 of shape (rows, new); return the next token's logits, of shape (rows, vocabulary)."""
        rows, new = ids.shape
        start, self._seen = self._seen, self._seen + new
        hidden = self._transformer.wte(ids) + self._transformer.wpe(self._positions[:, start : self._seen])
        mask = self._mask(new)
        for block, keys, values in zip(self._blocks, self._keys, self._values, strict=True):
            projected = block.attn.c_attn(block.ln_1(hidden)).view(rows, new, 3, self._heads, -1)
            query, keys[:, :, start : self._seen], values[:, :, start : self._seen] = projected.permute(2, 0, 3, 1, 4)
            attended = scaled_dot_product_attention(
                query,
                keys[:, :, : self._seen],
                values[:, :, : self._seen],
                attn_mask=mask,
                is_causal=mask is None and new > 1,
                scale=block.attn.scaling,
            )
            hidden = hidden + block.attn.c_proj(attended.transpose(1, 2).reshape(hidden.shape))
            hidden = hidden + block.mlp(block.ln_2(hidden))
        logits: torch.Tensor = self._head(self._transformer.ln_f(hidden[:, -1]))
        return logits

    def _mask(self, new: int) -> torch.Tensor | None:
        """Return which columns each new position may attend to, bool broadcastable to (rows, heads, new, seen)."""
        if self._visible is None:
            return None
        visible = self._visible[:, None, None, : self._seen]
        if new == 1:
            return visible
        # let padding attend to itself: softmax over an all-masked row is NaN
        diagonal = torch.eye(new, self._seen, dtype=torch.bool, device=visible.device)
        return (visible & diagonal.new_ones(diagonal.shape).tril()) | diagonal
