"""Find the subsets of reviews with one value in a column, such as Pinot Noir, by values as people type them."""

import difflib
import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict

from wine_gpt.data.batching import Indices
from wine_gpt.data.template import COMPOSED
from wine_gpt.errors import UserError

ALL = "all"
# longest slug: it names a folder and ends the name of a repository, which the Hub limits to 96 characters
SLUG_CHARACTERS = 48
# hexadecimal digits of the checksum that distinguishes values with the same slug
CHECKSUM_DIGITS = 6
# names that are no folders on Windows
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
# number of suggestions for an unknown value
NEAREST = 3


@dataclass(frozen=True)
class Subset:
    """The reviews with one value in a column.

    Attributes:
        value: the value in its most frequent spelling.
        slug: a name of a-z, 0-9 and hyphens, unique among the column's values.
        indices: for each split, the indices of the subset's reviews, int64, ascending.
    """

    value: str
    slug: str
    indices: dict[str, Indices]

    @property
    def reviews(self) -> int:
        """The number of reviews in all splits."""
        return sum(len(indices) for indices in self.indices.values())


def find_subsets(splits: DatasetDict, field: str) -> list[Subset]:
    """Return the subsets of a column, the largest first; reviews without a value are in no subset.

    Values that differ only in case, white space or Unicode normalization are one value, because the tokenizer gives
    them equal or nearly equal words.

    Raises:
        UserError: if there is no such column.
    """
    require_column(splits, field, "field", " with --field and --value")
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    indices: dict[str, dict[str, Indices]] = defaultdict(lambda: {split: np.empty(0, np.int64) for split in splits})
    for split, reviews in splits.items():
        for spelling, found in _indices_by_value(reviews, field).items():
            key = value_key(spelling)
            if key:
                spellings[key][spelling.strip()] += len(found)
                indices[key][split] = np.union1d(indices[key][split], found)
    slugs = _slugs(indices)
    subsets = [Subset(spellings[key].most_common(1)[0][0], slugs[key], indices[key]) for key in indices]
    return sorted(subsets, key=lambda subset: (-subset.reviews, subset.value))


def value_key(value: str) -> str:
    """Return the form in which values are compared: Unicode NFKC, case and white space folded."""
    return " ".join(unicodedata.normalize("NFKC", value or "").casefold().split())


def require_column(splits: DatasetDict, column: str, setting: str, flags: str = "") -> None:
    """Check that the reviews have a column.

    Args:
        splits: the reviews.
        column: the column's name.
        setting: the setting that names it.
        flags: the flags to name another one with.

    Raises:
        UserError: that names a similar column, or all.
    """
    columns = [name for name in splits["train"].column_names if name != COMPOSED]
    if column in columns:
        return
    nearest = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
    hint = (
        f"did you mean {nearest[0]}?"
        if nearest
        else f"name one of {', '.join(columns)}{flags}, or pretrain a base with {column} in data.prompt_fields"
    )
    raise UserError(f"config: {setting} is {column!r}: the reviews have no such column; {hint}")


def _indices_by_value(reviews: Dataset, field: str) -> dict[str, Indices]:
    """Return the indices of each value's reviews, nulls left out."""
    column = reviews.select_columns(field).with_format("arrow")[:][field]
    values = pc.cast(column, pa.string()).combine_chunks().dictionary_encode()
    codes = np.asarray(pc.fill_null(values.indices, -1))
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(values.dictionary)))
    return dict(zip(values.dictionary.to_pylist(), np.split(order, starts)[1:], strict=True))


def choose_subsets(
    subsets: Sequence[Subset], field: str, requested: str, minimum: int
) -> tuple[list[Subset], dict[str, str]]:
    """Return the requested subsets.

    Args:
        subsets: what :func:`find_subsets` returns.
        field: the column, for messages.
        requested: a value in any case and with or without accents; or ``all``.
        minimum: the fewest reviews, over all splits, of a subset.

    Returns:
        the subsets, and the reason for each value that has enough reviews and was left out.

    Raises:
        UserError: for a value that is unknown, ambiguous or has too few reviews, or if no value has enough.
    """
    if value_key(requested) != ALL:
        subset = _find(subsets, field, requested, minimum)
        problem = _problem(subset, minimum)
        if problem:
            raise UserError(f"{field} {subset.value}: {problem}")
        return [subset], {}
    large = [subset for subset in subsets if subset.reviews >= minimum]
    problems = {subset.value: _problem(subset, minimum) for subset in large}
    chosen = [subset for subset in large if not problems[subset.value]]
    if not chosen:
        largest = f"the largest, {subsets[0].value}, has {subsets[0].reviews:,}" if subsets else "there is none at all"
        raise UserError(f"{field} all: none has {minimum:,} reviews, some in each split: {largest}")
    return chosen, {value: problem for value, problem in problems.items() if problem}


def _problem(subset: Subset, minimum: int) -> str:
    """Return why a subset can't be fine-tuned on, an empty string if it can."""
    if subset.reviews < minimum:
        return f"{subset.reviews:,} review{'' if subset.reviews == 1 else 's'}, minimum {minimum:,}"
    empty = [split for split, indices in subset.indices.items() if not len(indices)]
    return f"no review in the {' or '.join(empty)} split" if empty else ""


def _find(subsets: Sequence[Subset], field: str, requested: str, minimum: int) -> Subset:
    by_key = {value_key(subset.value): subset for subset in subsets}
    if value_key(requested) in by_key:
        return by_key[value_key(requested)]
    plain = [subset for subset in subsets if _plain(subset.value) == _plain(requested)]
    if len(plain) == 1:
        return plain[0]
    shown = " ".join(requested.split())
    if plain:
        raise UserError(f"{field} {shown}: which of {', '.join(subset.value for subset in plain)}?")
    by_plain = {_plain(subset.value): subset.value for subset in subsets}
    nearest = difflib.get_close_matches(_plain(requested), by_plain, n=NEAREST, cutoff=0.5)
    hint = f"; did you mean {' or '.join(by_plain[name] for name in nearest)}?" if nearest else ""
    raise UserError(f"{field} {shown}: 0 reviews, minimum {minimum:,}{hint}")


def _plain(value: str) -> str:
    """Return the form in which values are compared if accents are ignored too."""
    decomposed = unicodedata.normalize("NFKD", value_key(value))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _slugs(keys: Iterable[str]) -> dict[str, str]:
    """Return a unique name of a-z, 0-9 and hyphens for each key, with a checksum if it would not be unique."""
    short = {key: re.sub(r"[^a-z0-9]+", "-", _plain(key))[:SLUG_CHARACTERS].strip("-") for key in keys}
    counts = Counter(short.values())
    return {
        key: slug if slug and slug not in RESERVED and counts[slug] == 1 else f"{slug or 'value'}-{_checksum(key)}"
        for key, slug in short.items()
    }


def _checksum(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:CHECKSUM_DIGITS]
