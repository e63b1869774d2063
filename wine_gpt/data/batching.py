"""Plan batches of reviews as a pure function of the reviews' lengths, the seed and the step.

Every review is a row of its own, so no review attends to another. Batches are cut from windows of reviews sorted by
length, so that the rows of a batch have nearly the same length and need little padding. Because the plan is a pure
function, resuming at step n needs no replay, and any number of processes derives the same global batches.
"""

import functools
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from wine_gpt.data.tokenized import Ids, TokenizedReviews, TokenizedSplit
from wine_gpt.errors import UserError

Indices = npt.NDArray[np.int64]

# batches per window of reviews sorted by length: a larger window needs less padding, but a batch has fewer lengths
WINDOW_BATCHES = 64
# reviews whose lengths are read at once
LENGTHS_AT_ONCE = 100_000
# the label that the losses of torch and transformers ignore
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """One forward pass.

    ``input_ids`` and ``labels`` are int64 of shape (reviews, positions); ``labels`` holds the next token of each
    position, and :data:`IGNORED` where there is none.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on ``device``; the copy to a GPU is queued."""
        tensors = [self.input_ids, self.labels]
        if device.type == "cuda":
            # a copy from memory that can be swapped out would wait for the GPU
            tensors = [tensor.pin_memory() for tensor in tensors]
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))


class BatchPlan:
    """The reviews of each optimizer step.

    Args:
        positions: the number of positions of each review, integers of shape (reviews,), each at least 1.
        batch_tokens: the largest number of positions of a batch, padding included.
        seed: the seed of the reviews' order.
        epochs: the number of passes over the reviews.
        rows_of_epoch: returns the indices of an epoch's reviews, the epoch counted from 0; None for all reviews.

    Raises:
        UserError: if one review has more positions than a batch may have.
    """

    def __init__(
        self,
        positions: npt.NDArray[np.integer],
        batch_tokens: int,
        seed: int,
        epochs: int,
        rows_of_epoch: Callable[[int], Indices] | None = None,
    ) -> None:
        if positions.max(initial=1) > batch_tokens:
            raise UserError(
                f"config: training.batch_tokens is {batch_tokens}: one review alone has {positions.max()} positions"
            )
        # the smallest type, because each process holds all positions
        self.positions = positions.astype(np.min_scalar_type(batch_tokens))
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.rows_of_epoch = rows_of_epoch
        # returns the plan of an epoch, and keeps the last one, because planning is slow and a step needs its epoch's
        self.epoch: Callable[[int], EpochPlan] = functools.lru_cache(maxsize=1)(self._plan_epoch)
        steps_of_epoch, smallest = [], []
        for epoch in range(epochs):
            sizes = self.epoch(epoch).sizes
            steps_of_epoch.append(len(sizes))
            smallest.append(int(sizes.min(initial=len(positions))))
        # the number of reviews of the smallest batch
        self.smallest = min(smallest)
        # the first step of each epoch, and the number of all steps
        self._epoch_starts = np.cumsum([0, *steps_of_epoch])

    @property
    def total_steps(self) -> int:
        """The number of optimizer steps of all epochs."""
        return int(self._epoch_starts[-1])

    def epoch_of(self, step: int) -> int:
        """Return the epoch of a step; both count from 0."""
        return int(np.searchsorted(self._epoch_starts, step, side="right")) - 1

    def ends_epoch(self, step: int) -> bool:
        """Return whether the step, from 0, is the last of its epoch."""
        return step + 1 in self._epoch_starts

    def batch(self, step: int) -> Indices:
        """Return the indices of the reviews of a step, from 0, the shortest review first."""
        epoch = self.epoch_of(step)
        return self.epoch(epoch)[int(step - self._epoch_starts[epoch])]

    def _plan_epoch(self, epoch: int) -> "EpochPlan":
        """Return all batches of an epoch in order."""
        random = np.random.default_rng((self.seed, epoch))
        type_ = np.min_scalar_type(len(self.positions))
        everyone = np.arange(len(self.positions), dtype=type_)
        reviews = everyone if self.rows_of_epoch is None else self.rows_of_epoch(epoch).astype(type_)
        random.shuffle(reviews)
        mean = max(self.positions.mean(), 1) if len(self.positions) else 1
        size = max(int(WINDOW_BATCHES * self.batch_tokens / mean), 1)
        ends = [0]
        # windows of nearly equal size, because a small last window could give a batch of one review
        for window in np.array_split(reviews, -(-len(reviews) // size)) if len(reviews) else []:
            lengths = self.positions[window]
            # a stable sort keeps reviews of equal length in random order
            by_length = np.argsort(lengths, kind="stable")
            # the windows are views, so that an epoch is sorted in place
            window[:] = window[by_length]
            start = ends[-1]
            ends += [start + end for end in _cut(lengths[by_length], self.batch_tokens)]
        bounds = np.array(ends)
        return EpochPlan(reviews, bounds, random.permutation(len(bounds) - 1))

    def padding_fraction(self) -> float:
        """Return the fraction of the first epoch's positions that are padding, 0 to 1."""
        batches = [self.positions[batch].astype(np.int64) for batch in self.epoch(0)]
        padded = sum(len(batch) * int(batch.max()) for batch in batches)
        return float(1 - sum(int(batch.sum()) for batch in batches) / padded)


@dataclass(frozen=True)
class EpochPlan:
    """The batches of an epoch, as flat arrays because an object per batch would take more memory.

    Attributes:
        reviews: the indices of all reviews, batch after batch, as an unsigned type that is as small as possible.
        bounds: where each batch begins in ``reviews``, and where the last one ends.
        order: the batch of each step.
    """

    reviews: npt.NDArray[np.unsignedinteger]
    bounds: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of reviews of each batch, not in the order of the steps."""
        return np.diff(self.bounds)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Indices]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, step: int) -> Indices:
        """Return the indices of the reviews of a step, counted from the epoch's start."""
        batch = self.order[step]
        return self.reviews[self.bounds[batch] : self.bounds[batch + 1]].astype(np.int64)


def _cut(lengths: npt.NDArray[np.integer], budget: int) -> list[int]:
    """Cut ascending lengths into the fewest batches within the budget, as equal in size as possible.

    A binary search finds the smallest budget that needs no more batches.

    Returns:
        The end of each batch.
    """
    ascending: list[int] = lengths.tolist()
    fewest = len(_ends(ascending, budget))
    # the lengths alone, without padding, need this budget
    low, high = max(ascending[-1], -(-sum(ascending) // fewest)), budget
    while low < high:
        middle = (low + high) // 2
        if len(_ends(ascending, middle)) > fewest:
            low = middle + 1
        else:
            high = middle
    return _ends(ascending, high)


def _ends(lengths: list[int], budget: int) -> list[int]:
    """Return the end of each batch if each batch takes as many of the ascending lengths as the budget allows."""
    ends, start = [], 0
    while start < len(lengths):
        first = start
        ahead = range(first + 1, min(first + budget // lengths[first], len(lengths)) + 1)
        # the cost of a batch is its reviews times the length of its last one
        start = first + max(bisect_right(ahead, budget, key=lambda end: (end - first) * lengths[end - 1]), 1)
        ends.append(start)
    return ends


def positions_of(split: TokenizedSplit, block_size: int) -> npt.NDArray[np.int32]:
    """Return each tokenized review's number of positions, int32: its tokens minus one, at most ``block_size``."""
    positions = np.empty(len(split), np.int32)
    start = 0
    for lengths in _lengths(split):
        positions[start : start + len(lengths)] = np.minimum(lengths - 1, block_size)
        start += len(lengths)
    return positions


def rows_of(starts: Indices, counts: npt.NDArray[np.integer]) -> Indices:
    """Return the rows of some reviews in an array that has the rows of all reviews.

    Args:
        starts: the index of the first row of each review, int64 of shape (reviews,).
        counts: the number of rows of each review, of shape (reviews,).

    Returns:
        int64 of shape (sum of ``counts``,), one review's rows after the other's.
    """
    return np.concatenate([np.arange(start, start + count) for start, count in zip(starts, counts, strict=True)])


@dataclass(frozen=True)
class CutTexts:
    """How much of a split is not seen because texts are longer than the model's positions.

    Attributes:
        texts: the number of texts.
        cut: the number of texts with more positions than ``block_size``.
        tokens_cut: the fraction of all texts' tokens that are cut, 0 to 1.
        block_size: the model's positions.
    """

    texts: int
    cut: int
    tokens_cut: float
    block_size: int

    def __str__(self) -> str:
        unseen = f"{self.tokens_cut:.0%}" if self.tokens_cut >= 0.01 else f"{self.tokens_cut:.2%}"
        longer = "text is" if self.texts == 1 else "texts are"
        return (
            f"{self.cut:,} of {self.texts:,} {longer} longer than block_size {self.block_size}: "
            f"{unseen} of the text is not seen"
        )


def cut_texts(split: TokenizedSplit, block_size: int) -> CutTexts:
    """Count the tokenized texts of a split that are longer than ``block_size``."""
    cut = tokens = unseen = 0
    for lengths in _lengths(split):
        # without [BOS] and [EOS]
        in_texts = lengths - 2
        cut += int((in_texts + 1 > block_size).sum())
        tokens += int(in_texts.sum())
        unseen += int(np.maximum(in_texts - block_size, 0).sum())
    return CutTexts(len(split), cut, unseen / max(tokens, 1), block_size)


def _lengths(split: TokenizedSplit) -> Iterator[Ids]:
    """Yield the reviews' lengths in pieces, because reading a whole column makes several copies of it."""
    if isinstance(split, TokenizedReviews):
        yield from split.lengths()
        return
    for table in split.select_columns("length").with_format("arrow").iter(LENGTHS_AT_ONCE):
        yield table["length"].to_numpy()


def split_into_micro_batches(indices: Indices, micro_batches: int) -> list[Indices]:
    """Split a batch into micro-batches of nearly equal size, one per forward pass."""
    return np.array_split(indices, micro_batches)


def collate(split: TokenizedSplit, indices: Indices, block_size: int, filler: int, positions: int = 1) -> Batch:
    """Read the reviews at ``indices`` from a tokenized split and pad them on the right to one length.

    Attention is causal, so padding on the right needs no attention mask.

    Args:
        split: a tokenized split.
        indices: the reviews' indices in the split.
        block_size: reviews with more positions are cut, and lose their end of text.
        filler: the token id of padding. Use the end of text, because transformers warns about a missing attention mask
            if it finds the padding id.
        positions: the smallest number of positions of the batch.
    """
    flat, offsets = _flat_ids(split, indices)
    starts = offsets[:-1, None]
    lengths = np.minimum(np.diff(offsets), block_size + 1)[:, None]
    columns = np.arange(max(lengths.max(), positions + 1))
    ids = flat[starts + np.minimum(columns, lengths - 1)].astype(np.int64)
    real = columns[1:] < lengths
    input_ids, labels = np.where(real, ids[:, :-1], filler), np.where(real, ids[:, 1:], IGNORED)
    return Batch(torch.from_numpy(input_ids), torch.from_numpy(labels))


def _flat_ids(split: TokenizedSplit, indices: Indices) -> tuple[Ids, npt.NDArray[np.integer]]:
    """Return the ids of reviews as one flat array, and the offsets of the reviews in it and its length."""
    if isinstance(split, TokenizedReviews):
        reviews = split.read(indices)
        return np.concatenate(reviews), np.cumsum([0, *map(len, reviews)])
    # one flat array of all reviews' ids is faster than an array per review
    column = split.with_format("arrow")[indices]["input_ids"].combine_chunks()
    return column.values.to_numpy(), column.offsets.to_numpy()


def evaluation_batches(split: TokenizedSplit, block_size: int, batch_tokens: int) -> Iterator[Indices]:
    """Yield the indices of every review once, the shortest first, in batches of at most ``batch_tokens`` positions."""
    positions = positions_of(split, block_size)
    if len(positions):
        order = np.argsort(positions, kind="stable")
        ends = _cut(positions[order], max(batch_tokens, int(positions.max())))
        yield from np.split(order, ends[:-1])
