"""WiSE-FT: interpolate between base and fine-tuned weights, with the weight alpha chosen on the validation split.

Fine-tuning on a small subset overfits, and interpolated weights often have a lower loss than the base's and the
fine-tuned ones (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from wine_gpt.evaluation.bootstrap import perplexity_change
from wine_gpt.finetuning.results import ValidationLoss
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.scoring import NATS, WORDS, Score, Sums
from wine_gpt.training.checkpoint import Tensors
from wine_gpt.training.resume import trained_weights
from wine_gpt.training.trainer import Trainer

# 0 is the base, 1 the fine-tuned model
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)


def keep_best_alpha(
    trainer: Trainer[LanguageModelLoss], base: Tensors, score: Callable[[], Sequence[Sums]]
) -> tuple[float, dict[float, ValidationLoss]]:
    """Interpolate the trainer's weights with the best alpha on the validation split, see :func:`best_alpha`.

    Args:
        trainer: with the fine-tuned model, whose weights are replaced by the interpolated ones.
        base: the weights before fine-tuning.
        score: scores the validation split: whole reviews, and their running texts after the headers.

    Returns:
        alpha, and the validation loss of each alpha in :data:`ALPHAS`.
    """
    weights = trained_weights(trainer.module.model)
    tuned = {name: tensor.clone() for name, tensor in weights.items()}
    losses = {}
    base_text = None
    for alpha in ALPHAS:
        _interpolate(weights, base, tuned, alpha)
        whole, text = score()
        base_text = text if base_text is None else base_text
        change = perplexity_change(base_text[:, NATS], text[:, NATS], text[:, WORDS], trainer.config.seed)
        losses[alpha] = ValidationLoss(Score.of(whole).nats_per_word, Score.of(text).nats_per_word, change.low > 0)
    alpha = best_alpha(losses)
    _interpolate(weights, base, tuned, alpha)
    return alpha, losses


def best_alpha(losses: Mapping[float, ValidationLoss]) -> float:
    """Return the alpha with the lowest loss on whole reviews.

    It is among those whose running text is not significantly worse than the base's.
    """
    allowed = [alpha for alpha, loss in losses.items() if not loss.text_is_worse]
    return min(allowed, key=lambda alpha: losses[alpha].whole)


def _interpolate(weights: Tensors, base: Tensors, tuned: Tensors, alpha: float) -> None:
    for name, tensor in weights.items():
        # an adapter's update is the product B·A: interpolating both factors would scale it by alpha squared
        if ".lora_A." not in name:
            tensor.copy_(torch.lerp(base[name], tuned[name], alpha))
