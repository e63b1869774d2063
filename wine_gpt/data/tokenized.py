"""Read tokenized reviews from the files in which ``datasets`` caches them, without importing datasets or Arrow.

A training process needs the token ids only, and datasets with pandas and Arrow takes as much memory as the activations
of a step; see "Memory" in benchmarks/RESULTS.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from wine_gpt.files import JsonObject

if TYPE_CHECKING:
    from datasets import Dataset

Ids = npt.NDArray[np.int32]


class ListBatch(NamedTuple):
    """Where a record batch's lists of ids are in an Arrow file, in bytes from its start.

    Arrow stores lists of int32 as one array of values and, for each list and after the last one, an int32 offset.
    """

    reviews: int
    offsets: int
    values: int


class TokenizedReviews:
    """The token ids of reviews in a memory-mapped Arrow file.

    Args:
        file: the Arrow file; None without reviews.
        batches: its record batches.
    """

    def __init__(self, file: Path | None, batches: Sequence[ListBatch]) -> None:
        self._file = file
        self._batches = batches
        self._bytes = np.memmap(file, np.uint8, "r") if file else np.empty(0, np.uint8)
        self._ends = np.cumsum([batch.reviews for batch in batches], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def lengths(self) -> Iterator[Ids]:
        """Yield the number of tokens of the reviews, int32 of shape (reviews,), batch after batch."""
        for batch in self._batches:
            yield np.diff(self._offsets(batch))

    def read(self, indices: npt.NDArray[np.int64]) -> list[Ids]:
        """Return the ids of each of the reviews at ``indices``, int32 of shape (tokens,), as views of the file."""
        batches = np.searchsorted(self._ends, indices, side="right")
        return [
            self._ids(self._batches[batch], int(index - self._ends[batch] + self._batches[batch].reviews))
            for batch, index in zip(batches, indices, strict=True)
        ]

    def _ids(self, batch: ListBatch, row: int) -> Ids:
        first, end = self._int32(batch.offsets + 4 * row, 2).tolist()
        return self._int32(batch.values + 4 * first, end - first)

    def _offsets(self, batch: ListBatch) -> Ids:
        return self._int32(batch.offsets, batch.reviews + 1)

    def _int32(self, start: int, count: int) -> Ids:
        return self._bytes[start : start + 4 * count].view(np.int32)

    def to_dict(self) -> JsonObject:
        """Return what :meth:`from_dict` reads in another process."""
        return {"file": None if self._file is None else str(self._file), "batches": self._batches}

    @classmethod
    def from_dict(cls, content: JsonObject) -> Self:
        """Read what :meth:`to_dict` returned."""
        file = content["file"]
        return cls(None if file is None else Path(file), [ListBatch(*batch) for batch in content["batches"]])


def locate(split: "Dataset") -> TokenizedReviews:
    """Return the reviews of a tokenized split that is in one file of the cache, or is empty.

    Raises:
        ValueError: if the split is not a whole file.
    """
    import pyarrow as pa

    if not len(split):
        return TokenizedReviews(None, [])
    (file,) = [Path(entry["filename"]) for entry in split.cache_files]
    with pa.memory_map(str(file)) as source:
        begin = source.read_buffer().address
        source.seek(0)
        batches = []
        for record_batch in pa.ipc.open_stream(source):
            _, offsets, _, values = record_batch["input_ids"].buffers()
            batches.append(ListBatch(record_batch.num_rows, offsets.address - begin, values.address - begin))
    if sum(batch.reviews for batch in batches) != len(split):
        raise ValueError(f"{file} has other reviews than the split")
    return TokenizedReviews(file, batches)


# as strings, because datasets is not imported in a process that trains
TokenizedSplit: TypeAlias = "Dataset | TokenizedReviews"
TokenizedSplits: TypeAlias = "Mapping[str, Dataset] | Mapping[str, TokenizedReviews]"
