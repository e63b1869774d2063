"""The sections of an evaluation: likelihood, copying, diversity, conditioning."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from transformers import PreTrainedTokenizerFast

from wine_gpt.config import ScoreConfig
from wine_gpt.data.reviews import Reviews, column
from wine_gpt.data.subsets import value_key
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.evaluation.generated import ReviewGenerator, ReviewParts, read_reviews
from wine_gpt.evaluation.metrics import load_metric
from wine_gpt.evaluation.predictions import Prediction, calibration_error
from wine_gpt.evaluation.results import CopyingResult, DiversityResult, Likelihood
from wine_gpt.tokenizer import class_words

logger = logging.getLogger(__name__)

# words that a model may generate for country and province
HEADER_WORDS = 32


def likelihood(predictions: Sequence[Prediction], tokenizer: PreTrainedTokenizerFast) -> Likelihood:
    """Compute nats per word and perplexity, see the metric ``word_perplexity``, and the calibration error."""
    end = tokenizer.eos_token_id
    figures = load_metric("word_perplexity").compute(
        predictions=[[*-each.nats, *([] if each.end_nats is None else [-each.end_nats])] for each in predictions],
        references=[[*each.ids, *([] if each.end_nats is None else [end])] for each in predictions],
        end_id=end,
        unknown_id=tokenizer.unk_token_id,
        words=[prediction.words for prediction in predictions],
        characters=[prediction.characters for prediction in predictions],
    )
    return Likelihood(**figures, calibration_error=calibration_error(predictions))


def copying(descriptions: Sequence[str], train: Sequence[str]) -> CopyingResult:
    """Compute the longest spans that descriptions have in common with training texts; see the metric ``copying``."""
    return CopyingResult(
        **load_metric("copying").compute(
            predictions=list(map(class_words, descriptions)), corpus=map(class_words, train)
        )
    )


def diversity(descriptions: Sequence[str], real: Sequence[str]) -> DiversityResult:
    """Compute how varied descriptions are; ``real`` is for the comparison of lengths; see the metric ``diversity``."""
    return DiversityResult(
        **load_metric("diversity").compute(
            predictions=list(map(class_words, descriptions)), real_lengths=[len(class_words(text)) for text in real]
        )
    )


def recovery_rates(
    written: Mapping[str, Sequence[str]], requested: ReviewParts, train: ReviewParts, config: ScoreConfig
) -> dict[str, dict[str, float]]:
    """Compute the fraction of descriptions from which a classifier recovers each prompt field.

    See the metric ``conditioning``. Labels are compared by :func:`value_key`.

    Args:
        written: kind of text to its descriptions, one for each review of ``requested``, in its order.
        requested: the reviews whose headers the descriptions were generated for.
        train: the reviews to train the classifier on.
        config: for ``min_reviews`` and ``seed``.

    Returns:
        for each kind of text, and for ``commonest``, which always guesses the commonest label, each field's rate. A
        field with too few reviews is left out with a warning in the log.
    """
    rates: dict[str, dict[str, float]] = {kind: {} for kind in (*written, "commonest")}
    for field, labels in requested.labels.items():
        try:
            found = load_metric("conditioning").compute(
                # all kinds in one call, which trains one classifier
                predictions=[text for descriptions in written.values() for text in descriptions],
                references=[*map(value_key, labels)] * len(written),
                train_texts=train.descriptions,
                train_labels=[*map(value_key, train.labels[field])],
                min_texts=config.min_reviews,
                seed=config.seed,
            )
        except ValueError as error:
            logger.warning(f"conditioning: {field} left out: {error}")
            continue
        recovered = np.array(found["recovered"], float).reshape(len(written), -1)
        rates["commonest"][field] = found["baseline"]
        for kind, of_kind in zip(written, recovered, strict=True):
            rates[kind][field] = float(np.nanmean(of_kind))
    return {kind: of_kind for kind, of_kind in rates.items() if of_kind}


def existing_provinces(generator: ReviewGenerator, reviews: Reviews, config: ScoreConfig) -> float:
    """Return the fraction of reviews, generated from the prefix alone, whose province lies in their country.

    A pair of country and province exists if a real review of any split has it.
    """
    template, names = ReviewTemplate.from_config(config.data), ("country", "province")
    existing = {
        tuple(_as_words(value) for value in pair)
        for split in reviews.splits.values()
        for pair in zip(*(column(split, name) for name in names), strict=True)
    }
    prompts = [template.prefix] * min(config.texts, len(reviews.splits[config.split]))
    headers = read_reviews(reviews.splits[config.split], template).headers
    # a word may have several tokens
    tokens = max(
        len(ids) for ids in generator.tokenizer(headers, split_special_tokens=True, verbose=False)["input_ids"]
    )
    continuations = generator.continuations(prompts, max(HEADER_WORDS, tokens), "writing headers")
    written = [template.parse(f"{template.prefix} {text}") for text in continuations]
    return float(np.mean([tuple(_as_words(values.get(name, "")) for name in names) in existing for values in written]))


def _as_words(text: str) -> str:
    return " ".join(class_words(text))
