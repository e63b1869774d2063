"""Sample from a GPT-2 with a KV cache, faster than transformers' ``generate`` and with its results.

For a small model ``generate`` spends most of its time on masks, caches and processors that it prepares for each token
(benchmarks/RESULTS.md, "Generation"). This loop allocates the cache once and runs only the layers.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import GenerationConfig, GPT2LMHeadModel, PreTrainedModel
from transformers.generation.streamers import BaseStreamer

from wine_gpt.config import TEMPERATURES
from wine_gpt.generation.sampler import APPLIED, TokenSampler, guide

# fields of a generation config that :func:`decode` applies, lengths by its ``limits``; if another field is set,
# ``generate`` must be called
SUPPORTED = {
    *APPLIED,
    "guidance_scale",
    "max_length",
    "max_new_tokens",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "transformers_version",
}


class Prompts(NamedTuple):
    """Tokenized prompts.

    Attributes:
        ids: int64 of shape (rows, positions), padded on the left.
        mask: int64 of the same shape, 0 at padding.
    """

    ids: torch.Tensor
    mask: torch.Tensor


def supported_config(model: PreTrainedModel, settings: Mapping[str, Any]) -> GenerationConfig | None:
    """Return the model's generation config with the settings applied, or None if :func:`decode` does not support it.

    Args:
        model: any model; only a GPT-2 without cross-attention is supported.
        settings: arguments of ``generate``; only fields of a generation config are supported.

    Raises:
        ValueError: if the temperature is below the least of :data:`TEMPERATURES`, or transformers refuses a setting.
    """
    config = copy.deepcopy(model.generation_config)
    unknown = config.update(**settings)
    temperature, least = config.temperature, TEMPERATURES[0]
    if config.do_sample and isinstance(temperature, int | float) and 0 < temperature < least:
        # logits divided by a far lower one overflow
        raise ValueError(f"temperature is {temperature}: must be at least {least}")
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
    prompts: Prompts,
    config: GenerationConfig,
    limits: torch.Tensor,
    streamer: BaseStreamer | None = None,
    negative: Prompts | None = None,
) -> torch.Tensor:
    """Continue all rows until each has reached its end of text or its limit, as ``model.generate`` does for one row.

    Greedy decoding, and sampling of a single row, return the ids that ``generate`` returns; with a guidance scale
    this one keeps the probability of the end of the text (:func:`wine_gpt.generation.sampler.guide`).

    Args:
        model: a model in evaluation mode.
        prompts: what the rows begin with.
        config: what :func:`supported_config` returns.
        limits: largest number of columns of each row, prompt and padding included, int64 of shape (rows,).
        streamer: takes the ids of a single row while they are generated.
        negative: see :class:`GuidedGPT2`; the last token of each prompt if there are none. Without a guidance scale
            they are not used.

    Returns:
        int64 of shape (rows, at most the largest limit), filled with the padding id after the end of a row.
    """
    choose = TokenSampler(config, model.device)
    ends = torch.as_tensor(config.eos_token_id, device=model.device).reshape(-1)
    rows, filled = prompts.ids.shape
    limit = int(limits.max())
    ids = prompts.ids.new_full((rows, limit), config.pad_token_id)
    ids[:, :filled] = prompts.ids
    running = torch.ones(rows, dtype=torch.bool, device=ids.device)
    if streamer is not None:
        streamer.put(prompts.ids.cpu())
    prompted = KVCachedGPT2(model, prompts, limit)
    cached: KVCachedGPT2 | GuidedGPT2 = prompted
    if config.guidance_scale not in (None, 1):
        negative = negative or Prompts(prompts.ids[:, -1:], torch.ones_like(prompts.ids[:, -1:]))
        contrasted = KVCachedGPT2(model, negative, limit - filled + negative.ids.shape[1])
        cached = GuidedGPT2(prompted, contrasted, _scales(config, prompts.ids, negative.ids), ends)
    while True:
        chosen = choose(cached.logits).masked_fill_(~running, config.pad_token_id)
        ids[:, filled] = chosen
        filled += 1
        if streamer is not None:
            streamer.put(chosen.cpu())
        running &= ~torch.isin(chosen, ends) & (filled < limits)
        if not running.any():
            break
        cached.extend(chosen[:, None])
    if streamer is not None:
        streamer.end()
    return ids[:, :filled]


def _scales(config: GenerationConfig, prompts: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Return the guidance scale of each row, float of shape (rows, 1): 1 where the negative prompt is the prompt."""
    scales = torch.full((len(prompts), 1), float(config.guidance_scale), device=prompts.device)
    if negative.shape == prompts.shape:
        scales[(negative == prompts).all(1)] = 1
    return scales


class KVCachedGPT2:
    """A GPT-2 that has read prompts, with a KV cache that is allocated once, for all positions.

    Args:
        model: a model in evaluation mode.
        prompts: what the rows begin with.
        limit: largest number of columns.

    Attributes:
        logits: those of the next token, of shape (rows, vocabulary).
    """

    def __init__(self, model: GPT2LMHeadModel, prompts: Prompts, limit: int) -> None:
        self._transformer, self._head = model.transformer, model.lm_head
        # Any, because torch types a ModuleList's members as Module
        self._blocks: list[Any] = list(model.transformer.h)
        self._heads, width = model.config.n_head, model.config.n_embd
        shape = (2, len(self._blocks), len(prompts.mask), self._heads, limit, width // self._heads)
        self._keys, self._values = torch.empty(shape, dtype=model.dtype, device=model.device)
        self._seen = 0
        padded = prompts.mask.shape[1] - prompts.mask.sum(1, keepdim=True)
        columns = torch.arange(limit, device=model.device)
        # a row that has ended may be as far as no position is
        self._positions = (columns - padded).clamp(0, model.config.n_positions - 1)
        # True where a column may be attended to; None if no row is padded
        self._visible = columns >= padded if padded.any() else None
        self.extend(prompts.ids)

    def extend(self, ids: torch.Tensor) -> None:
        """Append ids, int64 of shape (rows, new)."""
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
        self.logits: torch.Tensor = self._head(self._transformer.ln_f(hidden[:, -1]))

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


class GuidedGPT2:
    """Classifier-free guidance, see :func:`wine_gpt.generation.sampler.guide`.

    Args:
        prompted: has read the prompts.
        negative: the same model, which has read the negative prompts.
        scales: the guidance scale of each row, float of shape (rows, 1).
        ends: ids of the end of text, int64 of shape (ends,).
    """

    def __init__(
        self, prompted: KVCachedGPT2, negative: KVCachedGPT2, scales: torch.Tensor, ends: torch.Tensor
    ) -> None:
        self._prompted, self._negative, self._scales, self._ends = prompted, negative, scales, ends

    @property
    def logits(self) -> torch.Tensor:
        """Guided log-probabilities of the next token, float32 of shape (rows, vocabulary)."""
        return guide(self._prompted.logits, self._negative.logits, self._scales, self._ends)

    def extend(self, ids: torch.Tensor) -> None:
        """Append ids, int64 of shape (rows, new), to both texts of each row."""
        self._prompted.extend(ids)
        self._negative.extend(ids)
