"""How good a model is: the figures that a sceptic asks for, on reviews that it never saw.

Whatever is said of generated reviews is said of as many real ones too, which the model has not seen either: only
beside those does a figure mean something. ``docs/evaluation.md`` explains each figure.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt import run_folder
from wine_gpt.config import DataConfig, ScoreConfig
from wine_gpt.data.reviews import Reviews, load_reviews, texts
from wine_gpt.errors import UserError
from wine_gpt.evaluation import plots
from wine_gpt.evaluation.metrics import load_metric
from wine_gpt.evaluation.predictions import Prediction, predict
from wine_gpt.files import write_atomically
from wine_gpt.generation.generate import generate_texts
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.progress import Progress
from wine_gpt.tokenizer import class_words, load_tokenizer, word_ends
from wine_gpt.training.record import environment

Figures = dict[str, Any]

# tokens within which a model has to have written country and province
HEADER_TOKENS = 32
# the settings of a generation config that decide how words are drawn
SAMPLING = ("do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "no_repeat_ngram_size")


@dataclass(frozen=True)
class ReviewGenerator:
    """A model that writes reviews, and how it is asked to.

    ``settings`` are fields of :class:`transformers.GenerationConfig` that differ from the model's.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    batch_size: int
    seed: int
    settings: Figures

    def continuations(self, prompts: Sequence[str], max_new_tokens: int, what: str) -> list[str]:
        """Return what the model writes behind each prompt; equal seeds and prompts give equal texts."""
        batches = [prompts[start : start + self.batch_size] for start in range(0, len(prompts), self.batch_size)]
        progress = Progress(len(batches), 0, visible=True)
        written: list[str] = []
        for number, batch in enumerate(batches):
            found = generate_texts(
                self.model,
                self.tokenizer,
                batch,
                seed=(self.seed + number) % 2**32,
                max_new_tokens=max_new_tokens,
                **self.settings,
            )
            written += [text[len(prompt.strip()) :].strip() for prompt, text in zip(batch, found, strict=True)]
            progress.step(what)
        progress.close()
        return written

    def sampling(self) -> Figures:
        """Return how words are drawn, by the names of :class:`transformers.GenerationConfig`."""
        own = self.model.generation_config
        return {name: self.settings.get(name, getattr(own, name, None)) for name in SAMPLING}


@dataclass(frozen=True)
class ReviewParts:
    """Reviews that a model is compared with.

    ``headers`` are all that stands before a description in a text, the last colon included; ``labels`` has for each
    prompt field its value in each review.
    """

    headers: list[str]
    descriptions: list[str]
    labels: dict[str, list[str]]


def evaluate_model(config: ScoreConfig) -> Figures:
    """Compute every figure, write them and the plots to the output folder, and return them.

    A section that can't be computed, such as a classifier with too few reviews, is left out with a line that says why.

    Raises:
        UserError: for anything that the user can put right.
    """
    # before the long work, should it not be installed
    load_metric("conditioning")
    model, tokenizer = load_subject(config.model)
    reviews = load_reviews(config.data)
    held_out = reviews.splits[config.split]
    if not len(held_out):
        raise UserError(
            f"data: the {config.split} split is empty: raise data.{config.split}_fraction or use more data"
        )
    folder = output_folder(config)
    run_folder.require_writable(folder)
    model.to(PartialState().device)
    predictions = predict(model, tokenizer, list(texts(held_out)))
    generator = ReviewGenerator(model, tokenizer, config.batch_size, config.seed, {})
    figures = {
        "model": config.model,
        "split": config.split,
        "likelihood": likelihood(predictions, tokenizer),
        **generated_sections(config, generator, reviews, held_out),
        "environment": environment(model.device),
    }
    plots.save_reliability(folder / "reliability.png", predictions)
    plots.save_loss_by_position(folder / "loss_by_position.png", predictions)
    if config.data.prompt_fields:
        name = config.data.prompt_fields[-1]
        plots.save_loss_by_label(folder / f"loss_by_{name}.png", name, _column(held_out, name), predictions)
    write_atomically(folder / run_folder.METRICS, json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    return figures


def output_folder(config: ScoreConfig) -> Path:
    """Return where figures and plots go: into the model's folder, or below ``runs`` if it is on the Hub."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    folder = Path(config.model)
    return (folder if folder.is_dir() else Path("runs") / config.model.replace("/", "--")) / run_folder.EVALUATION


def load_subject(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load any causal model and its tokenizer, which needs no more than an end of text.

    That also stands for the start and for padding where the tokenizer has none, as GPT-2's is used.

    Raises:
        UserError: if there is none, or it has no fixed number of positions.
    """
    model = load_model(path)
    tokenizer = load_tokenizer(path, required=("eos",))
    for name in ("pad", "bos"):
        if getattr(tokenizer, f"{name}_token_id") is None:
            setattr(tokenizer, f"{name}_token", tokenizer.eos_token)
    if getattr(model.config, "max_position_embeddings", None) is None:
        raise UserError(f"model: {path}: its config says no number of positions (max_position_embeddings)")
    return model, tokenizer


def likelihood(predictions: Sequence[Prediction], tokenizer: PreTrainedTokenizerFast) -> Figures:
    """Return nats per word and what goes with them; see the metric ``word_perplexity``."""
    ends = [prediction.end_nats for prediction in predictions]
    figures: Figures = load_metric("word_perplexity").compute(
        predictions=[
            [*-prediction.nats, *([] if end is None else [-end])]
            for prediction, end in zip(predictions, ends, strict=True)
        ],
        references=[
            [*prediction.ids, *([] if end is None else [tokenizer.eos_token_id])]
            for prediction, end in zip(predictions, ends, strict=True)
        ],
        end_id=tokenizer.eos_token_id,
        unknown_id=tokenizer.unk_token_id,
        words=[prediction.words for prediction in predictions],
        characters=[prediction.characters for prediction in predictions],
    )
    return {**figures, "calibration_error": plots.calibration_error(predictions)}


def generated_sections(
    config: ScoreConfig, generator: ReviewGenerator, reviews: Reviews, held_out: Dataset
) -> Figures:
    """Return the sections that rest on generated reviews: copying, diversity, conditioning, samples."""
    train = read_reviews(reviews.splits["train"], config.data)
    real = read_reviews(sample_reviews(held_out, config.texts, config.seed), config.data)
    longest = longest_description(real, generator.tokenizer)
    written = {
        "generated": generator.continuations(real.headers, longest, "writing reviews"),
        "real": real.descriptions,
        "continued": generator.continuations(
            _halves(reviews.splits["train"], generator, config), longest, "continuing training reviews"
        ),
    }
    sections: Figures = {
        "copying": {kind: copying(found, train.descriptions) for kind, found in written.items() if found},
        "diversity": {kind: diversity(written[kind], real.descriptions) for kind in ("generated", "real")},
        "conditioning": conditioning({kind: written[kind] for kind in ("generated", "real")}, real, train, config),
        "samples": {"texts": len(real.headers), "seed": config.seed, "settings": generator.sampling()},
    }
    if {"country", "province"} <= set(config.data.prompt_fields):
        sections["conditioning"]["existing_provinces"] = existing_provinces(generator, reviews, config)
    return {name: figures for name, figures in sections.items() if figures}


def copying(descriptions: Sequence[str], train: Sequence[str]) -> Figures:
    """Return how long the spans of words are that descriptions share with those of train reviews; see the metric."""
    figures: Figures = load_metric("copying").compute(
        predictions=list(map(class_words, descriptions)), corpus=map(class_words, train)
    )
    return figures


def diversity(descriptions: Sequence[str], real: Sequence[str]) -> Figures:
    """Return how varied descriptions are, and how far their lengths are from real ones'; see the metric."""
    figures: Figures = load_metric("diversity").compute(
        predictions=list(map(class_words, descriptions)), real_lengths=[len(class_words(text)) for text in real]
    )
    return figures


def conditioning(
    written: Mapping[str, Sequence[str]], asked: ReviewParts, train: ReviewParts, config: ScoreConfig
) -> dict[str, Figures]:
    """Return from what share of the descriptions a classifier recovers each prompt field; see the metric.

    Args:
        written: descriptions by kind; each kind has one for each review of ``asked``, in its order.
        asked: whose labels the descriptions were asked for.
        train: what the classifier learns from.
        config: its ``min_reviews`` and ``seed``.

    Returns:
        for each kind, and for ``commonest``, the guess that doesn't read, each field's rate; a field that has too few
        reviews is left out with a line that says so.
    """
    rates: dict[str, Figures] = {kind: {} for kind in (*written, "commonest")}
    for field, labels in asked.labels.items():
        try:
            found = load_metric("conditioning").compute(
                # one classifier for all kinds
                predictions=[text for descriptions in written.values() for text in descriptions],
                references=labels * len(written),
                train_texts=train.descriptions,
                train_labels=train.labels[field],
                min_texts=config.min_reviews,
                seed=config.seed,
            )
        except ValueError as error:
            print(f"conditioning: {field} left out: {error}", file=sys.stderr)
            continue
        recovered = np.array(found["recovered"], float).reshape(len(written), -1)
        rates["commonest"][field] = found["baseline"]
        for kind, of_kind in zip(written, recovered, strict=True):
            rates[kind][field] = float(np.nanmean(of_kind))
    return {kind: of_kind for kind, of_kind in rates.items() if of_kind}


def existing_provinces(generator: ReviewGenerator, reviews: Reviews, config: ScoreConfig) -> float:
    """Return in what share of reviews, begun with the prefix alone, the province named is in the country named.

    A pair exists if some real review has it, of whatever split.
    """
    fields = config.data.prompt_fields
    named = [fields.index(name) for name in ("country", "province")]
    existing = {
        tuple(_as_words(value) for value in pair)
        for split in reviews.splits.values()
        for pair in zip(*(_column(split, fields[index]) for index in named), strict=True)
    }
    prompts = [config.data.prefix] * min(config.texts, len(reviews.splits[config.split]))
    headers = [written_fields(text) for text in generator.continuations(prompts, HEADER_TOKENS, "writing headers")]
    return float(
        np.mean(
            [max(named) < len(header) and tuple(header[index] for index in named) in existing for header in headers]
        )
    )


def written_fields(continuation: str) -> list[str]:
    """Return the fields, each as words joined by a space, that a model wrote behind a prefix, each up to its colon.

    What follows the last colon is the description, or a field that was perhaps not written to its end.
    """
    # behind a prefix, a continuation begins with the colon that ends it
    return [_as_words(field) for field in continuation.removeprefix(":").split(" : ")[:-1]]


def _as_words(text: str) -> str:
    return " ".join(class_words(text))


def read_reviews(split: Dataset, data: DataConfig) -> ReviewParts:
    """Return a split's headers, descriptions and labels."""
    descriptions = _column(split, data.text_field)
    whole = zip(texts(split), descriptions, strict=True)
    headers = [text[: len(text) - len(description)].strip() for text, description in whole]
    return ReviewParts(headers, descriptions, {name: _column(split, name) for name in data.prompt_fields})


def longest_description(real: ReviewParts, tokenizer: PreTrainedTokenizerFast) -> int:
    """Return how many tokens a description may have: twice the longest real one's, for models that never end."""
    return 2 * max(len(ids) for ids in tokenizer(real.descriptions, verbose=False)["input_ids"])


def _halves(train: Dataset, generator: ReviewGenerator, config: ScoreConfig) -> list[str]:
    """Return the first half, in words, of train reviews that the model saw whole."""
    halves = []
    for text, description in zip(*_whole(sample_reviews(train, config.texts, config.seed), config.data), strict=True):
        ends = word_ends(description)
        cut = len(text) - len(description) + (ends[len(ends) // 2 - 1] if len(ends) > 1 else 0)
        if len(generator.tokenizer(text, verbose=False)["input_ids"]) < generator.model.config.max_position_embeddings:
            halves.append(text[:cut])
    return halves


def _whole(split: Dataset, data: DataConfig) -> tuple[list[str], list[str]]:
    return list(texts(split)), _column(split, data.text_field)


def sample_reviews(split: Dataset, most: int, seed: int) -> Dataset:
    """Return at most so many reviews, drawn by the seed."""
    return split.select(np.random.default_rng(seed).permutation(len(split))[:most])


def _column(split: Dataset, name: str) -> list[str]:
    return [str(value) for value in split[name][:]]


def table(figures: Figures) -> str:
    """Return the figures for a terminal, one table a section."""
    sections = [f"{figures['model']}, {figures['split']} split", _block("likelihood", {"": figures["likelihood"]})]
    sections += [_block(name, figures[name]) for name in ("copying", "diversity") if name in figures]
    if "conditioning" in figures:
        rates = dict(figures["conditioning"])
        share = rates.pop("existing_provinces", None)
        sections += [_block("conditioning", rates)] if rates else []
        sections += [] if share is None else [f"country and province that go together: {share:.1%}"]
    return "\n\n".join(sections)


def _block(title: str, columns: Mapping[str, Figures]) -> str:
    """Return a table with a row for each figure and a column for each kind of text."""
    names = list(dict.fromkeys(name for figures in columns.values() for name in figures))
    cells = [[title, *columns]]
    cells += [[f"  {name}", *(_shown(figures.get(name)) for figures in columns.values())] for name in names]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ([name.ljust(widths[0]), *map(str.rjust, values, widths[1:])] for name, *values in cells)
    return "\n".join("  ".join(row).rstrip() for row in rows)


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
