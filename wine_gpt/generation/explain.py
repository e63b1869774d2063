"""Explain a generated text: for each word the likeliest next words and the attention to the words before it.

The class's notebook shows these figures with ``print_probs``. Here they are shown in the terminal or as an HTML page.
"""

import copy
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources

import torch
from tokenizers import models
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.errors import UserError
from wine_gpt.tokenizer.schemes import unit

# shown in place of [BOS] and [EOS]
START, END = "▸", "∎"
# shown in place of a token's spaces
SPACE = "␣"
ALTERNATIVES = 10
TERMINAL_ALTERNATIVES = 5
# smallest attention weight whose percentage is printed without color
ATTENTION_SHOWN = 0.05

# codes of xterm's 256 colors, from weak to strong attention; white letters are readable on all of them
_SHADES = (95, 131, 125, 161, 197)
_WHITE, _BOLD, _RESET = "\x1b[38;5;231m", "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True)
class Step:
    """A generated word and the model's prediction for its position.

    Attributes:
        word: the vocabulary's entry, or :data:`END`.
        probability: the word's probability.
        rank: the word's rank by probability, 1 for the likeliest.
        alternatives: the likeliest words and their probabilities, in descending order.
        attention: the weight of each earlier word, :data:`START` first; the weights sum to 1.
    """

    word: str
    probability: float
    rank: int
    alternatives: tuple[tuple[str, float], ...]
    attention: tuple[float, ...]


@dataclass(frozen=True)
class Explanation:
    """A text with a :class:`Step` for each generated word.

    Attributes:
        words: the whole text, :data:`START` first; each word includes its leading space.
        steps: the steps of the generated words, which are the last ones of ``words``.
        temperature: the temperature that the probabilities are computed with.
        view: the layer and head whose attention is shown, in words.
        unit: what a token is: word, character or token.
    """

    words: tuple[str, ...]
    steps: tuple[Step, ...]
    temperature: float
    view: str
    unit: str = "word"


@torch.inference_mode()
def explain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    ids: Sequence[int],
    prompt_length: int,
    *,
    temperature: float | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> Explanation:
    """Run the model over a generated text once and return how each word was chosen.

    The word at position i was predicted at position i - 1. Its probabilities are softmax(logits[i - 1] / temperature)
    without the suppressed words and before top-k and top-p; its attention is row i - 1.

    Args:
        model: any model with eager attention; it is not changed.
        tokenizer: the model's tokenizer.
        ids: the ids of prompt and continuation, without padding.
        prompt_length: number of ids of the prompt, at least 1.
        temperature: the temperature of the sampling; None is the model's own.
        layer: the layer whose attention is shown, from 0; None averages over all layers.
        head: the head whose attention is shown, from 0; None averages over all heads.

    Raises:
        UserError: if the model has no such layer or head.
    """
    require_attention(model, layer, head)
    temperature = temperature or model.generation_config.temperature or 1.0
    output = _eager_copy(model)(torch.tensor([ids], device=model.device), output_attentions=True, use_cache=False)
    attention = _selected(torch.cat(output.attentions).float(), layer, head)
    logits = output.logits[0].float()
    logits[:, model.generation_config.suppress_tokens or []] = -torch.inf
    probabilities = (logits / temperature).softmax(dim=-1)
    return Explanation(
        words=(*_spaced_words(tokenizer, ids[:prompt_length]), *_spaced_words(tokenizer, ids[prompt_length:])),
        steps=tuple(
            _step(tokenizer, ids[position], probabilities[position - 1], attention[position - 1, :position])
            for position in range(prompt_length, len(ids))
        ),
        temperature=temperature,
        view=_view(layer, head),
        unit=unit(tokenizer).removesuffix("s"),
    )


def require_attention(model: PreTrainedModel, layer: int | None, head: int | None) -> None:
    """Raise a :class:`UserError` if the model has no such layer or head, counted from 0."""
    sizes = model.config.num_hidden_layers, model.config.num_attention_heads
    for name, value, size in zip(("layer", "head"), (layer, head), sizes, strict=True):
        if value is not None and not 0 <= value < size:
            raise UserError(f"{name}: {value}, but the model's {name}s are 0 to {size - 1}")


def to_terminal(explanation: Explanation, *, color: bool) -> str:
    """Return two lines per generated word: the text before it with its attention, and the likeliest words.

    Args:
        explanation: what :func:`explain` returns.
        color: shade the words attended to; otherwise a percentage follows each word.
    """
    shown = "shade" if color else f"percentage, from {ATTENTION_SHOWN:.0%} on"
    legend = (
        f"For each {explanation.unit}: the text before it, {shown} = attention ({explanation.view}); "
        f"then the likeliest next {explanation.unit}s at temperature {explanation.temperature:g}, * = chosen."
    )
    prompt_length = len(explanation.words) - len(explanation.steps)
    mark = _shaded if color else _with_percentage
    blocks = [legend]
    for position, step in enumerate(explanation.steps, prompt_length):
        earlier = zip(explanation.words[:position], step.attention, strict=True)
        highest = max(step.attention)
        text = "".join(mark(word, weight, highest) for word, weight in earlier)
        blocks.append(f"{text}{_bold(explanation.words[position], color)}\n    {_alternatives_line(step, color)}")
    return "\n\n".join(blocks)


def to_html(explanation: Explanation, settings: Mapping[str, str]) -> str:
    """Return a self-contained HTML page on which each generated word shows its attention and alternatives.

    Args:
        explanation: what :func:`explain` returns.
        settings: names and values to show below the text, such as model and prompt.
    """
    # rounded, because the number of weights grows with the square of the text's length
    steps = [
        {**asdict(step), "attention": [round(weight, 4) for weight in step.attention]} for step in explanation.steps
    ]
    shown = {"words": explanation.words, "steps": steps, "settings": dict(settings), "unit": explanation.unit}
    data = json.dumps(shown, ensure_ascii=False)
    template = resources.files("wine_gpt.generation").joinpath("explain.html").read_text(encoding="utf-8")
    template = template.replace("{{unit}}", explanation.unit)
    title, before, after = html.escape("".join(explanation.words[1:]).strip()), *template.split("{{data}}")
    # escaped, because "</script>" in a word would end the script element that holds the data
    return before.replace("{{title}}", title) + data.replace("<", "\\u003c") + after


def _eager_copy(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy in evaluation mode that shares the model's tensors and returns attention weights.

    Attention implementations other than "eager" return none, without an error.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    eager: PreTrainedModel = copy.deepcopy(model, shared)
    eager.eval()
    eager.set_attn_implementation("eager")
    return eager


def _selected(attentions: torch.Tensor, layer: int | None, head: int | None) -> torch.Tensor:
    """Return the attention of a layer and a head, or the mean: (layers, heads, n, n) becomes (n, n)."""
    heads = attentions.mean(dim=0) if layer is None else attentions[layer]
    return heads.mean(dim=0) if head is None else heads[head]


def _view(layer: int | None, head: int | None) -> str:
    if layer is None and head is None:
        return "mean over layers and heads"
    return ", ".join(
        f"mean over {name}s" if chosen is None else f"{name} {chosen}"
        for name, chosen in (("layer", layer), ("head", head))
    )


def _step(
    tokenizer: PreTrainedTokenizerFast, chosen: int, probabilities: torch.Tensor, attention: torch.Tensor
) -> Step:
    likeliest = probabilities.topk(min(ALTERNATIVES, len(probabilities)))
    pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return Step(
        word=_label(tokenizer, chosen),
        probability=probabilities[chosen].item(),
        rank=1 + int((probabilities > probabilities[chosen]).sum()),
        alternatives=tuple((_label(tokenizer, index), probability) for index, probability in pairs),
        attention=tuple(attention.tolist()),
    )


def _label(tokenizer: PreTrainedTokenizerFast, index: int) -> str:
    marks = {tokenizer.bos_token_id: START, tokenizer.eos_token_id: END}
    entry = str(tokenizer.convert_ids_to_tokens(index))
    if not isinstance(tokenizer.backend_tokenizer.model, models.WordLevel):
        # a token of bytes that are no whole character is shown as the vocabulary has it
        decoded = str(tokenizer.decode([index]))
        entry = entry if "\ufffd" in decoded else decoded
    return marks.get(index) or entry.replace(" ", SPACE)


def _spaced_words(tokenizer: PreTrainedTokenizerFast, ids: Sequence[int]) -> list[str]:
    """Return the text that each id adds to the decoded text."""
    marks = {tokenizer.bos_token_id: START, tokenizer.eos_token_id: f" {END}"}
    words: list[str] = []
    decoded: list[int] = []
    length = 0
    for index in ids:
        if index in marks:
            words.append(marks[index])
            continue
        decoded.append(index)
        # a character's bytes may be in several tokens: the last of them gets the character
        text = str(tokenizer.decode(decoded)).rstrip("\ufffd")
        words.append(text[length:])
        length = max(length, len(text))
    return words


def _shaded(word: str, weight: float, highest: float) -> str:
    bare = word.lstrip()
    strength = int(weight / highest * (len(_SHADES) + 1))
    if strength == 0:
        return word
    shade = _SHADES[min(strength, len(_SHADES)) - 1]
    return f"{word[: len(word) - len(bare)]}\x1b[48;5;{shade}m{_WHITE}{bare}{_RESET}"


def _with_percentage(word: str, weight: float, _: float) -> str:
    return f"{word}({weight:.0%})" if weight >= ATTENTION_SHOWN else word


def _bold(text: str, color: bool) -> str:
    return f"{_BOLD}{text}{_RESET}" if color else text


def _alternatives_line(step: Step, color: bool) -> str:
    shown = step.alternatives[:TERMINAL_ALTERNATIVES]
    entries = [
        _bold(f"*{word} {probability:.1%}", color) if word == step.word else f"{word} {probability:.1%}"
        for word, probability in shown
    ]
    if step.rank > len(shown):
        entries.append(_bold(f"*{step.word} {step.probability:.1%}", color) + f" (rank {step.rank:,})")
    return "  ".join(entries)
