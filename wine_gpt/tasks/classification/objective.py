"""Train a classifier: the model with its loss, the inputs of each review, and the score of a split."""

import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

from wine_gpt.data.batching import IGNORED, Batch, Indices, collate
from wine_gpt.files import JsonObject
from wine_gpt.modeling.loss import SummedLoss
from wine_gpt.modeling.scoring import own_batches, sum_over_processes
from wine_gpt.tasks.classification.results import ClassifierScore
from wine_gpt.training.objective import Objective

Logits = npt.NDArray[np.float32]


class ClassificationLoss(SummedLoss[GPT2ForSequenceClassification]):
    """Wraps a classifier so that its forward pass returns the loss summed over the reviews."""

    def forward(self, input_ids: torch.Tensor, last: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of -ln p(label), in nats, as a float32 scalar.

        Args:
            input_ids: int64 of shape (reviews, positions), padded on the right.
            last: the position of each review's last word, int64 of shape (reviews,).
            labels: int64 of shape (reviews,).
        """
        return cross_entropy(self.logits(input_ids, last), labels, reduction="sum")

    def logits(self, input_ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Return the wrapped model's logits, float32 of shape (reviews, classes)."""
        # not by the wrapped model's forward pass, which needs an attention mask to find the padding
        hidden = self.model.transformer(input_ids, use_cache=False).last_hidden_state
        pooled = hidden[torch.arange(len(last), device=last.device), last]
        logits: torch.Tensor = self.model.score(pooled)
        return logits.float()


class Classification(Objective[ClassificationLoss]):
    """Find the label of a review.

    Args:
        model: changed in place.
        tokenizer: the model's tokenizer.
        splits: the tokenized descriptions ``train`` and ``validation``.
        labels: for each split, int64 of shape (reviews,).
        ordered: whether the labels have an order.
    """

    def __init__(
        self,
        model: GPT2ForSequenceClassification,
        tokenizer: PreTrainedTokenizerFast,
        splits: DatasetDict,
        labels: Mapping[str, Indices],
        ordered: bool,
    ) -> None:
        super().__init__(ClassificationLoss(model), tokenizer, splits)
        self.labels = labels
        self.ordered = ordered

    def inputs(self, indices: Indices, positions: int, device: torch.device) -> tuple[Any, ...]:
        """Return the ids, the position of each review's last word, and the labels."""
        rows = collate(self.train_split, indices, self.block_size, self.tokenizer.eos_token_id, positions).to(device)
        return rows.input_ids, last_word(rows), torch.from_numpy(self.labels["train"][indices]).to(device)

    def validate(self, accelerator: Accelerator) -> ClassifierScore:
        """Score the validation split."""
        return self.score(self.validation_split, "validation", accelerator)

    def score(self, split: Dataset, name: str, accelerator: Accelerator) -> ClassifierScore:
        """Score the split ``name``; every process returns the same score."""
        logits = predict(self.module, split, self.tokenizer, accelerator)
        return ClassifierScore.of(logits, self.labels[name], self.ordered)

    def read_score(self, content: JsonObject) -> ClassifierScore:
        """Read a score from a checkpoint."""
        return ClassifierScore.from_dict(content)


def build_classifier(
    model: GPT2LMHeadModel, names: Sequence[str], tokenizer: PreTrainedTokenizerFast, seed: int
) -> GPT2ForSequenceClassification:
    """Return a classifier with a copy of a language model's transformer and a random head."""
    shape = {key: value for key, value in model.config.to_dict().items() if key != "architectures"}
    config = GPT2Config.from_dict(
        {
            **shape,
            "id2label": dict(enumerate(names)),
            "label2id": {name: number for number, name in enumerate(names)},
            "pad_token_id": tokenizer.pad_token_id,
            "problem_type": "single_label_classification",
        }
    )
    set_seed(seed)
    classifier = GPT2ForSequenceClassification(config)
    classifier.transformer.load_state_dict(model.transformer.state_dict())
    return classifier


def last_word(rows: Batch) -> torch.Tensor:
    """Return the position of each review's last word in a batch, int64 of shape (reviews,)."""
    return (rows.labels != IGNORED).sum(dim=1) - 1


@torch.no_grad()
def predict(
    module: ClassificationLoss,
    split: Dataset,
    tokenizer: PreTrainedTokenizerFast,
    accelerator: Accelerator,
) -> Logits:
    """Return the logits of each review of a tokenized split, its batches divided among the processes.

    Args:
        module: the classifier.
        split: tokenized descriptions.
        tokenizer: the model's tokenizer.
        accelerator: determines the device, the index of this process and the number of processes.

    Returns:
        float32 of shape (reviews, classes). Every process returns all reviews.
    """
    found = torch.zeros(len(split), module.model.score.out_features)
    for indices, rows in own_batches(module, split, tokenizer, accelerator):
        found[torch.from_numpy(indices)] = module.logits(rows.input_ids, last_word(rows)).cpu()
    return typing.cast(Logits, sum_over_processes(found, accelerator).numpy())
