"""The labels that a classifier learns: the values of a column, or bands of a numeric column."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from wine_gpt.data.batching import Indices
from wine_gpt.data.records import shorten
from wine_gpt.data.subsets import find_subsets, require_column
from wine_gpt.errors import UserError
from wine_gpt.tokenizer import class_words

# a numeric column with more distinct values is divided into bands
MOST_NUMBERS = 10
# names in an error or a log line before the rest is counted
SHOWN_NAMES = 5
# characters of a name in an error or a log line
NAME_LENGTH = 40

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """The classes of a column and the class of each review.

    Attributes:
        names: the classes, the one with most training reviews first; in ascending order if they are ordered.
        ids: for each split, the class of each review, int64 of shape (reviews,); -1 for a review that is left out.
        ordered: whether the classes are numbers or bands of numbers.
        banded: whether the classes are bands.
        left_out: the values with too few training reviews, with their number in all splits.
        missing: the number of reviews, in all splits, without a value.
    """

    names: tuple[str, ...]
    ids: dict[str, Indices]
    ordered: bool
    left_out: dict[str, int]
    missing: int
    banded: bool = False

    @property
    def train_counts(self) -> Indices:
        """The number of training reviews of each class, int64 of shape (classes,)."""
        ids = self.ids["train"]
        return np.bincount(ids[ids >= 0], minlength=len(self.names))


def find_labels(splits: DatasetDict, column: str, min_reviews: int, bands: int) -> Labels:
    """Return the labels of a column.

    Args:
        splits: the reviews.
        column: the column's name.
        min_reviews: the fewest training reviews of a class.
        bands: the number of classes of a numeric column with more than :data:`MOST_NUMBERS` values.

    Raises:
        UserError: if there is no such column, or fewer than two classes have enough training reviews.
    """
    require_column(splits, column, "label")
    numbers = {name: _numbers(split, column) for name, split in splits.items()}
    read = {name: values for name, values in numbers.items() if values is not None}
    is_numeric = len(read) == len(numbers)
    labels = (
        _labels_of_numbers(read, min_reviews, bands) if is_numeric else _labels_of_values(splits, column, min_reviews)
    )
    if len(labels.names) < 2:
        raise UserError(_describe_too_few(labels, column, min_reviews))
    return labels


def is_named(value: str, text: str) -> bool:
    """Return whether a text has the words of a value one after the other, in any case."""
    words, of_text = (f" {' '.join(class_words(each))} " for each in (value, text))
    return words in of_text


def _labels_of_values(splits: DatasetDict, column: str, min_reviews: int, *, are_numbers: bool = False) -> Labels:
    """Return one class per value, numbers in ascending order; equal but for case or white space, values are one."""
    subsets = sorted(find_subsets(splits, column), key=lambda subset: (-len(subset.indices["train"]), subset.value))
    kept = [subset for subset in subsets if len(subset.indices["train"]) >= min_reviews]
    if are_numbers:
        kept.sort(key=lambda subset: float(subset.value))
    ids = {name: np.full(len(split), -1, np.int64) for name, split in splits.items()}
    for number, subset in enumerate(kept):
        for name, indices in subset.indices.items():
            ids[name][indices] = number
    left_out = {subset.value: subset.reviews for subset in subsets[len(kept) :]}
    missing = sum(map(len, splits.values())) - sum(subset.reviews for subset in subsets)
    return Labels(tuple(subset.value for subset in kept), ids, are_numbers, left_out, missing)


def _labels_of_numbers(numbers: Mapping[str, Numbers], min_reviews: int, bands: int) -> Labels:
    """Return one class per number, or bands if there are many numbers."""
    train = numbers["train"][~np.isnan(numbers["train"])]
    if len(np.unique(train)) <= MOST_NUMBERS:
        texts = {name: [None if np.isnan(each) else _name(each) for each in split] for name, split in numbers.items()}
        named = DatasetDict({name: Dataset.from_dict({"number": split}) for name, split in texts.items()})
        return _labels_of_values(named, "number", min_reviews, are_numbers=True)
    names, uppers = _bands(train, bands)
    ids = {name: np.where(np.isnan(split), -1, np.searchsorted(uppers, split)) for name, split in numbers.items()}
    missing = sum(int(np.isnan(split).sum()) for split in numbers.values())
    return Labels(names, ids, ordered=True, left_out={}, missing=missing, banded=True)


def _bands(train: Numbers, bands: int) -> tuple[tuple[str, ...], Numbers]:
    """Return the bands' names and the largest number of each band but the last.

    The bounds are quantiles of the training reviews, and each band is named by the numbers that it has there.
    """
    quantiles = np.quantile(train, np.arange(1, bands) / bands, method="lower")
    uppers = np.unique(quantiles[quantiles < train.max()])
    lowest = [train.min(), *(train[train > upper].min() for upper in uppers)]
    names = [f"up to {_name(uppers[0])}"] if len(uppers) else []
    for low, high in zip(lowest[1:], uppers[1:], strict=False):
        names.append(f"{_name(low)} to {_name(high)}" if low < high else f"{_name(low)}")
    return (*names, f"{_name(lowest[-1])} and more"), uppers


def _name(number: float) -> str:
    # the shortest digits that only this float64 has, so that different numbers have different names; adding 0 makes
    # -0.0 the same number as 0.0
    return repr(float(number) + 0.0).removesuffix(".0")


def _numbers(split: Dataset, column: str) -> Numbers | None:
    """Return a column as float64, NaN where it has no finite number; None if a value is no number."""
    values = (
        split.select_columns([column]).with_format("arrow")[:][column] if len(split) else pa.array([], pa.float64())
    )
    if pa.types.is_boolean(values.type):
        return None
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        stripped = pc.utf8_trim_whitespace(values)
        values = pc.if_else(pc.equal(stripped, ""), None, stripped)
    try:
        numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _describe_too_few(labels: Labels, column: str, min_reviews: int) -> str:
    if not labels.names and not labels.left_out:
        return f"label {column}: no review has a value"
    if labels.banded:
        return (
            f"label {column}: all its numbers fall into one band, {labels.names[0]}, because most training reviews "
            "have the largest, so that the quantiles which divide the bands are equal: raise bands, or name another "
            "column"
        )
    only = f"only {labels.names[0]} has" if labels.names else "no value has"
    others = (
        f"; the next, counted in all splits, are {list_values(labels.left_out)}"
        if labels.left_out
        else ": it has one value"
    )
    return f"label {column}: {only} {min_reviews:,} training reviews, and a classifier needs two labels{others}"


def list_values(values: Mapping[str, int]) -> str:
    """Return the first values with their number of reviews in all splits, and the number of the other values."""
    shown = [f"{_short(value)} ({count:,})" for value, count in [*values.items()][:SHOWN_NAMES]]
    more = len(values) - len(shown)
    return ", ".join([*shown, *([f"{more:,} more"] if more else [])])


def _short(value: str) -> str:
    line = " ".join(value.split())
    start = shorten(line, NAME_LENGTH)
    return start if start == line else f"{start}…"
