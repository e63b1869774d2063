"""The reviews of one subset in the base's splits: their texts, their tokens, and where their headers end."""

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

    def header_lengths(self, split: str) -> Indices:
        """Return the number of tokens, prefix and colons included, before each running text: int64, (reviews,)."""
        template, tokenizer = self.base.template, self.base.tokenizer
        return np.array([template.header_length(record, tokenizer) for record in self.texts[split]], np.int64)

    def value_spans(self, split: str, field: str) -> Indices:
        """Return where the tokens of a header field begin and end in each review: int64 of shape (reviews, 2)."""
        template, tokenizer = self.base.template, self.base.tokenizer
        spans = [template.value_token_span(record, field, tokenizer) for record in self.texts[split]]
        return np.array(spans, np.int64).reshape(len(spans), 2)

    def commonest_header(self) -> dict[str, str]:
        """Return the combination of the prompt fields' values that most training reviews have."""
        fields, train = self.base.template.fields, self.texts["train"]
        headers = Counter(zip(*(column(train, name) for name in fields), strict=True)).most_common(1)
        return dict(zip(fields, headers[0][0], strict=True)) if headers else {}


def _select(splits: Mapping[str, Dataset], indices: Mapping[str, Indices]) -> DatasetDict:
    return DatasetDict({name: split.select(indices[name]) for name, split in splits.items()})
