"""Train a GPT-2 so that the two halves of a description have similar embeddings, unlike halves of two descriptions.

The loss is InfoNCE with the other reviews of the micro-batch as negatives, in both directions, over the cosines of the
mean last hidden states (Gao et al. 2021, "SimCSE"; Wang et al. 2022, "Text Embeddings by Weakly-Supervised Contrastive
Pre-training", E5).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict
from torch.nn.functional import cross_entropy, normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import GPT2Model, PreTrainedTokenizerFast

from wine_gpt.data.batching import Indices
from wine_gpt.files import JsonObject, JsonRecord
from wine_gpt.modeling.evaluation_mode import evaluation_mode
from wine_gpt.modeling.loss import SummedLoss
from wine_gpt.training.objective import Objective

# the cosines are divided by this, as in SimCSE
TEMPERATURE = 0.05
# part of the resume key: increase this when a change to the code changes where a description is cut
HALVES_VERSION = 2
# reviews of a validation batch; fixed, because the loss rises with the number of halves to choose from
VALIDATION_BATCH = 64


@dataclass(frozen=True)
class ContrastiveScore(JsonRecord):
    """How well the halves of the validation reviews find each other among :data:`VALIDATION_BATCH` reviews.

    Attributes:
        nats_per_review: mean -ln p of the other half of the same review.
        accuracy: fraction of the first halves whose most similar second half is of the same review, 0 to 1.
        reviews: the number of reviews.
    """

    nats_per_review: float
    accuracy: float
    reviews: int

    def __str__(self) -> str:
        return f"{self.nats_per_review:.3f} nats per review, {self.accuracy:.1%} of the halves found"

    @property
    def loss(self) -> float:
        """The figure that is lowest for the best epoch: the nats per review."""
        return self.nats_per_review

    def figures(self) -> dict[str, float]:
        """Return the figures for the log and for trackers, by name."""
        return {"nats_per_review": self.nats_per_review, "accuracy": self.accuracy}


class ContrastiveLoss(SummedLoss[GPT2Model]):
    """Wraps a GPT-2 without a head so that its forward pass returns the loss summed over the reviews."""

    def forward(
        self, first: torch.Tensor, first_mask: torch.Tensor, second: torch.Tensor, second_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the :meth:`losses` of some reviews, summed, as a float32 scalar.

        Args:
            first: int64 of shape (reviews, positions), padded on the right.
            first_mask: 1 for tokens and 0 for padding, of the same shape.
            second: the other halves.
            second_mask: as ``first_mask``.
        """
        return self.losses(self.cosines(first, first_mask, second, second_mask)).sum()

    def cosines(
        self, first: torch.Tensor, first_mask: torch.Tensor, second: torch.Tensor, second_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the cosine of each first half and each second half, float32 of shape (reviews, reviews)."""
        return self.embed(first, first_mask) @ self.embed(second, second_mask).T

    def losses(self, cosines: torch.Tensor) -> torch.Tensor:
        """Return the mean of the two directions' -ln p(other half) of each review, in nats, of shape (reviews,)."""
        same_review = torch.arange(len(cosines), device=cosines.device)
        logits = cosines / TEMPERATURE
        losses = [cross_entropy(each, same_review, reduction="none") for each in (logits, logits.T)]
        return (losses[0] + losses[1]) / 2

    def embed(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return embeddings of length 1, float32 of shape (reviews, width): the mean of the last hidden states."""
        # without the mask, because a causal model does not look at padding on the right
        hidden = self.model(input_ids=ids, use_cache=False).last_hidden_state.float()
        return normalize((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1)


class Contrastive(Objective[ContrastiveLoss]):
    """Find the other half of a review's description among those of other reviews.

    Args:
        model: changed in place.
        tokenizer: the model's tokenizer.
        splits: the tokenized descriptions ``train`` and ``validation``, without headers, of two tokens or more.
    """

    def __init__(self, model: GPT2Model, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict) -> None:
        super().__init__(ContrastiveLoss(model), tokenizer, splits)

    def inputs(self, indices: Indices, positions: int, device: torch.device) -> tuple[Any, ...]:
        """Return the halves and their masks; see :class:`ContrastiveLoss`."""
        return self._halves(self.train_split, indices, device)

    def validate(self, accelerator: Accelerator) -> ContrastiveScore:
        """Score the validation split."""
        return self.score(self.validation_split, accelerator)

    def score(self, split: Dataset, accelerator: Accelerator) -> ContrastiveScore:
        """Score a split of tokenized descriptions; every process computes all of it, because splits are small.

        The last batch is filled with the first reviews, so that each review has as many others to be told from.
        """
        nats = right = 0.0
        reviews = len(split)
        with evaluation_mode(self.module), torch.inference_mode():
            for start in range(0, reviews, VALIDATION_BATCH):
                scored = min(VALIDATION_BATCH, reviews - start)
                batch = np.arange(start, start + min(VALIDATION_BATCH, reviews)) % reviews
                cosines = self.module.cosines(*self._halves(split, batch, accelerator.device))
                nats += float(self.module.losses(cosines)[:scored].sum())
                right += int((cosines.argmax(1).cpu() == torch.arange(len(batch)))[:scored].sum())
        return ContrastiveScore(nats / max(reviews, 1), right / max(reviews, 1), reviews)

    def read_score(self, content: JsonObject) -> ContrastiveScore:
        """Read a score from a checkpoint."""
        return ContrastiveScore.from_dict(content)

    def _halves(self, split: Dataset, indices: Indices, device: torch.device) -> tuple[torch.Tensor, ...]:
        """Return first halves, their mask, second halves, their mask; see :func:`halves_of`."""
        rows = [ids[: self.block_size].long() for ids in split.select(indices).with_format("torch")["input_ids"][:]]
        pairs = [halves_of(ids, self.tokenizer.eos_token_id) for ids in rows]
        halves = [[first for first, _ in pairs], [second for _, second in pairs]]
        padded = [
            tensor
            for half in halves
            for tensor in (
                # not with [PAD], of which transformers warns if there is no attention mask
                pad_sequence(half, True, self.tokenizer.eos_token_id),
                pad_sequence([torch.ones_like(ids) for ids in half], True, 0),
            )
        ]
        return tuple(tensor.to(device) for tensor in padded)


def with_two_tokens(splits: DatasetDict) -> DatasetDict:
    """Leave out the tokenized descriptions of fewer than two tokens, because one of their halves would be empty."""
    # with [BOS] and [EOS]
    return DatasetDict(
        {name: split.select(np.flatnonzero(np.array(split["length"][:]) >= 4)) for name, split in splits.items()}
    )


def halves_of(ids: torch.Tensor, eos: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two halves of a description's ids; each begins with [BOS] and has no [EOS].

    Args:
        ids: int64 of shape (tokens,): [BOS], two tokens or more, and [EOS] unless the description was cut before it.
        eos: the id of [EOS].
    """
    first, second = ids[1 : -1 if ids[-1] == eos else None].tensor_split(2)
    return torch.cat([ids[:1], first]), torch.cat([ids[:1], second])
