"""Reviews to batches: a pure function of the reviews' lengths, the seed and the step.

Every review is a row of its own, so none sees another. Rows of a batch have nearly the same length, because batches
are cut from windows of reviews that were sorted by length; so little is padded. Nothing here holds a state: resuming
at step n needs no replay, and any number of processes derives the same global batches.
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

# batches' worth of reviews that are sorted by length together: more pad less, but mix lengths less from step to step
WINDOW_BATCHES = 64
# what torch's and transformers' losses skip
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
        """Return the batch on another device."""
        return Batch(self.input_ids.to(device, non_blocking=True), self.labels.to(device, non_blocking=True))


class BatchPlan:
    """Which reviews each optimizer step sees.

    Args:
        positions: the positions of each review, an int array of shape (reviews,), each at least 1.
        batch_tokens: most positions of a batch, padding included.
        seed: of the order of the reviews.
        epochs: how often each review is seen.

    Raises:
        UserError: if one review alone has more positions than a batch may have.
    """

    def __init__(self, positions: npt.NDArray[np.int64], batch_tokens: int, seed: int, epochs: int) -> None:
        if positions.max(initial=1) > batch_tokens:
            raise UserError(
                f"config: training.batch_tokens is {batch_tokens}: one review alone has {positions.max()} positions"
            )
        self.positions = positions
        self.batch_tokens = batch_tokens
        self.seed = seed
        # planning a large epoch takes a while, and steps ask for the same one in a row
        self.epoch: Callable[[int], list[Indices]] = functools.lru_cache(maxsize=1)(self._plan_epoch)
        batch_sizes = [[len(batch) for batch in self.epoch(epoch)] for epoch in range(epochs)]
        self._steps_of_epoch = [len(sizes) for sizes in batch_sizes]
        # reviews of the batch that has the fewest
        self.smallest = min(min(sizes, default=0) for sizes in batch_sizes)
        self._epoch_ends = np.cumsum(self._steps_of_epoch)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all epochs together."""
        return int(self._epoch_ends[-1])

    def epoch_of(self, step: int) -> int:
        """Return the epoch, from 0, that the step, from 0, belongs to."""
        return int(np.searchsorted(self._epoch_ends, step, side="right"))

    def ends_epoch(self, step: int) -> bool:
        """Tell whether the step, from 0, is the last of its epoch."""
        return step + 1 in self._epoch_ends

    def batch(self, step: int) -> Indices:
        """Return the indices of the reviews that the step, from 0, sees, shortest review first."""
        epoch = self.epoch_of(step)
        first = self._epoch_ends[epoch] - self._steps_of_epoch[epoch]
        return self.epoch(epoch)[int(step - first)]

    def _plan_epoch(self, epoch: int) -> list[Indices]:
        """Return all batches of an epoch in their order."""
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.positions))
        mean = max(self.positions.mean(), 1) if len(self.positions) else 1
        window = max(int(WINDOW_BATCHES * self.batch_tokens / mean), 1)
        # of equal size: a last one with what is left over could be a batch of one review
        windows = np.array_split(order, -(-len(order) // window)) if len(order) else []
        batches = [
            batch for part in windows for batch in _cut(self._by_length(part), self.positions, self.batch_tokens)
        ]
        return [batches[index] for index in random.permutation(len(batches))]

    def padding_fraction(self) -> float:
        """Return the share of positions, over the first epoch, that hold padding; 0 to 1."""
        padded = sum(len(batch) * self.positions[batch].max() for batch in self.epoch(0))
        return float(1 - self.positions.sum() / padded)

    def _by_length(self, indices: Indices) -> Indices:
        # stable: reviews of one length stay in their random order
        return indices[np.argsort(self.positions[indices], kind="stable")]


def _cut(indices: Indices, positions: npt.NDArray[np.int64], budget: int) -> list[Indices]:
    """Cut reviews, sorted by length, into the fewest batches within the budget, of as equal a size as can be."""
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
    """Return where each batch ends if each takes as many of the ascending lengths as the budget allows."""
    ends, start = [], 0
    while start < len(lengths):
        ahead = lengths[start : start + budget // int(lengths[start])]
        cost = ahead * np.arange(1, len(ahead) + 1)
        start += max(int(np.searchsorted(cost, budget, side="right")), 1)
        ends.append(start)
    return ends


def positions_of(split: Dataset, block_size: int) -> npt.NDArray[np.int64]:
    """Return the positions of each tokenized review: all its tokens but the last, at most ``block_size``."""
    return np.minimum(_lengths(split) - 1, block_size)


def reviews_cut(split: Dataset, block_size: int) -> int:
    """Return how many tokenized reviews lose their tail because they have more positions than the model."""
    return int((_lengths(split) - 1 > block_size).sum())


def _lengths(split: Dataset) -> npt.NDArray[np.int64]:
    return np.asarray(split.with_format("numpy")["length"][:], dtype=np.int64)


def split_into_micro_batches(indices: Indices, micro_batches: int) -> list[Indices]:
    """Cut a batch into equal parts, one per forward pass."""
    return np.array_split(indices, micro_batches)


def collate(split: Dataset, indices: Indices, block_size: int, filler: int, positions: int = 1) -> Batch:
    """Read the reviews at ``indices`` from a tokenized split and fill them up to one length, at least ``positions``.

    A review longer than ``block_size`` positions loses its tail, end of text included. The model attends to earlier
    positions only, so what stands on the right changes nothing before it and no attention mask is needed. It is
    ``filler``, best the end of text: at a padding id, transformers would look for that mask in each forward pass.
    """
    # one flat array for all reviews, without one for each
    column = split.with_format("arrow")[indices]["input_ids"].combine_chunks()
    starts = column.offsets.to_numpy()[:-1, None]
    lengths = np.minimum(column.value_lengths().to_numpy(), block_size + 1)[:, None]
    columns = np.arange(max(lengths.max(), positions + 1))
    ids = column.values.to_numpy()[starts + np.minimum(columns, lengths - 1)].astype(np.int64)
    real = columns[1:] < lengths
    input_ids, labels = np.where(real, ids[:, :-1], filler), np.where(real, ids[:, 1:], IGNORED)
    return Batch(torch.from_numpy(input_ids), torch.from_numpy(labels))


def in_order(split: Dataset, block_size: int, batch_tokens: int) -> Iterator[Indices]:
    """Yield the indices of every review once, by length, in batches within the budget: for evaluation."""
    positions = positions_of(split, block_size)
    if len(positions):
        order = np.argsort(positions, kind="stable")
        yield from _cut(order, positions, max(batch_tokens, int(positions.max())))
