"""Plan batches of reviews as a pure function of the reviews' lengths, the seed and the step.

Every review is a row of its own, so no review attends to another. Batches are cut from windows of reviews sorted by
length, so that the rows of a batch have nearly the same length and need little padding. Because the plan is a pure
function, resuming at step n needs no replay, and any number of processes derives the same global batches.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset

from wine_gpt.errors import UserError

Indices = npt.NDArray[np.int64]

# batches per window of reviews sorted by length: a larger window needs less padding, but a batch has fewer lengths
WINDOW_BATCHES = 64
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
        """Return the batch on ``device``."""
        return Batch(self.input_ids.to(device, non_blocking=True), self.labels.to(device, non_blocking=True))


class BatchPlan:
    """The reviews of each optimizer step.

    Args:
        positions: the number of positions of each review, int64 of shape (reviews,), each at least 1.
        batch_tokens: the largest number of positions of a batch, padding included.
        seed: the seed of the reviews' order.
        epochs: the number of passes over the reviews.
        rows_of_epoch: returns the indices of an epoch's reviews, the epoch counted from 0; None for all reviews.

    Raises:
        UserError: if one review has more positions than a batch may have.
    """

    def __init__(
        self,
        positions: npt.NDArray[np.int64],
        batch_tokens: int,
        seed: int,
        epochs: int,
        rows_of_epoch: Callable[[int], Indices] | None = None,
    ) -> None:
        if positions.max(initial=1) > batch_tokens:
            raise UserError(
                f"config: training.batch_tokens is {batch_tokens}: one review alone has {positions.max()} positions"
            )
        self.positions = positions
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.rows_of_epoch = rows_of_epoch
        # cached, because planning a large epoch is slow and consecutive steps are in one epoch
        self.epoch: Callable[[int], list[Indices]] = functools.lru_cache(maxsize=1)(self._plan_epoch)
        batch_sizes = [[len(batch) for batch in self.epoch(epoch)] for epoch in range(epochs)]
        self._steps_of_epoch = [len(sizes) for sizes in batch_sizes]
        # the number of reviews of the smallest batch
        self.smallest = min(min(sizes, default=0) for sizes in batch_sizes)
        self._epoch_ends = np.cumsum(self._steps_of_epoch)

    @property
    def total_steps(self) -> int:
        """The number of optimizer steps of all epochs."""
        return int(self._epoch_ends[-1])

    def epoch_of(self, step: int) -> int:
        """Return the epoch of a step; both count from 0."""
        return int(np.searchsorted(self._epoch_ends, step, side="right"))

    def ends_epoch(self, step: int) -> bool:
        """Return whether the step, from 0, is the last of its epoch."""
        return step + 1 in self._epoch_ends

    def batch(self, step: int) -> Indices:
        """Return the indices of the reviews of a step, from 0, the shortest review first."""
        epoch = self.epoch_of(step)
        first = self._epoch_ends[epoch] - self._steps_of_epoch[epoch]
        return self.epoch(epoch)[int(step - first)]

    def _plan_epoch(self, epoch: int) -> list[Indices]:
        """Return all batches of an epoch in order."""
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.positions) if self.rows_of_epoch is None else self.rows_of_epoch(epoch))
        mean = max(self.positions.mean(), 1) if len(self.positions) else 1
        size = max(int(WINDOW_BATCHES * self.batch_tokens / mean), 1)
        # windows of nearly equal size, because a small last window could give a batch of one review
        windows = np.array_split(order, -(-len(order) // size)) if len(order) else []
        batches = [
            batch for window in windows for batch in _cut(self._by_length(window), self.positions, self.batch_tokens)
        ]
        return [batches[index] for index in random.permutation(len(batches))]

    def padding_fraction(self) -> float:
        """Return the fraction of the first epoch's positions that are padding, 0 to 1."""
        padded = sum(len(batch) * self.positions[batch].max() for batch in self.epoch(0))
        return float(1 - sum(self.positions[batch].sum() for batch in self.epoch(0)) / padded)

    def _by_length(self, indices: Indices) -> Indices:
        # a stable sort keeps reviews of equal length in random order
        return indices[np.argsort(self.positions[indices], kind="stable")]


def _cut(indices: Indices, positions: npt.NDArray[np.int64], budget: int) -> list[Indices]:
    """Cut reviews, sorted by length, into the fewest batches within the budget, as equal in size as possible.

    A binary search finds the smallest budget that needs no more batches.
    """
    lengths = positions[indices]
    fewest = len(_ends(lengths, budget))
    low, high = int(lengths[-1]), budget
    while low < high:
        middle = (low + high) // 2
        if len(_ends(lengths, middle)) > fewest:
            low = middle + 1
        else:
            high = middle
    return np.split(indices, _ends(lengths, high)[:-1])


def _ends(lengths: npt.NDArray[np.int64], budget: int) -> list[int]:
    """Return the end of each batch if each batch takes as many of the ascending lengths as the budget allows."""
    ends, start = [], 0
    while start < len(lengths):
        ahead = lengths[start : start + budget // int(lengths[start])]
        cost = ahead * np.arange(1, len(ahead) + 1)
        start += max(int(np.searchsorted(cost, budget, side="right")), 1)
        ends.append(start)
    return ends


def positions_of(split: Dataset, block_size: int) -> npt.NDArray[np.int64]:
    """Return each tokenized review's number of positions, int64: its tokens minus one, at most ``block_size``."""
    return np.minimum(_lengths(split) - 1, block_size)


@dataclass(frozen=True)
class CutTexts:
    """How much of a split is not seen because texts are longer than the model's positions.

    Attributes:
        texts: the number of texts.
        cut: the number of texts with more positions than ``block_size``.
        words_cut: the fraction of all texts' words that are cut, 0 to 1.
        block_size: the model's positions.
    """

    texts: int
    cut: int
    words_cut: float
    block_size: int

    def __str__(self) -> str:
        words = f"{self.words_cut:.0%}" if self.words_cut >= 0.01 else f"{self.words_cut:.2%}"
        longer = "text is" if self.texts == 1 else "texts are"
        return (
            f"{self.cut:,} of {self.texts:,} {longer} longer than block_size {self.block_size}: "
            f"{words} of the words are not seen"
        )


def cut_texts(split: Dataset, block_size: int) -> CutTexts:
    """Count the tokenized texts of a split that are longer than ``block_size``."""
    # without [BOS] and [EOS]
    words = _lengths(split) - 2
    unseen = np.maximum(words - block_size, 0).sum() / max(words.sum(), 1)
    return CutTexts(len(split), int((words + 1 > block_size).sum()), float(unseen), block_size)


def _lengths(split: Dataset) -> npt.NDArray[np.int64]:
    return np.asarray(split.with_format("numpy")["length"][:], dtype=np.int64)


def split_into_micro_batches(indices: Indices, micro_batches: int) -> list[Indices]:
    """Split a batch into micro-batches of nearly equal size, one per forward pass."""
    return np.array_split(indices, micro_batches)


def collate(split: Dataset, indices: Indices, block_size: int, filler: int, positions: int = 1) -> Batch:
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
    # one flat array of all reviews' ids is faster than an array per review
    column = split.with_format("arrow")[indices]["input_ids"].combine_chunks()
    starts = column.offsets.to_numpy()[:-1, None]
    lengths = np.minimum(column.value_lengths().to_numpy(), block_size + 1)[:, None]
    columns = np.arange(max(lengths.max(), positions + 1))
    ids = column.values.to_numpy()[starts + np.minimum(columns, lengths - 1)].astype(np.int64)
    real = columns[1:] < lengths
    input_ids, labels = np.where(real, ids[:, :-1], filler), np.where(real, ids[:, 1:], IGNORED)
    return Batch(torch.from_numpy(input_ids), torch.from_numpy(labels))


def evaluation_batches(split: Dataset, block_size: int, batch_tokens: int) -> Iterator[Indices]:
    """Yield the indices of every review once, the shortest first, in batches of at most ``batch_tokens`` positions."""
    positions = positions_of(split, block_size)
    if len(positions):
        order = np.argsort(positions, kind="stable")
        yield from _cut(order, positions, max(batch_tokens, int(positions.max())))
