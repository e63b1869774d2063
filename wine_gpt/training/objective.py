"""What a training minimizes and how an epoch is judged: an :class:`Objective`, such as predicting the next word.

The loop, the optimizer, the checkpoints and resuming are the same for every objective.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerFast

from wine_gpt.data.batching import Indices, collate
from wine_gpt.data.tokenized import TokenizedSplit, TokenizedSplits
from wine_gpt.files import JsonObject
from wine_gpt.generation.generate import generate_texts
from wine_gpt.modeling.cross_entropy import SoftTargets
from wine_gpt.modeling.loss import LanguageModelLoss, SummedLoss
from wine_gpt.modeling.scoring import Score, ValidationScore, score

SAMPLES_PER_EVALUATION = 3

LossT = TypeVar("LossT", bound=SummedLoss[Any])


class TargetSource(Protocol):
    """The predictions of a teacher that a model learns, and the reviews that they are for."""

    @property
    def reviews(self) -> TokenizedSplit:
        """The tokenized reviews that replace the training split."""

    def rows_of_epoch(self, epoch: int) -> Indices:
        """Return the indices of an epoch's reviews; see :class:`wine_gpt.data.batching.BatchPlan`."""

    def soft_targets(self, indices: Indices) -> SoftTargets:
        """Return the targets of all positions of the reviews at some indices, one review after the other."""


class Objective(ABC, Generic[LossT]):
    """The loss of a training, the inputs of each review, and the validation that chooses the best epoch.

    An optimizer step minimizes the summed loss divided by the number of the global batch's units.

    Args:
        module: the model with its loss.
        tokenizer: the model's tokenizer.
        splits: the splits ``train`` and ``validation``, with the columns ``input_ids`` and ``length``.

    Attributes:
        unit: what the training loss is a mean over: token or review.
        rows_of_epoch: see :class:`wine_gpt.data.batching.BatchPlan`.
    """

    unit = "review"
    rows_of_epoch: Callable[[int], Indices] | None = None

    def __init__(self, module: LossT, tokenizer: PreTrainedTokenizerFast, splits: TokenizedSplits) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.train_split: TokenizedSplit = splits["train"]
        self.validation_split: TokenizedSplit = splits["validation"]
        self.block_size: int = module.model.config.n_positions

    def units(self, reviews: int, tokens: int) -> int:
        """Return the number of units of a batch with so many reviews and tokens."""
        return reviews

    @abstractmethod
    def inputs(self, indices: Indices, positions: int, device: torch.device) -> tuple[Any, ...]:
        """Return the arguments of the module's forward pass for the training reviews at ``indices``.

        Args:
            indices: the reviews of a micro-batch.
            positions: the number of positions to pad to.
            device: where the arguments are to be.
        """

    @abstractmethod
    def validate(self, accelerator: Accelerator) -> ValidationScore:
        """Score the validation split; every process returns the same score."""

    @abstractmethod
    def read_score(self, content: JsonObject) -> ValidationScore:
        """Read a score from a checkpoint."""

    def sample(self, seed: int) -> list[str]:
        """Return texts that the model generates after an epoch; none for a model that generates no text."""
        return []


class LanguageModeling(Objective[LanguageModelLoss]):
    """Predict the next word.

    Args:
        module: a GPT-2 with its loss; changed in place.
        tokenizer: the model's tokenizer.
        splits: the tokenized splits ``train`` and ``validation``.
        prompt: the prompt of the samples after each epoch.
        targets: what the model learns instead of the labels; None trains on the labels.
    """

    unit = "token"

    def __init__(
        self,
        module: LanguageModelLoss,
        tokenizer: PreTrainedTokenizerFast,
        splits: TokenizedSplits,
        prompt: str,
        targets: TargetSource | None = None,
    ) -> None:
        super().__init__(module, tokenizer, splits)
        self.prompt = prompt
        self.targets = targets
        if targets is not None:
            self.train_split = targets.reviews
            self.rows_of_epoch = targets.rows_of_epoch

    def units(self, reviews: int, tokens: int) -> int:
        """Return the number of tokens."""
        return tokens

    def inputs(self, indices: Indices, positions: int, device: torch.device) -> tuple[Any, ...]:
        """Return the ids, the labels and the soft targets, if there are any; see :class:`LanguageModelLoss`."""
        rows = collate(self.train_split, indices, self.block_size, self.tokenizer.eos_token_id, positions).to(device)
        soft = () if self.targets is None else (self.targets.soft_targets(indices).to(device),)
        return (rows.input_ids, rows.labels, *soft)

    def validate(self, accelerator: Accelerator) -> Score:
        """Return the loss per word of the validation split."""
        return score(self.module, self.validation_split, self.tokenizer, accelerator)

    def read_score(self, content: JsonObject) -> Score:
        """Read a score from a checkpoint."""
        return Score.from_dict(content)

    def sample(self, seed: int) -> list[str]:
        """Continue the prompt."""
        prompts = [self.prompt] * SAMPLES_PER_EVALUATION
        return generate_texts(self.module.model, self.tokenizer, prompts, seed=seed)
