"""Keep the teacher's predictions for every position of synthetic reviews on disk.

The folder of the targets has the synthetic reviews, and for each position the likeliest words, their probabilities
and the probability of all other words, as NumPy files that are memory-mapped. It is written to a temporary folder and
renamed when it is complete.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from datasets import Dataset, DatasetInfo, concatenate_datasets
from transformers import PreTrainedTokenizerFast

from wine_gpt.data.batching import Indices, collate, evaluation_batches, positions_of, rows_of
from wine_gpt.distillation.ensemble import Ensemble
from wine_gpt.distillation.synthetic import sample_reviews
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import JsonObject, make_folder, read_json, sha256, sync, write_json
from wine_gpt.modeling.cross_entropy import LIKELIEST, PREDICTED_POSITIONS, SoftTargets, likeliest
from wine_gpt.progress import Progress

logger = get_logger(__name__)

# increase this when a change to the code changes the targets
TARGETS_VERSION = 1

# names of the NumPy files
REVIEWS, LENGTHS = "reviews", "lengths"
IDS, PROBABILITIES, REST, STARTS = "ids", "probabilities", "rest", "starts"
# written last
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Request:
    """Which targets to make.

    Attributes:
        sources: hashes of what else decides the targets, as a JSON object: reviews, tokenizer and members.
        synthetic_reviews: the number of reviews that the ensemble's members write.
        seed: the seed of the sampling.
    """

    sources: JsonObject
    synthetic_reviews: int
    seed: int

    @property
    def made_from(self) -> JsonObject:
        """All that decides the targets, as the manifest has it."""
        own = {"synthetic_reviews": self.synthetic_reviews, "seed": self.seed}
        return {**self.sources, **own, "words": LIKELIEST, "version": TARGETS_VERSION}

    @property
    def fingerprint(self) -> str:
        """A hash of :attr:`made_from`."""
        return hashlib.blake2b(json.dumps(self.made_from, sort_keys=True).encode(), digest_size=16).hexdigest()


class TargetStore:
    """Real and synthetic reviews, and the targets of the synthetic ones.

    Args:
        folder: a folder that :func:`load_or_make` wrote.
        real: the tokenized real reviews.
        block_size: the model's positions.
        sets: into how many sets of equal size the synthetic reviews are divided.

    Attributes:
        reviews: the real reviews, followed by the synthetic ones.
    """

    def __init__(self, folder: Path, real: Dataset, block_size: int, sets: int = 1) -> None:
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in (REVIEWS, LENGTHS, IDS, PROBABILITIES, REST, STARTS)
        }
        synthetic = _dataset(arrays[REVIEWS], arrays[LENGTHS], real)
        self.reviews: Dataset = concatenate_datasets([real, synthetic])
        self._ids, self._probabilities, self._rest = arrays[IDS], arrays[PROBABILITIES], arrays[REST]
        self._starts = np.concatenate([np.zeros(len(real), np.int64), arrays[STARTS]])
        self._real = np.arange(len(real))
        self._sets = np.split(np.arange(len(real), len(self.reviews)), sets)
        self._positions = positions_of(self.reviews, block_size)

    def rows_of_epoch(self, epoch: int) -> Indices:
        """Return the indices of an epoch's reviews, int64: all real ones and one set of synthetic ones, in turn."""
        return np.concatenate([self._real, self._sets[epoch % len(self._sets)]])

    def soft_targets(self, reviews: Indices) -> SoftTargets:
        """Return the targets of all positions of some reviews, one after the other; real ones have the label alone."""
        positions = self._positions[reviews]
        rows = rows_of(self._starts[reviews], positions)
        # a real review has no predictions and reads any rows, whose weight is 0
        rows = np.minimum(rows, len(self._ids) - 1)
        probabilities, rest = (
            torch.from_numpy(array[rows].astype(np.float32)) for array in (self._probabilities, self._rest)
        )
        weight = torch.from_numpy(np.repeat(reviews >= len(self._real), positions).astype(np.float32))
        # rounding to float16 has changed the sum a little
        scale = weight / (probabilities.sum(1) + rest)
        ids = torch.from_numpy(self._ids[rows].astype(np.int64))
        return SoftTargets(ids, probabilities * scale[:, None], rest * scale, 1 - weight)


def load_or_make(
    folder: Path,
    request: Request,
    ensemble: Ensemble,
    tokenizer: PreTrainedTokenizerFast,
    real: Dataset,
    accelerator: Accelerator,
) -> None:
    """Make sure that a folder has the targets, and make them if it lacks them, they are damaged or out of date.

    Args:
        folder: the folder of the targets.
        request: which targets to make; others are replaced.
        ensemble: the teacher.
        tokenizer: its tokenizer.
        real: the tokenized real reviews.
        accelerator: has the precision of the matmuls.

    Raises:
        UserError: if the disk is full or the folder can't be written.
    """
    if _is_complete(folder, request.made_from):
        logger.info(f"targets: those in {folder}")
        return
    temporary = folder.with_name(f".tmp-{folder.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        make_folder(temporary)
        _write(temporary, request, ensemble, tokenizer, real, accelerator)
        checksums = {file.name: sha256(file) for file in sorted(temporary.iterdir())}
        write_json(temporary / MANIFEST, {"made_from": request.made_from, "sha256": checksums})
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        sync(folder.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        free = shutil.disk_usage(folder.parent).free if folder.parent.is_dir() else 0
        problem, needed = error.strerror or one_line(error), _size(real, request)
        raise UserError(
            f"targets: can't write {folder}: {problem}; about {needed:,} bytes needed, {free:,} free"
        ) from error


def _write(
    folder: Path,
    request: Request,
    ensemble: Ensemble,
    tokenizer: PreTrainedTokenizerFast,
    real: Dataset,
    accelerator: Accelerator,
) -> None:
    """Sample the synthetic reviews and write all files but the manifest."""
    count = request.synthetic_reviews
    written = list(sample_reviews(ensemble.models, tokenizer, count, request.seed))
    lengths = np.fromiter(map(len, written), np.int32, len(written))
    flat = np.fromiter((index for review in written for index in review), np.int32, lengths.sum())
    np.save(folder / f"{REVIEWS}.npy", flat)
    np.save(folder / f"{LENGTHS}.npy", lengths)
    reviews = _dataset(flat, lengths, real)
    block_size = ensemble.model.config.n_positions
    positions = positions_of(reviews, block_size)
    batches = list(evaluation_batches(reviews, block_size, PREDICTED_POSITIONS))
    order = np.concatenate(batches)
    starts = np.empty(len(reviews), np.int64)
    starts[order] = np.cumsum(positions[order]) - positions[order]
    np.save(folder / f"{STARTS}.npy", starts)
    # autocast is the precision of training, because float32 would take several times as long
    with accelerator.autocast(), contextlib.closing(Progress(len(batches))) as progress:
        predictions = _predictions(ensemble, reviews, batches, tokenizer.eos_token_id, progress)
        _write_predictions(folder, int(positions.sum()), predictions)
    for file in folder.iterdir():
        sync(file)


def _predictions(
    ensemble: Ensemble, reviews: Dataset, batches: list[Indices], filler: int, progress: Progress
) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
    """Yield the rows of :data:`IDS`, :data:`PROBABILITIES` and :data:`REST` of each batch."""
    vocabulary, block_size = ensemble.model.config.vocab_size, ensemble.model.config.n_positions
    id_type = np.uint16 if vocabulary <= 2**16 else np.int32
    for indices in batches:
        batch = collate(reviews, indices, block_size, filler).to(ensemble.model.device)
        ids, probabilities, rest = likeliest(ensemble.probabilities(batch))
        yield {
            IDS: ids.cpu().numpy().astype(id_type),
            PROBABILITIES: probabilities.half().cpu().numpy(),
            REST: rest.half().cpu().numpy(),
        }
        progress.step("predicting each word with all members")


def _write_predictions(folder: Path, rows: int, predictions: Iterator[dict[str, npt.NDArray[np.generic]]]) -> None:
    """Append to NumPy files, not to memory maps, because a full disk would kill a process that writes to a map."""
    files: dict[str, BinaryIO] = {}
    try:
        for chunk in predictions:
            for name, values in chunk.items():
                if name not in files:
                    files[name] = (folder / f"{name}.npy").open("wb")
                    header = {"descr": values.dtype.str, "fortran_order": False, "shape": (rows, *values.shape[1:])}
                    np.lib.format.write_array_header_1_0(files[name], header)
                files[name].write(values.tobytes())
    finally:
        for file in files.values():
            file.close()


def _dataset(flat: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32], like: Dataset) -> Dataset:
    """Return tokenized reviews with the columns of another dataset of reviews."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.asarray(flat)))
    table = pa.table({"input_ids": ids, "length": pa.array(np.asarray(lengths))})
    return Dataset(table, info=DatasetInfo(features=like.features))


def _is_complete(folder: Path, made_from: JsonObject) -> bool:
    """Return whether a folder has undamaged targets that were made from the same."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        manifest = read_json(folder / MANIFEST)
    except UserError as error:
        logger.warning(f"targets: {error}: made again")
        return False
    if manifest.get("made_from") != made_from:
        logger.info(f"targets: those in {folder} are replaced, because members or settings changed")
        return False
    for name, expected in manifest["sha256"].items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            logger.warning(f"targets: {folder / name} is missing or damaged: made again")
            return False
    return True


def _size(real: Dataset, request: Request) -> int:
    """Return about how many bytes the targets take if synthetic reviews are as long as real ones."""
    lengths = np.asarray(real.with_format("numpy")["length"][:], np.int64)
    return int(lengths.mean() * request.synthetic_reviews * 4 * LIKELIEST)
