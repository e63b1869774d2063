"""Generate texts: several prompts at once, or one that is printed while it is generated."""

import contextlib
import math
import textwrap
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
from wine_gpt.modeling.evaluation_mode import evaluation_mode
from wine_gpt.modeling.pretrained import quiet_transformers
from wine_gpt.progress import Progress
from wine_gpt.run_folder import GENERATION_CONFIG
from wine_gpt.tokenizer.schemes import UNK, WORDS, kind_of, unit

# arguments of transformers' generate that would change nothing or fail, and what to do in their place
UNSUPPORTED = {
    "num_return_sequences": "each prompt gets one text: name the prompt several times",
    "generation_config": "name its fields as settings of their own, such as temperature",
    "stop_strings": "cut the text, or name the ids of words that end it as eos_token_id",
    **dict.fromkeys(
        ("return_dict_in_generate", "output_scores", "output_logits", "output_attentions", "output_hidden_states"),
        "only texts are returned: wine_gpt.explain returns probabilities and attention",
    ),
}
# prompts that are continued together
BATCH_SIZE = 64
# characters of a prompt in an error
SHOWN_PROMPT = 40


def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    seed: int,
    batch_size: int = BATCH_SIZE,
    template: ReviewTemplate | None = None,
    label: str = "writing",
    **settings: Any,  # noqa: ANN401 - as for generate_ids
) -> list[str]:
    """Continue each prompt; return each prompt with its continuation.

    Args:
        model: the model, whose mode is restored at the end.
        tokenizer: the model's tokenizer.
        prompts: an empty prompt gives a whole review.
        seed: the sampling's seed; equal seeds, prompts and batch sizes give equal texts.
        batch_size: prompts that are continued together.
        template: that of the model's reviews, whose values the negative prompts of a ``guidance_scale`` hide.
        label: names the progress bar, which several batches have.
        settings: see :func:`generate_ids`.

    Raises:
        UserError: as :func:`encode_prompts`, :func:`negative_prompts` and :func:`generate_ids`.
    """
    _require_integer("batch_size", batch_size, 1, "number")
    batches = [prompts[start : start + batch_size] for start in range(0, len(prompts), batch_size)]
    # all of them first, because an error in the last prompt would come after minutes
    encoded = [encode_prompts(model, tokenizer, batch) for batch in batches]
    texts: list[str] = []
    with contextlib.closing(Progress(len(batches), visible=len(batches) > 1)) as progress:
        for number, (batch, inputs) in enumerate(zip(batches, encoded, strict=True)):
            negative = negative_prompts(settings, inputs, tokenizer, batch, template)
            ids = generate_ids(model, inputs, seed=(seed + number) % 2**32, negative=negative, **settings)
            continuations = tokenizer.decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            starts = [printed_prompt(tokenizer, prompt) for prompt in batch]
            texts += map(join, starts, continuations)
            progress.step(label)
    return texts


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
    tokenized, limit = tokenize_prompts(tokenizer, prompts), model.config.max_position_embeddings
    for each in tokenized:
        if len(each.ids) >= limit:
            shown, units = textwrap.shorten(each.text, SHOWN_PROMPT, placeholder="…"), unit(tokenizer)
            raise UserError(
                f"prompt {shown!r}: {len(each.ids) - 1:,} {units}, but the model has {limit:,} positions: "
                f"at most {limit - 2:,} {units}"
            )
    rows = [torch.tensor(each.ids, dtype=torch.int64) for each in tokenized]
    # a tokenizer of other programs, such as GPT-2's, may have no padding
    padding = next(index for index in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if index is not None)
    encoded = {
        "input_ids": pad_sequence(rows, True, padding, "left"),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], True, 0, "left"),
    }
    return {name: tensor.to(model.device) for name, tensor in encoded.items()}


def negative_prompts(
    settings: Mapping[str, object],
    inputs: Mapping[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    template: ReviewTemplate | None,
) -> Prompts | None:
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
        return None
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
    return Prompts(ids, inputs["attention_mask"])


def generate_ids(
    model: PreTrainedModel,
    inputs: Mapping[str, torch.Tensor],
    *,
    seed: int,
    max_new_tokens: int | None = None,
    max_length: int | None = None,
    negative: Prompts | None = None,
    **settings: Any,  # noqa: ANN401 - GenerationConfig's fields, streamer
) -> torch.Tensor:
    """Return the prompts' ids with their continuations, int64 of shape (prompts, positions).

    Args:
        model: the model, whose mode is restored at the end.
        inputs: what :func:`encode_prompts` returns.
        seed: the sampling's seed, set with ``set_seed``.
        max_new_tokens: largest number of new tokens; the model's number of positions is a limit, too.
        max_length: largest number of tokens of a text, prompt included and padding not counted.
        negative: what :func:`negative_prompts` returns.
        settings: fields of :class:`transformers.GenerationConfig`, which override the model's, and a ``streamer``. A
            model or a setting that :func:`decode` does not support gets the ``guidance_scale`` of transformers.

    Raises:
        UserError: if a limit leaves no new token, ``guidance_scale`` is no finite number, a setting is one of
            :data:`UNSUPPORTED`, the temperature is too low, or transformers refuses a setting or a field of the
            model's generation config.
    """
    limits = _limits(model, inputs, max_new_tokens, max_length)
    for name, advice in UNSUPPORTED.items():
        if settings.get(name) and (name, settings[name]) != ("num_return_sequences", 1):
            raise UserError(f"generation: {name} is not supported: {advice}")
    set_seed(seed)
    streamer = settings.pop("streamer", None)
    if settings.keys() & {"temperature", "top_k", "top_p"}:
        # a model's own config may decode greedily, which these would not change
        settings.setdefault("do_sample", True)
    scale = settings.get("guidance_scale")
    if not (scale is None or (isinstance(scale, int | float) and math.isfinite(scale))):
        raise UserError(f"generation: guidance_scale is {scale!r}: must be a finite number")
    config: GenerationConfig | None = None
    # quiet, because transformers warns about the padding that generate adds after a text's end
    with evaluation_mode(model), torch.inference_mode(), quiet_transformers():
        try:
            config = supported_config(model, settings)
            if config is None:
                return _generate(model, inputs, negative, limits, settings, streamer)
            gpt2, prompts = typing.cast(GPT2LMHeadModel, model), Prompts(inputs["input_ids"], inputs["attention_mask"])
            return decode(gpt2, prompts, config, limits, streamer, negative)
        # the errors of transformers for wrong settings share no class
        except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError, RuntimeError) as error:
            # that of the device, such as too little memory, because decode raises none for a setting
            if config is not None and isinstance(error, RuntimeError):
                raise
            advice = "" if settings else f"; see the model's {GENERATION_CONFIG}"
            raise UserError(f"generation: {one_line(error)}{advice}") from error


def _limits(
    model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], max_new_tokens: int | None, max_length: int | None
) -> torch.Tensor:
    """Return the largest number of columns of each row, the padding before its prompt included: int64, (rows,)."""
    filled, longest = inputs["input_ids"].shape[1], int(model.config.max_position_embeddings)
    new = longest
    if max_new_tokens is not None:
        _require_integer("max_new_tokens", max_new_tokens, 1, "number")
        new = min(new, int(max_new_tokens))
    if max_length is not None:
        _require_integer("max_length", max_length, filled + 1, "number, because the prompt is counted,")
        longest = min(longest, int(max_length))
    padded = (1 - inputs["attention_mask"]).sum(1)
    return (padded + longest).clamp(max=filled + new)


def _require_integer(name: str, value: object, least: int, what: str) -> None:
    if not isinstance(value, Integral) or int(value) < least:
        raise UserError(f"generation: {name} is {value!r}: must be a whole {what} of at least {least}")


def _generate(
    model: PreTrainedModel,
    inputs: Mapping[str, torch.Tensor],
    negative: Prompts | None,
    limits: torch.Tensor,
    settings: Mapping[str, Any],  # as for generate_ids
    streamer: BaseStreamer | None,
) -> torch.Tensor:
    """Call ``model.generate`` for one text per prompt; a beam search streams the whole text at the end.

    Rows of different limits are generated one after the other, because ``generate`` has one limit for all rows.
    """
    # Any, because transformers types generate as the method of another class
    generate: Any = model.generate
    if negative is not None:
        inputs = {**inputs, "negative_prompt_ids": negative.ids, "negative_prompt_attention_mask": negative.mask}
    one_text = {"num_return_sequences": 1, "return_dict_in_generate": False}
    beams = settings.get("num_beams", model.generation_config.num_beams) or 1
    streams = {"streamer": streamer} if beams == 1 else {}
    rows: dict[int, torch.Tensor] = {}
    for limit in limits.unique().tolist():
        members = (limits == limit).nonzero()[:, 0]
        own = {name: tensor[members] for name, tensor in inputs.items()}
        # max_new_tokens is None, because transformers warns if both limits are set
        found = generate(**own, **{**settings, **one_text, **streams, "max_length": limit, "max_new_tokens": None})
        rows |= zip(members.tolist(), found, strict=True)
    if streamer is not None and not streams:
        length = inputs["input_ids"].shape[1]
        streamer.put(rows[0][None, :length].cpu())
        streamer.put(rows[0][length:].cpu())
        streamer.end()
    end = torch.as_tensor(settings.get("eos_token_id", model.generation_config.eos_token_id) or 0).flatten()[0]
    ids: torch.Tensor = pad_sequence([rows[row] for row in range(len(rows))], True, int(end))
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
