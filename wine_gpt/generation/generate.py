"""Text from a model: several prompts at once, or one that streams."""

import typing
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast, TextStreamer, set_seed

from wine_gpt.errors import UserError
from wine_gpt.generation.decoding import decode, supported_config
from wine_gpt.modeling.pretrained import quiet_transformers


def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    seed: int,
    **settings: Any,  # noqa: ANN401 - those of generate_ids
) -> list[str]:
    """Continue each prompt and return prompt and continuation together.

    Args:
        model: put into evaluation mode.
        tokenizer: the model's.
        prompts: an empty one gives a whole review.
        seed: of the sampling; equal seeds and prompts give equal texts.
        settings: see :func:`generate_ids`.

    Raises:
        UserError: if a prompt is too long for the model.
    """
    inputs = encode_prompts(model, tokenizer, prompts)
    ids = generate_ids(model, inputs, seed=seed, **settings)
    continuations = tokenizer.decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [join(prompt, text) for prompt, text in zip(prompts, continuations, strict=True)]


def encode_prompts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return ``input_ids`` and ``attention_mask``, int64 of shape (prompts, positions), padded on the left.

    Raises:
        UserError: if a prompt leaves no position for a new word.
    """
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left", verbose=False)
    positions, limit = encoded["input_ids"].shape[1], model.config.max_position_embeddings
    if positions >= limit:
        raise UserError(
            f"prompt: {positions - 1:,} words, but the model has {limit:,} positions: at most {limit - 2:,} words"
        )
    return {name: tensor.to(model.device) for name, tensor in encoded.items()}


def generate_ids(
    model: PreTrainedModel,
    inputs: Mapping[str, torch.Tensor],
    *,
    seed: int,
    max_new_tokens: int | None = None,
    **settings: Any,  # noqa: ANN401 - GenerationConfig's fields, streamer
) -> torch.Tensor:
    """Return the prompts' ids with their continuations: int64 of shape (prompts, positions).

    Args:
        model: put into evaluation mode.
        inputs: what :func:`encode_prompts` returns.
        seed: of the sampling.
        max_new_tokens: a lower limit than the model's positions, which always hold.
        settings: a ``streamer``, and fields of :class:`transformers.GenerationConfig` that differ from the model's.
    """
    limit = model.config.max_position_embeddings
    if max_new_tokens is not None:
        limit = min(limit, inputs["input_ids"].shape[1] + max_new_tokens)
    model.eval()
    set_seed(seed)
    streamer = settings.pop("streamer", None)
    config = supported_config(model, settings)
    # typed too narrowly by transformers
    generate: Any = model.generate
    # where one text of several ends first, transformers warns of the padding that it fills in itself
    with torch.inference_mode(), quiet_transformers():
        if config is not None:
            return decode(typing.cast(GPT2LMHeadModel, model), **inputs, config=config, limit=limit, streamer=streamer)
        # one limit is given and the other unset: transformers warns if it sees both
        ids: torch.Tensor = generate(**inputs, max_length=limit, max_new_tokens=None, streamer=streamer, **settings)
    return ids


def join(prompt: str, continuation: str) -> str:
    """Put a decoded continuation, whose words bring their own leading space, behind its prompt."""
    return (prompt.rstrip() + continuation).lstrip()


class ReviewStreamer(TextStreamer):
    """Prints one review while it is generated, the prompt as typed first: in the end what :func:`join` returns."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, prompt: str) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._blank = True
        self.on_finalized_text(prompt.rstrip())

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print what no later word can change; nothing stands before the first letter."""
        if self._blank:
            text = text.lstrip()
            self._blank = not text
        super().on_finalized_text(text, stream_end)
