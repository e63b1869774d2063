"""Generate the reviews to evaluate, from the headers of real reviews."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.data.reviews import column
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.generation.generate import generate_texts
from wine_gpt.generation.prompts import tokenize_prompts
from wine_gpt.tokenizer.words import word_ends

logger = logging.getLogger(__name__)

# the fields of a GenerationConfig that decide how words are sampled
SAMPLING = ("do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "no_repeat_ngram_size")


@dataclass(frozen=True)
class ReviewGenerator:
    """A model that generates reviews, and the sampling settings.

    ``settings`` are fields of :class:`transformers.GenerationConfig` that differ from the model's. ``template`` is for
    a ``guidance_scale`` among them, see :func:`generate_texts`.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    batch_size: int
    seed: int
    settings: Mapping[str, float] = field(default_factory=dict)
    template: ReviewTemplate | None = None

    def continuations(self, prompts: Sequence[str], max_new_tokens: int, label: str) -> list[str]:
        """Continue each prompt, equally for equal seeds and prompts; ``label`` names the progress bar."""
        found = generate_texts(
            self.model,
            self.tokenizer,
            prompts,
            seed=self.seed,
            batch_size=self.batch_size,
            max_new_tokens=max_new_tokens,
            template=self.template,
            label=label,
            **self.settings,
        )
        return [text[len(prompt.strip()) :].strip() for prompt, text in zip(prompts, found, strict=True)]

    def sampling(self) -> dict[str, float | None]:
        """Return the sampling settings in use, by their names in :class:`transformers.GenerationConfig`."""
        own = self.model.generation_config
        return {name: self.settings.get(name, getattr(own, name, None)) for name in SAMPLING}


@dataclass(frozen=True)
class ReviewParts:
    """The parts of reviews, in the order of the reviews.

    Attributes:
        headers: the text before each description, the last colon included.
        descriptions: the running texts.
        labels: for each prompt field, its value in each review.
    """

    headers: list[str]
    descriptions: list[str]
    labels: dict[str, list[str]]


def read_reviews(split: Dataset, template: ReviewTemplate) -> ReviewParts:
    """Return a split's headers, descriptions and labels."""
    headers = [template.header(record) for record in _records(split, template)]
    labels = {name: column(split, name) for name in template.fields}
    return ReviewParts(headers, column(split, template.text_field), labels)


def with_fitting_headers(
    split: Dataset, template: ReviewTemplate, tokenizer: PreTrainedTokenizerFast, positions: int
) -> Dataset:
    """Return the reviews whose headers leave a position for a description; the log says how many do not."""
    headers = [template.header(record) for record in _records(split, template)]
    prompts = tokenize_prompts(tokenizer, headers)
    fitting = [index for index, prompt in enumerate(prompts) if len(prompt.ids) < positions]
    if missing := len(split) - len(fitting):
        filled = f"{missing:,} of {len(split):,} fill the model's {positions:,} positions"
        logger.warning(f"headers: {filled} and are left out")
    return split.select(fitting)


def sample_reviews(split: Dataset, count: int, seed: int) -> Dataset:
    """Return at most ``count`` reviews, sampled without replacement."""
    return split.select(np.random.default_rng(seed).permutation(len(split))[:count])


def longest_description(real: ReviewParts, tokenizer: PreTrainedTokenizerFast) -> int:
    """Return the most tokens of a generated description: twice those of the longest real description.

    Without a limit, a model that never generates the end of a text would fill all its positions.
    """
    encoded = tokenizer(real.descriptions, split_special_tokens=True, verbose=False)
    return 2 * max(len(ids) for ids in encoded["input_ids"])


def first_halves(split: Dataset, template: ReviewTemplate, generator: ReviewGenerator) -> list[str]:
    """Return the header and the first half of the words of each review that fits into the model's positions."""
    halves = []
    for record in _records(split, template):
        description = str(record[template.text_field])
        ends = word_ends(description)
        half = description[: ends[len(ends) // 2 - 1]] if len(ends) > 1 else ""
        ids = generator.tokenizer(template.render(record), split_special_tokens=True, verbose=False)["input_ids"]
        if len(ids) < generator.model.config.max_position_embeddings:
            halves.append(template.render({**record, template.text_field: half}))
    return halves


def _records(split: Dataset, template: ReviewTemplate) -> list[dict[str, object]]:
    table = split.select_columns(list(template.columns)).with_format("arrow")[:]
    records: list[dict[str, object]] = table.to_pylist()
    return records
