"""Generate texts: several prompts at once, or one that is printed while it is generated."""

import math
import typing
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from accelerate.utils import set_seed
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast, TextStreamer
from transformers.generation.streamers import BaseStreamer

from wine_gpt.data.template import ReviewTemplate
from wine_gpt.errors import UserError, one_line, require_characters
from wine_gpt.generation.decoding import Prompts, decode, supported_config
from wine_gpt.generation.prompts import LINE_BREAK, join, printed_prompt, tokenize_prompts
from wine_gpt.modeling.pretrained import quiet_transformers
from wine_gpt.run_folder import GENERATION_CONFIG
from wine_gpt.tokenizer.schemes import UNK, WORDS, kind_of, unit

# arguments of transformers' generate for classifier-free guidance
NEGATIVE_PROMPT = ("negative_prompt_ids", "negative_prompt_attention_mask")


def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    seed: int,
    template: ReviewTemplate | None = None,
    **settings: Any,  # noqa: ANN401 - as for generate_ids
) -> list[str]:
    """Continue each prompt; return each prompt with its continuation.

    Args:
        model: the model, which is put into evaluation mode.
        tokenizer: the model's tokenizer.
        prompts: an empty prompt gives a whole review.
        seed: the sampling's seed; equal seeds and prompts give equal texts.
        template: that of the model's reviews, whose values the negative prompts of a ``guidance_scale`` hide.
        settings: see :func:`generate_ids`.

    Raises:
        UserError: as :func:`encode_prompts`, :func:`negative_prompts` and :func:`generate_ids`.
    """
    inputs = encode_prompts(model, tokenizer, prompts)
    settings |= negative_prompts(settings, inputs, tokenizer, prompts, template)
    ids = generate_ids(model, inputs, seed=seed, **settings)
    continuations = tokenizer.decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    starts = [printed_prompt(tokenizer, prompt) for prompt in prompts]
    return [join(start, text) for start, text in zip(starts, continuations, strict=True)]


def encode_prompts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Return ``input_ids`` and ``attention_mask``, int64 of shape (prompts, positions), padded on the left.

    Each prompt begins with [BOS], as the texts of training do, whether the tokenizer adds it or not.

    Raises:
        UserError: if a prompt leaves no position for a new word, or holds what no tokenizer reads.
    """
    for prompt in prompts:
        require_characters("prompt", prompt)
    rows = [torch.tensor(prompt.ids, dtype=torch.int64) for prompt in tokenize_prompts(tokenizer, prompts)]
    encoded = {
        "input_ids": pad_sequence(rows, True, tokenizer.pad_token_id, "left"),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], True, 0, "left"),
    }
    positions, limit = encoded["input_ids"].shape[1], model.config.max_position_embeddings
    if positions >= limit:
        units = unit(tokenizer)
        raise UserError(
            f"prompt: {positions - 1:,} {units}, but the model has {limit:,} positions: at most {limit - 2:,} {units}"
        )
    return {name: tensor.to(model.device) for name, tensor in encoded.items()}


def negative_prompts(
    settings: Mapping[str, object],
    inputs: Mapping[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    template: ReviewTemplate | None,
) -> dict[str, torch.Tensor]:
    """Return the negative prompts for a ``guidance_scale``: [UNK] replaces each token of the header's values.

    Args:
        settings: those of :func:`generate_ids`; without a ``guidance_scale`` there is no negative prompt.
        inputs: what :func:`encode_prompts` returns.
        tokenizer: the model's tokenizer.
        prompts: the prompts.
        template: that of the model's reviews; None for no negative prompt, as for a model of other programs.

    Raises:
        UserError: if the tokens are no words, because such a model has hardly seen [UNK].
    """
    if template is None or settings.get("guidance_scale") in (None, 1):
        return {}
    if kind_of(tokenizer) != WORDS:
        raise UserError(
            f"generation: guidance_scale needs a tokenizer of words: {UNK} replaces the header's values, and a model "
            f"of {unit(tokenizer)} did not learn it"
        )
    ids = inputs["input_ids"].clone()
    for row, prompt in zip(ids, tokenize_prompts(tokenizer, prompts), strict=True):
        hidden = prompt.hide(template.value_spans(prompt.text), tokenizer.unk_token_id)
        # padded on the left
        row[len(row) - len(hidden) :] = torch.tensor(hidden)
    return {"negative_prompt_ids": ids, "negative_prompt_attention_mask": inputs["attention_mask"]}


def generate_ids(
    model: PreTrainedModel,
    inputs: Mapping[str, torch.Tensor],
    *,
    seed: int,
    max_new_tokens: int | None = None,
    max_length: int | None = None,
    **settings: Any,  # noqa: ANN401 - GenerationConfig's fields, streamer
) -> torch.Tensor:
    """Return the prompts' ids with their continuations, int64 of shape (prompts, positions).

    Args:
        model: the model, which is put into evaluation mode.
        inputs: what :func:`encode_prompts` returns.
        seed: the sampling's seed, set with ``set_seed``.
        max_new_tokens: largest number of new tokens; the model's number of positions is a limit, too.
        max_length: largest number of tokens of a text, prompt included.
        settings: fields of :class:`transformers.GenerationConfig`, which override the model's, a ``streamer``, and
            what :func:`negative_prompts` returns. A model or a setting that :func:`decode` does not support gets the
            ``guidance_scale`` of transformers.

    Raises:
        UserError: if a limit leaves no new token, ``guidance_scale`` is no finite number, or transformers refuses a
            setting or a field of the model's generation config.
    """
    length = inputs["input_ids"].shape[1]
    limit = model.config.max_position_embeddings
    if max_new_tokens is not None:
        _require_integer("max_new_tokens", max_new_tokens, 1, "number")
        limit = min(limit, length + max_new_tokens)
    if max_length is not None:
        _require_integer("max_length", max_length, length + 1, "number, because the prompt is counted,")
        limit = min(limit, max_length)
    model.eval()
    set_seed(seed)
    streamer = settings.pop("streamer", None)
    if settings.keys() & {"temperature", "top_k", "top_p"}:
        # a model's own config may decode greedily, which these would not change
        settings.setdefault("do_sample", True)
    negative = {name: settings.pop(name) for name in NEGATIVE_PROMPT if name in settings}
    scale = settings.get("guidance_scale")
    if not (scale is None or (isinstance(scale, int | float) and math.isfinite(scale))):
        raise UserError(f"generation: guidance_scale is {scale!r}: must be a finite number")
    config: GenerationConfig | None = None
    # quiet, because transformers warns about the padding that generate adds after a text's end
    with torch.inference_mode(), quiet_transformers():
        try:
            config = supported_config(model, settings)
            if config is None:
                return _generate(model, inputs, limit, {**settings, **negative}, streamer)
            gpt2, prompts = typing.cast(GPT2LMHeadModel, model), Prompts(inputs["input_ids"], inputs["attention_mask"])
            return decode(gpt2, prompts, config, limit, streamer, _given_prompts(**negative))
        # the errors of transformers for wrong settings share no class
        except (ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
            # that of the device, such as too little memory, because decode raises none for a setting
            if config is not None and isinstance(error, RuntimeError):
                raise
            advice = "" if settings else f"; see the model's {GENERATION_CONFIG}"
            raise UserError(f"generation: {one_line(error)}{advice}") from error


def _require_integer(name: str, value: object, least: int, what: str) -> None:
    if not isinstance(value, Integral) or int(value) < least:
        raise UserError(f"generation: {name} is {value!r}: must be a whole {what} of at least {least}")


def _given_prompts(
    negative_prompt_ids: torch.Tensor | None = None, negative_prompt_attention_mask: torch.Tensor | None = None
) -> Prompts | None:
    if negative_prompt_ids is None:
        return None
    mask = negative_prompt_attention_mask
    return Prompts(negative_prompt_ids, torch.ones_like(negative_prompt_ids) if mask is None else mask)


def _generate(
    model: PreTrainedModel,
    inputs: Mapping[str, torch.Tensor],
    limit: int,
    settings: Mapping[str, Any],  # as for generate_ids
    streamer: BaseStreamer | None,
) -> torch.Tensor:
    """Call ``model.generate`` for one text per prompt; a beam search streams the whole text at the end."""
    # Any, because transformers types generate as the method of another class
    generate: Any = model.generate
    one_text = {"num_return_sequences": 1, "return_dict_in_generate": False}
    # max_new_tokens is None, because transformers warns if both limits are set
    limits = {"max_length": limit, "max_new_tokens": None}
    beams = settings.get("num_beams", model.generation_config.num_beams) or 1
    streams = {"streamer": streamer} if beams == 1 else {}
    ids: torch.Tensor = generate(**inputs, **{**settings, **one_text, **limits, **streams})
    if streamer is not None and not streams:
        length = inputs["input_ids"].shape[1]
        streamer.put(ids[:, :length].cpu())
        streamer.put(ids[0, length:].cpu())
        streamer.end()
    return ids


class ReviewStreamer(TextStreamer):
    """Prints a review while it is generated: the prompt as typed, then what :func:`join` appends to it."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, prompt: str) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._blank = True
        self._line_starts = False
        self.on_finalized_text(printed_prompt(tokenizer, prompt))

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print text that later words don't change, without white space before the first word."""
        if self._blank:
            text = text.lstrip()
            self._blank = not text
        # TextStreamer decodes what follows a line break as a new text, which begins with a space
        if self._line_starts:
            text = text.removeprefix(" ")
        self._line_starts = text.endswith(LINE_BREAK)
        super().on_finalized_text(text, stream_end)
