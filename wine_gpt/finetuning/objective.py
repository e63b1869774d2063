"""The objective of a subset's model: learn the header, and hold the running text to the base by KL divergence.

Knowing the subset's value saves nats in the header alone. The running text only overfits, because the base has seen
the same reviews (benchmarks/RESULTS.md, "A model for each variety").
"""

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import GPT2LMHeadModel

from wine_gpt.config import ObjectiveConfig
from wine_gpt.data.batching import IGNORED, Batch, Indices, collate, evaluation_batches, positions_of
from wine_gpt.finetuning.subset_reviews import SubsetReviews
from wine_gpt.modeling.cross_entropy import PREDICTED_POSITIONS, SoftTargets, likeliest, summed_cross_entropy
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.training.objective import LanguageModeling


class SubsetLoss(LanguageModelLoss):
    """Wraps a GPT-2 so that its forward pass returns the summed loss, in which the header has a weight of its own."""

    def __init__(self, model: GPT2LMHeadModel, header_weight: float) -> None:
        super().__init__(model)
        self.header_weight = header_weight

    def forward(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        soft_targets: SoftTargets | None = None,
        in_header: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the sum of the losses of all labels but ``IGNORED``, in nats, as a float32 scalar.

        Args:
            input_ids: see :class:`LanguageModelLoss`.
            labels: see :class:`LanguageModelLoss`.
            soft_targets: those of the running text's labels; see :class:`LanguageModelLoss`.
            in_header: bool of the labels' shape, whether a label is in the header; None for no label.
        """
        if in_header is None:
            return super().forward(input_ids, labels, soft_targets)
        hidden, head = self.hidden_and_head(input_ids)
        in_text = (labels != IGNORED) & ~in_header
        header = summed_cross_entropy(hidden[in_header], head, labels[in_header])
        return self.header_weight * header + summed_cross_entropy(hidden[in_text], head, labels[in_text], soft_targets)


class SubsetModeling(LanguageModeling):
    """Predict the next word of a subset's reviews; see :class:`wine_gpt.config.ObjectiveConfig`.

    With a text weight below 1 the base's predictions of the running text are computed first, and nothing is dropped
    out in training: the predictions are without dropout, and with it the model would learn to undo the dropout.

    Args:
        model: the base, with or without an untrained adapter, on its device; changed in place.
        reviews: the subset's reviews, of which the prefix is the prompt of the samples after each epoch.
        config: see :class:`wine_gpt.config.ObjectiveConfig`.
        accelerator: for the precision of the base's predictions.
    """

    def __init__(
        self, model: GPT2LMHeadModel, reviews: SubsetReviews, config: ObjectiveConfig, accelerator: Accelerator
    ) -> None:
        module = SubsetLoss(model, config.header_weight)
        super().__init__(module, reviews.base.tokenizer, reviews.tokenized, reviews.base.template.prefix)
        positions = positions_of(self.train_split, self.block_size)
        self._headers = np.minimum(reviews.header_lengths["train"], positions)
        self._text_targets: dict[int, SoftTargets] = {}
        if config.text_weight < 1:
            with accelerator.autocast():
                self._text_targets = self._predict(config.text_weight)
            for layer in module.modules():
                if isinstance(layer, nn.Dropout):
                    layer.p = 0.0

    def inputs(self, indices: Indices, positions: int, device: torch.device) -> tuple[Any, ...]:
        """Return the arguments of :class:`SubsetLoss`."""
        input_ids, labels = super().inputs(indices, positions, device)
        in_header = self._in_header(indices, labels.shape[1]).to(device)
        return input_ids, labels, self._soft_targets(indices, device), in_header

    def _in_header(self, indices: Indices, positions: int) -> torch.Tensor:
        return torch.arange(positions) < torch.from_numpy(self._headers[indices])[:, None]

    def _soft_targets(self, indices: Indices, device: torch.device) -> SoftTargets | None:
        if not self._text_targets:
            return None
        reviews = [self._text_targets[index] for index in indices.tolist()]
        ids, *others = map(torch.cat, zip(*reviews, strict=True))
        return SoftTargets(ids.long(), *others).to(device)

    def _predict(self, label_weight: float) -> dict[int, SoftTargets]:
        """Return the base's predictions for each review's running text by its index, with ids of type int32."""
        found: dict[int, SoftTargets] = {}
        self.module.eval()
        for indices in evaluation_batches(self.train_split, self.block_size, PREDICTED_POSITIONS):
            batch = collate(self.train_split, indices, self.block_size, self.tokenizer.eos_token_id)
            labels = batch.labels.masked_fill(self._in_header(indices, batch.labels.shape[1]), IGNORED)
            text = Batch(batch.input_ids, labels).to(self.module.model.device)
            ids, probabilities, rest = (tensor.cpu() for tensor in likeliest(self.module.probabilities(text)))
            weight = 1 - label_weight
            rows = SoftTargets(ids.int(), probabilities * weight, rest * weight, torch.full_like(rest, label_weight))
            counts = (labels != IGNORED).sum(1).tolist()
            found.update(zip(indices.tolist(), rows.split(counts), strict=True))
        return found
