"""The reviews of one subset in the base's splits: their texts, their tokens, their headers and their scores."""

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from datasets import Dataset, DatasetDict

from wine_gpt.data.batching import Indices
from wine_gpt.data.reviews import column
from wine_gpt.data.subsets import Subset
from wine_gpt.finetuning.base import Base
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.scoring import Sums, score_after
from wine_gpt.training.trainer import Trainer


@dataclass(frozen=True)
class SubsetReviews:
    """The reviews that one model is fine-tuned and scored on.

    Attributes:
        base: the model to fine-tune, which has the template and the tokenizer.
        subset: the value and the indices of its reviews.
        texts: the subset's reviews of each split.
        tokenized: ``texts``, tokenized.
        train_fraction: the fraction of the base's training reviews that are in the subset, 0 to 1.
    """

    base: Base
    subset: Subset
    texts: DatasetDict
    tokenized: DatasetDict
    train_fraction: float

    @classmethod
    def select(cls, base: Base, subset: Subset, texts: DatasetDict, tokenized: DatasetDict) -> Self:
        """Select a subset's reviews from the base's, which are given as texts and tokenized."""
        own_texts, own_tokenized = (_select(splits, subset.indices) for splits in (texts, tokenized))
        return cls(base, subset, own_texts, own_tokenized, len(own_texts["train"]) / len(texts["train"]))

    @functools.cached_property
    def header_lengths(self) -> dict[str, Indices]:
        """The tokens, prefix and colons included, before each running text of each split: int64, (reviews,)."""
        template, tokenizer = self.base.template, self.base.tokenizer
        return {
            name: np.array([template.header_length(record, tokenizer) for record in split], np.int64)
            for name, split in self.texts.items()
        }

    def score(self, trainer: Trainer[LanguageModelLoss], split: str) -> list[Sums]:
        """Score a split with the trainer's model: whole reviews, and their running texts after the headers."""
        skips = (None, self.header_lengths[split])
        return score_after(skips, trainer.module, self.tokenized[split], trainer.tokenizer, trainer.accelerator)

    def score_with_hidden_value(self, trainer: Trainer[LanguageModelLoss], split: str, field: str) -> Sums:
        """Score the running texts after headers in which [UNK] replaces the tokens of one field's value."""
        template, tokenizer, tokenized = self.base.template, trainer.tokenizer, self.tokenized[split]
        rows = [*tokenized["input_ids"]]
        for ids, record in zip(rows, self.texts[split], strict=True):
            start, end = template.value_token_span(record, field, tokenizer)
            # the first id is [BOS]
            ids[start + 1 : end + 1] = [tokenizer.unk_token_id] * (end - start)
        hidden = Dataset.from_dict({"input_ids": rows, "length": tokenized["length"][:]}, features=tokenized.features)
        (sums,) = score_after([self.header_lengths[split]], trainer.module, hidden, tokenizer, trainer.accelerator)
        return sums

    def commonest_header(self) -> dict[str, str]:
        """Return the combination of the prompt fields' values that most training reviews have."""
        fields, train = self.base.template.fields, self.texts["train"]
        headers = Counter(zip(*(column(train, name) for name in fields), strict=True)).most_common(1)
        return dict(zip(fields, headers[0][0], strict=True)) if headers else {}


def _select(splits: Mapping[str, Dataset], indices: Mapping[str, Indices]) -> DatasetDict:
    return DatasetDict({name: split.select(indices[name]) for name, split in splits.items()})
