"""Evaluate a model on reviews that it was not trained on, and write the figures and plots.

Every figure of generated reviews is also computed for as many real held-out reviews, because most figures mean
something only in comparison. ``docs/evaluation.md`` explains each figure.
"""

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt import run_folder
from wine_gpt.base_model import data_settings, refit_of
from wine_gpt.config import DataConfig, PretrainConfig, ScoreConfig
from wine_gpt.config_io import build_config
from wine_gpt.data.reviews import Reviews, column, load_reviews, texts
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.errors import UserError
from wine_gpt.evaluation import plots
from wine_gpt.evaluation.generated import (
    ReviewGenerator,
    first_halves,
    longest_description,
    read_reviews,
    sample_reviews,
    with_fitting_headers,
)
from wine_gpt.evaluation.metrics import load_metric
from wine_gpt.evaluation.ngram_baselines import baselines
from wine_gpt.evaluation.predictions import Prediction, predict
from wine_gpt.evaluation.results import ConditioningResult, EvaluationReport, Sampling
from wine_gpt.evaluation.sections import copying, diversity, existing_provinces, likelihood, recovery_rates
from wine_gpt.files import write_json, writing
from wine_gpt.modeling.pretrained import load_model_and_tokenizer
from wine_gpt.tokenizer.encoding import no_known_word
from wine_gpt.training.record import Environment

logger = logging.getLogger(__name__)

# the settings that decide which split a review is in; with deduplicate record, prompt_fields does too
SPLIT_SETTINGS = (
    *("text_field", "max_characters", "deduplicate"),
    *("split_seed", "validation_fraction", "test_fraction"),
)


@dataclass(frozen=True)
class Subject:
    """A model that can be scored, with the reviews to score it on."""

    config: ScoreConfig
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    reviews: Reviews


def evaluate_model(config: ScoreConfig, model_folder: Path) -> EvaluationReport:
    """Do :func:`prepare` and :func:`evaluate`."""
    return evaluate(prepare(config, model_folder))


def prepare(config: ScoreConfig, model_folder: Path) -> Subject:
    """Load a model and its reviews, and check before the long computation what can be checked.

    Args:
        config: what to compute.
        model_folder: of the model's files; see :func:`wine_gpt.model_path.local_folder`.

    Raises:
        UserError: for anything that the user can put right.
    """
    load_metric("conditioning")
    trained = _trained_on(config, model_folder)
    model, tokenizer = load_subject(model_folder)
    reviews = load_reviews(config.data)
    if not len(reviews.splits[config.split]):
        advice = "raise" if trained is None else "pretrain with a larger"
        raise UserError(
            f"data: the {config.split} split is empty: {advice} data.{config.split}_fraction or use more data"
        )
    run_folder.require_writable(output_folder(config))
    return Subject(config, model, tokenizer, reviews)


def evaluate(subject: Subject) -> EvaluationReport:
    """Compute every figure, write figures and plots to the output folder, and return the figures.

    A section that can't be computed, such as a classifier with too few reviews, is left out, and the log says why.

    Raises:
        UserError: if no header leaves a position for a description, or the model knows no word of the reviews.
    """
    config, model, tokenizer, reviews = subject.config, subject.model, subject.tokenizer, subject.reviews
    held_out, folder = reviews.splits[config.split], output_folder(config)
    model.to(PartialState().device)
    logger.info(f"scoring {len(held_out):,} reviews, then generating at most {config.texts:,} (the setting texts)")
    template = ReviewTemplate.from_config(config.data)
    prompted = with_fitting_headers(held_out, template, tokenizer, model.config.max_position_embeddings)
    if not len(prompted):
        raise UserError("data: no review's header leaves the model a position: shorten data.prompt_fields")
    scored = list(texts(held_out))
    predictions = predict(model, tokenizer, scored, config.data.line_breaks)
    if not any(prediction.has_known_word(tokenizer.unk_token_id) for prediction in predictions):
        raise no_known_word(config.split)
    generator = ReviewGenerator(model, tokenizer, config.batch_size, config.seed)
    report = _report(config, generator, reviews, prompted, predictions, _fingerprint(scored))
    with writing(folder):
        _save_plots(folder, config, held_out, predictions)
        write_json(folder / run_folder.METRICS, report.to_dict())
    return report


def _fingerprint(scored: Sequence[str]) -> str:
    return hashlib.blake2b("\0".join(scored).encode(), digest_size=12).hexdigest()


def _trained_on(config: ScoreConfig, model_folder: Path) -> DataConfig | None:
    """Return the data settings that a model was trained with, None if the reviews to score are of another source.

    Raises:
        UserError: if the model has seen some of the reviews to score.
    """
    settings = data_settings(model_folder)
    if not settings:
        logger.warning("%s does not say what it was trained on: it may have seen these reviews", config.model)
        return None
    trained = build_config(PretrainConfig, settings).data
    # realpath leaves a name that is no file, such as sample, equal to itself
    if os.path.realpath(config.data.path) != os.path.realpath(trained.path):
        return None
    if (tested := refit_of(model_folder)) is not None:
        raise UserError(
            f"model: {config.model} is a refit, which has seen all reviews: score the tested run, {tested}"
        )
    for name in (*SPLIT_SETTINGS, *(["prompt_fields"] if trained.deduplicate == "record" else [])):
        value = getattr(trained, name)
        if getattr(config.data, name) != value:
            raise UserError(
                f"data.{name}: {config.model} was trained with {value}; another value would score reviews that it has "
                f"seen: leave data.{name} out"
            )
    return trained


def output_folder(config: ScoreConfig) -> Path:
    """Return the folder for figures and plots: in the model's folder, or below ``runs`` for a model on the Hub."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    folder = Path(config.model).expanduser()
    return (folder if folder.is_dir() else Path("runs") / config.model.replace("/", "--")) / run_folder.EVALUATION


def load_subject(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load any causal model and its tokenizer, which needs no special token but the end of text.

    A tokenizer without [BOS] or [PAD], such as GPT-2's, uses its end of text for both. The weights are in float32,
    whatever they were saved in.

    Raises:
        UserError: as :func:`wine_gpt.modeling.pretrained.load_model_and_tokenizer`.
    """
    model, tokenizer = load_model_and_tokenizer(path, required=("eos",))
    for name in ("pad", "bos"):
        if getattr(tokenizer, f"{name}_token_id") is None:
            setattr(tokenizer, f"{name}_token", tokenizer.eos_token)
    return model.float(), tokenizer


def _report(
    config: ScoreConfig,
    generator: ReviewGenerator,
    reviews: Reviews,
    prompted: Dataset,
    predictions: list[Prediction],
    texts_fingerprint: str,
) -> EvaluationReport:
    """Generate texts for reviews of ``prompted``, and compute all sections."""
    template = ReviewTemplate.from_config(config.data)
    train = read_reviews(reviews.splits["train"], template)
    real = read_reviews(sample_reviews(prompted, config.texts, config.seed), template)
    longest = longest_description(real, generator.tokenizer)
    compared = {
        "generated": generator.continuations(real.headers, longest, "writing reviews"),
        "real": real.descriptions,
    }
    seen = sample_reviews(reviews.splits["train"], config.texts, config.seed)
    halves = first_halves(seen, template, generator)
    continued = generator.continuations(halves, longest, "continuing training reviews")
    logger.info("comparing generated and real reviews: copying, diversity, conditioning")
    return EvaluationReport(
        model=config.model,
        split=config.split,
        texts_fingerprint=texts_fingerprint,
        likelihood=likelihood(predictions, generator.tokenizer),
        baselines=baselines(texts(reviews.splits["train"]), predictions, generator.tokenizer),
        copying={
            kind: copying(written, train.descriptions)
            for kind, written in {**compared, "continued": continued}.items()
            if written
        },
        diversity={kind: diversity(written, real.descriptions) for kind, written in compared.items()},
        conditioning=_conditioning(config, generator, reviews, recovery_rates(compared, real, train, config)),
        samples=Sampling(len(real.headers), config.seed, generator.sampling()),
        environment=Environment.of(generator.model.device),
    )


def _conditioning(
    config: ScoreConfig, generator: ReviewGenerator, reviews: Reviews, rates: dict[str, dict[str, float]]
) -> ConditioningResult | None:
    has_provinces = {"country", "province"} <= set(config.data.prompt_fields)
    existing = existing_provinces(generator, reviews, config) if has_provinces else None
    return ConditioningResult(rates, existing) if rates or has_provinces else None


def _save_plots(folder: Path, config: ScoreConfig, held_out: Dataset, predictions: list[Prediction]) -> None:
    plots.save_reliability(folder / "reliability.png", predictions)
    plots.save_loss_by_position(folder / "loss_by_position.png", predictions)
    if config.data.prompt_fields:
        name = config.data.prompt_fields[-1]
        plots.save_loss_by_label(folder / run_folder.LOSS_BY_FIELD_PLOT, name, column(held_out, name), predictions)
