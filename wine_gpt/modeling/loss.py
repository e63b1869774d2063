"""Compute a GPT-2's loss over real tokens, padding excluded, for training and evaluation."""

from collections.abc import Iterable
from typing import Generic, TypeVar

import torch
from torch import nn
from transformers import GPT2LMHeadModel, GPT2PreTrainedModel

from wine_gpt.data.batching import IGNORED, Batch
from wine_gpt.modeling.attention import no_mask
from wine_gpt.modeling.cross_entropy import SoftTargets, embed_tied, summed_cross_entropy, token_losses
from wine_gpt.modeling.dropout import install_per_row_dropout

ModelT = TypeVar("ModelT", bound=GPT2PreTrainedModel)


class SummedLoss(nn.Module, Generic[ModelT]):
    """Wraps a model; a subclass's forward pass returns the loss of a batch, summed over its units, as a scalar.

    Attributes:
        masks_padding: whether all positions reach the head in training, and padding is masked there. This suits a GPU,
            because the number of positions with a label would be known only after waiting for it.
    """

    def __init__(self, model: ModelT) -> None:
        super().__init__()
        self.generators = install_per_row_dropout(model)
        self.model = model
        self.masks_padding = False

    def seed_dropout(self, seeds: Iterable[int]) -> None:
        """Seed dropout on a CPU for the next forward passes, one seed per row; torch uses a seed's lowest 32 bits."""
        self.generators[:] = [torch.Generator().manual_seed(seed) for seed in seeds]


class LanguageModelLoss(SummedLoss[GPT2LMHeadModel]):
    """Wraps a GPT-2 so that its forward pass returns the summed loss.

    On a CPU only positions with a label reach the head, so that padding costs little. On a GPU all do, and padding is
    masked, because the GPU would wait for the number of labels.
    """

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor, soft_targets: SoftTargets | None = None
    ) -> torch.Tensor:
        """Return the sum of −log p(label), in nats, over all labels but ``IGNORED``, as a float32 scalar.

        Args:
            input_ids: int64 of shape (reviews, positions); see :class:`Batch`.
            labels: int64 of the same shape.
            soft_targets: replace −log p(label) by the loss of :class:`SoftTargets`, which has a row for each label but
                ``IGNORED``, one review after the other.
        """
        real = labels != IGNORED
        hidden, head = self.hidden_and_head(input_ids)
        if self.masks_padding and soft_targets is None:
            return summed_cross_entropy(hidden.flatten(0, 1), head, labels.flatten(), counted=real.flatten())
        return summed_cross_entropy(hidden[real], head, labels[real], soft_targets)

    def hidden_and_head(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last hidden states, and the head's weight for :func:`summed_cross_entropy`.

        Args:
            input_ids: int64 of shape (reviews, positions).
        """
        embedding, head = self.model.transformer.wte, self.model.lm_head.weight
        if embedding.weight is head:
            embeddings, head = embed_tied(head, input_ids)
        else:
            embeddings = embedding(input_ids)
        return self._hidden(embeddings), head

    @property
    def scaling_weights(self) -> list[torch.Tensor]:
        """The last layer norm's weights, not copied. Scaling them scales all logits, because the head is linear."""
        return [parameter.data for parameter in self.model.transformer.ln_f.parameters()]

    @torch.no_grad()
    def token_losses(self, batch: Batch) -> torch.Tensor:
        """Return −log p(label), in nats, of each position: float32 of the labels' shape, 0 where ``IGNORED``."""
        real = batch.labels != IGNORED
        hidden = self._hidden(self.model.transformer.wte(batch.input_ids))[real]
        losses = torch.zeros(batch.labels.shape, device=batch.labels.device)
        losses[real] = token_losses(hidden, self.model.lm_head.weight, batch.labels[real])
        return losses

    @torch.no_grad()
    def probabilities(self, batch: Batch) -> torch.Tensor:
        """Return the prediction for each label but ``IGNORED``: float32 of shape (labels, vocabulary)."""
        hidden = self._hidden(self.model.transformer.wte(batch.input_ids))[batch.labels != IGNORED]
        logits: torch.Tensor = self.model.lm_head(hidden).float()
        # in place, because allocating a second tensor of this size takes as long as the softmax
        return torch.softmax(logits, -1, out=logits)

    def _hidden(self, embeddings: torch.Tensor) -> torch.Tensor:
        output = self.model.transformer(inputs_embeds=embeddings, attention_mask=no_mask(embeddings), use_cache=False)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden
