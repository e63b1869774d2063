"""Generate the samples of a card with the published weights, at the model's own sampling settings."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.data.template import ReviewTemplate
from wine_gpt.generation.generate import generate_texts
from wine_gpt.generation.prompts import tokenize_prompts

SEED = 42
# the samples of one prompt
TEXTS = 2
# a text of a model with many positions would fill the card
LONGEST_TEXT = 256


@dataclass(frozen=True)
class Sample:
    """A prompt, and the text that the model made of it."""

    prompt: str
    text: str


def sample_texts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[Sample]:
    """Return one text for each prompt that leaves the model a position, equal on each call, without blank texts."""
    encoded = zip(prompts, tokenize_prompts(tokenizer, prompts), strict=True)
    prompts = [prompt for prompt, tokens in encoded if len(tokens.ids) < model.config.max_position_embeddings]
    if not prompts:
        return []
    texts = generate_texts(model, tokenizer, prompts, seed=SEED, max_new_tokens=LONGEST_TEXT)
    pairs = zip(prompts, texts, strict=True)
    return [Sample(prompt, text) for prompt, text in pairs if len(text) > len(prompt)]


def example_prompt(samples: Sequence[Sample], template: ReviewTemplate) -> str:
    """Return the prompt of the card's and the notebook's code: that of the last sample, or the template's prefix."""
    return samples[-1].prompt if samples else template.prefix


def sample_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, template: ReviewTemplate) -> list[Sample]:
    """Return texts for the prefix, and one for a longer prompt, which is the beginning of the first text."""
    samples = sample_texts(model, tokenizer, [template.prefix] * TEXTS)
    if not samples:
        return []
    known = template.parse(samples[0].text)
    first = {name: known[name] for name in template.fields[:1] if name in known}
    longer = template.prompt(first) if first else " ".join(samples[0].text.split()[:3])
    return [*samples, *sample_texts(model, tokenizer, [longer])]
