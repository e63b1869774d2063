"""WiSE-FT: interpolate between base and fine-tuned weights, with the weight alpha chosen on the validation split.

Fine-tuning on a small subset overfits, and interpolated weights often have a lower loss than the base's and the
fine-tuned ones (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from collections.abc import Mapping

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from wine_gpt.data.batching import Indices
from wine_gpt.data.template import ReviewTemplate
from wine_gpt.evaluation.bootstrap import perplexity_change
from wine_gpt.finetuning.results import ValidationLoss
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.scoring import Score, Sums, score_reviews
from wine_gpt.training.checkpoint import Tensors
from wine_gpt.training.resume import trained_weights
from wine_gpt.training.trainer import Trainer

# 0 is the base, 1 the fine-tuned model
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


def keep_best_alpha(
    trainer: Trainer[LanguageModelLoss], base: Tensors, headers: Indices
) -> tuple[float, dict[float, ValidationLoss]]:
    """Interpolate the trainer's weights with the best alpha on the validation split, see :func:`best_alpha`.

    Args:
        trainer: with the fine-tuned model, whose weights are replaced by the interpolated ones.
        base: the weights before fine-tuning.
        headers: int64 of shape (validation reviews,), the words before each review's running text.

    Returns:
        alpha, and the validation loss of each alpha in :data:`ALPHAS`.
    """
    weights = trained_weights(trainer.module.model)
    tuned = {name: tensor.clone() for name, tensor in weights.items()}
    losses = {}
    base_text = None
    for alpha in ALPHAS:
        _interpolate(weights, base, tuned, alpha)
        whole, text = score_with_and_without_header(trainer, trainer.validation_split, headers)
        base_text = text if base_text is None else base_text
        change = perplexity_change(base_text[:, 1], text[:, 1], text[:, 0], trainer.config.seed)
        losses[alpha] = ValidationLoss(Score.of(whole).nats_per_word, Score.of(text).nats_per_word, change.low > 0)
    alpha = best_alpha(losses)
    _interpolate(weights, base, tuned, alpha)
    return alpha, losses


def best_alpha(losses: Mapping[float, ValidationLoss]) -> float:
    """Return the alpha with the lowest loss on whole reviews whose running text is not worse beyond doubt."""
    allowed = [alpha for alpha, loss in losses.items() if not loss.text_is_worse]
    return min(allowed, key=lambda alpha: losses[alpha].whole)


def score_with_and_without_header(
    trainer: Trainer[LanguageModelLoss], split: Dataset, headers: Indices
) -> tuple[Sums, Sums]:
    """Score each review of a split with the trainer's model: as a whole, and the running text after its header."""
    arguments = (trainer.module, split, trainer.tokenizer, trainer.accelerator)
    return score_reviews(*arguments), score_reviews(*arguments, headers)


def score_with_hidden_value(
    trainer: Trainer[LanguageModelLoss], split: Dataset, headers: Indices, spans: Indices
) -> Sums:
    """Score each review's running text after a header in which [UNK] replaces the words of one field's value.

    Args:
        trainer: with the model to score.
        split: tokenized reviews.
        headers: int64 of shape (reviews,), the words before each review's running text.
        spans: int64 of shape (reviews, 2), where the value's words begin and end, [BOS] not counted.
    """
    rows = [*split["input_ids"]]
    for ids, (start, end) in zip(rows, spans.tolist(), strict=True):
        # the first id is [BOS]
        ids[start + 1 : end + 1] = [trainer.tokenizer.unk_token_id] * (end - start)
    hidden = Dataset.from_dict({"input_ids": rows, "length": split["length"][:]}, features=split.features)
    return score_reviews(trainer.module, hidden, trainer.tokenizer, trainer.accelerator, headers)


def header_words(reviews: Dataset, template: ReviewTemplate, tokenizer: PreTrainedTokenizerFast) -> Indices:
    """Return the number of words, prefix and colons included, before each review's running text."""
    return np.array([template.header_length(record, tokenizer) for record in reviews], np.int64)


def _interpolate(weights: Tensors, base: Tensors, tuned: Tensors, alpha: float) -> None:
    for name, tensor in weights.items():
        # an adapter's update is the product B·A: interpolating both factors would scale it by alpha squared
        if ".lora_A." not in name:
            tensor.copy_(torch.lerp(base[name], tuned[name], alpha))


def value_spans(reviews: Dataset, field: str, template: ReviewTemplate, tokenizer: PreTrainedTokenizerFast) -> Indices:
    """Return where the words of a header field begin and end in each review, int64 of shape (reviews, 2)."""
    spans = [template.value_span(record, field, tokenizer) for record in reviews]
    return np.array(spans, np.int64).reshape(len(spans), 2)
