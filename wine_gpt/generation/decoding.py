"""A short loop that samples from a GPT-2 as ``generate`` does, without what that does for other models.

For a model this small most of ``generate``'s time goes into masks, caches and processors that are looked up and made
anew for each word. Here keys and values have their place from the start, and a word costs the model's own layers and
little else. One text alone is sampled with the random numbers that ``generate`` draws, several with one number a word.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    GenerationConfig,
    GPT2LMHeadModel,
    PreTrainedModel,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

# what the loop follows; any other setting that is not at its default is left to ``generate``
SUPPORTED = {
    *("do_sample", "temperature", "top_k", "top_p", "suppress_tokens", "max_length", "max_new_tokens"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version"),
}


class Streamer(Protocol):
    """What transformers' streamers have."""

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt's ids, of shape (1, positions), then each new one, of shape (1,)."""

    def end(self) -> None:
        """Take note that all has been put."""


def supported_config(model: PreTrainedModel, settings: Mapping[str, Any]) -> GenerationConfig | None:
    """Return the model's generation config with the settings put in if :func:`decode` does all they ask for."""
    config = GenerationConfig(**model.generation_config.to_dict())
    config.update(**GenerationConfig._get_default_generation_params(), defaults_only=True)
    unknown = config.update(**settings)
    usual = GenerationConfig()
    usual.update(**GenerationConfig._get_default_generation_params(), defaults_only=True)
    wanted, expected = config.to_dict(), usual.to_dict()
    followed = (
        type(model) is GPT2LMHeadModel
        and not model.config.add_cross_attention
        and not unknown
        and None not in (config.eos_token_id, config.pad_token_id)
        and all(value == expected.get(name) for name, value in wanted.items() if name not in SUPPORTED)
    )
    return config if followed else None


def decode(
    model: GPT2LMHeadModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    config: GenerationConfig,
    limit: int,
    streamer: Streamer | None = None,
) -> torch.Tensor:
    """Continue each row until its end of text, all rows together, as ``model.generate`` does.

    The likeliest words, and one row's sampled words for a seed, are those that it gives.

    Args:
        model: in evaluation mode.
        input_ids: int64 of shape (rows, positions), padded on the left.
        attention_mask: of the same shape, 0 where padded.
        config: what :func:`supported_config` returns.
        limit: most positions of the result, prompt included.
        streamer: takes the ids as they come.

    Returns:
        int64 of shape (rows, at most ``limit``), filled with the padding id behind the end of text.
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
    if streamer is not None:
        streamer.end()
    return ids[:, :filled]


class TokenSampler:
    """Picks the next ids from logits, as a generation config says."""

    def __init__(self, config: GenerationConfig, device: torch.device) -> None:
        self.sample = config.do_sample
        self.suppressed = torch.tensor(config.suppress_tokens or [], dtype=torch.int64, device=device)
        self.warpers: list[Any] = []
        if config.temperature != 1:
            self.warpers.append(TemperatureLogitsWarper(float(config.temperature)))
        if config.top_k:
            self.warpers.append(TopKLogitsWarper(config.top_k))
        if config.top_p < 1:
            self.warpers.append(TopPLogitsWarper(config.top_p))

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return one id per row; logits are float of shape (rows, vocabulary) and are written over."""
        scores = logits.float().index_fill_(1, self.suppressed, -torch.inf)
        if not self.sample:
            return scores.argmax(-1)
        for warper in self.warpers:
            scores = warper(None, scores)
        probabilities = scores.softmax(-1)
        if len(scores) == 1:
            return torch.multinomial(probabilities, 1)[:, 0]
        # multinomial draws a number for each word of each row, which would be most of the time
        cumulative = probabilities.cumsum(-1)
        # in (0, 1], so that no word of probability 0 is where the sum gets there first
        share = 1 - torch.rand(len(scores), 1, device=scores.device)
        return torch.searchsorted(cumulative, share * cumulative[:, -1:])[:, 0]


class KVCachedGPT2:
    """A GPT-2 that keeps the keys and values of the positions it has seen, in tensors that are made once."""

    def __init__(self, model: GPT2LMHeadModel, attention_mask: torch.Tensor, limit: int) -> None:
        self.transformer, self.head = model.transformer, model.lm_head
        self.blocks: list[Any] = list(model.transformer.h)
        self.heads, width = model.config.n_head, model.config.n_embd
        shape = (2, len(self.blocks), len(attention_mask), self.heads, limit, width // self.heads)
        self.keys, self.values = torch.empty(shape, dtype=model.dtype, device=model.device)
        self.seen = 0
        padded = attention_mask.shape[1] - attention_mask.sum(1, keepdim=True)
        columns = torch.arange(limit, device=model.device)
        self.positions = (columns - padded).clamp(min=0)
        # True where a column may be attended to; none is needed where nothing is padded
        self.visible = columns >= padded if padded.any() else None

    def extend(self, ids: torch.Tensor) -> torch.Tensor:
        """Take in ids of shape (rows, new) and return the logits that follow, of shape (rows, vocabulary)."""
        rows, new = ids.shape
        start, self.seen = self.seen, self.seen + new
        hidden = self.transformer.wte(ids) + self.transformer.wpe(self.positions[:, start : self.seen])
        mask = self._mask(start, new)
        for block, keys, values in zip(self.blocks, self.keys, self.values, strict=True):
            projected = block.attn.c_attn(block.ln_1(hidden)).view(rows, new, 3, self.heads, -1)
            query, keys[:, :, start : self.seen], values[:, :, start : self.seen] = projected.permute(2, 0, 3, 1, 4)
            attended = scaled_dot_product_attention(
                query,
                keys[:, :, : self.seen],
                values[:, :, : self.seen],
                attn_mask=mask,
                is_causal=mask is None and new > 1,
                scale=block.attn.scaling,
            )
            hidden = hidden + block.attn.c_proj(attended.transpose(1, 2).reshape(hidden.shape))
            hidden = hidden + block.mlp(block.ln_2(hidden))
        logits: torch.Tensor = self.head(self.transformer.ln_f(hidden[:, -1]))
        return logits

    def _mask(self, start: int, new: int) -> torch.Tensor | None:
        """Return which columns each new position sees, bool that broadcasts to (rows, heads, new, seen)."""
        if self.visible is None:
            return None
        visible = self.visible[:, None, None, : self.seen]
        if new == 1:
            return visible
        # a padded position sees itself, since attention to nothing is not a number
        own = torch.eye(new, self.seen, dtype=torch.bool, device=visible.device)
        return (visible & own.new_ones(own.shape).tril()) | own
