"""Text from a model: several prompts at once, or one that streams."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, TextStreamer, set_seed

from wine_gpt.errors import UserError


def encode_prompts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return ``input_ids`` and ``attention_mask``, int64 of shape (prompts, positions), padded on the left.

    Raises:
        UserError: if a prompt leaves no position for a new word.
    """
    limit = model.config.n_positions
    for prompt in prompts:
        positions = len(tokenizer(prompt)["input_ids"])
        if positions >= limit:
            raise UserError(
                f"prompt: {positions - 1:,} words, but the model has {limit} positions: at most {limit - 2} words"
            )
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    return {name: tensor.to(model.device) for name, tensor in encoded.items()}


def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    seed: int,
    streamer: TextStreamer | None = None,
    **settings: Any,  # noqa: ANN401 - GenerationConfig's fields
) -> list[str]:
    """Continue each prompt and return prompt and continuation together.

    Args:
        model: put into evaluation mode.
        tokenizer: the model's.
        prompts: an empty one gives a whole review.
        seed: of the sampling; equal seeds and prompts give equal texts.
        streamer: is given the ids as they come; for one prompt.
        settings: fields of :class:`transformers.GenerationConfig` that differ from the model's own.

    Raises:
        UserError: if a prompt is too long for the model.
    """
    inputs = encode_prompts(model, tokenizer, prompts)
    length = inputs["input_ids"].shape[1]
    wanted = settings.pop("max_new_tokens", None) or model.generation_config.max_new_tokens or model.config.n_positions
    settings["max_new_tokens"] = min(wanted, model.config.n_positions - length)
    model.eval()
    set_seed(seed)
    with torch.inference_mode():
        outputs: Any = model.generate(**inputs, streamer=streamer, **settings)
    continuations = tokenizer.decode(outputs[:, length:], skip_special_tokens=True)
    return [prompt + text for prompt, text in zip(prompts, continuations, strict=True)]
