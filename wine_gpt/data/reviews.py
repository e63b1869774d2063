"""Load reviews from any source as distinct, typed records in three splits, cached on disk."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict
from datasets.arrow_writer import ArrowWriter
from filelock import FileLock

from wine_gpt.config import DataConfig
from wine_gpt.data.columns import BATCH_ROWS
from wine_gpt.data.records import SPLITS, ReviewFilter, requested_columns
from wine_gpt.data.report import DataReport
from wine_gpt.data.sources import Source, find_source
from wine_gpt.data.template import COMPOSED
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import read_json

# increase this when a change to the code changes the cache files of a source
CACHE_VERSION = 7
REPORT = "report.json"
CACHE_FILES = (REPORT, *(f"{split}.arrow" for split in SPLITS))
# the column of the texts without their headers, which has another name in each corpus
RUNNING_TEXT = "<running text>"


@dataclass(frozen=True)
class Reviews:
    """Distinct reviews, memory-mapped.

    Attributes:
        splits: train, validation and test. The columns are the fields and the running text, all strings; if
            one of them is Kaggle's, its other columns that the source has (points int64, price float64, the rest
            strings); and :data:`COMPOSED`: the whole text, before lower-casing.
        report: the counts of records kept and dropped.
        fingerprint: a hash of the texts, their order and their splits.
        folder: the folder of the cache, for further files that depend on the reviews.
    """

    splits: DatasetDict
    report: DataReport
    fingerprint: str
    folder: Path


def load_reviews(config: DataConfig) -> Reviews:
    """Read, filter and split the reviews, or load them from the cache.

    The cache is in the cache folder of ``datasets`` (``HF_DATASETS_CACHE``), written atomically, and valid until the
    settings or the file's path, size or modification time change.

    Raises:
        UserError: if the source can't be found or read, or no review falls into the train split.
    """
    source = find_source(config)
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "wine_gpt" / _cache_key(source, config)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not all((folder / name).is_file() for name in CACHE_FILES):
                shutil.rmtree(folder, ignore_errors=True)
                _prepare(source, config, folder)
    except OSError as error:
        problem = f"can't read {source.name} or write the cache {folder}: {one_line(error)}"
        raise UserError(f"data: {problem}; HF_DATASETS_CACHE names another folder for the cache") from error
    saved = read_json(folder / REPORT)
    splits = DatasetDict({split: Dataset.from_file(str(folder / f"{split}.arrow")) for split in SPLITS})
    # the cache may have been written when the source had another name, such as a relative path
    report = DataReport.from_dict(saved["report"])
    report = dataclasses.replace(report, source=source.name, from_hub=source.from_hub)
    return Reviews(splits, report, saved["fingerprint"], folder)


def load_recorded_reviews(config: DataConfig, fingerprint: str | None, run: str | Path) -> Reviews:
    """Load the reviews that a run was trained on.

    Args:
        config: the run's data settings, with the path to which the reviews were moved.
        fingerprint: what the run recorded; None, for a run that recorded none, is not compared.
        run: the run's folder, for the message.

    Raises:
        UserError: as :func:`load_reviews`, and if the reviews or their splits are others.
    """
    reviews = load_reviews(config)
    if fingerprint not in (None, reviews.fingerprint):
        raise UserError(
            f"data: {reviews.report.source} is not what {run} was trained on: its reviews or their splits differ; "
            "name the run's data with --data.path"
        )
    return reviews


def texts(split: Dataset, column: str = COMPOSED) -> Iterator[str]:
    """Yield the whole text of each review, or another column's, in batches that bound the memory."""
    for table in split.select_columns(column).with_format("arrow").iter(BATCH_ROWS):
        yield from table[column].to_pylist()


def column(split: Dataset, name: str) -> list[str]:
    """Return a column's values as text."""
    return [str(value) for value in split[name][:]]


def running_texts(splits: DatasetDict, text_field: str) -> DatasetDict:
    """Return the texts without their headers, as the one column :data:`RUNNING_TEXT`."""
    return splits.select_columns(text_field).rename_column(text_field, RUNNING_TEXT)


def _cache_key(source: Source, config: DataConfig) -> str:
    settings = dataclasses.replace(config, path="-")
    key = json.dumps([CACHE_VERSION, source.cache_key, dataclasses.asdict(settings)])
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()


def _prepare(source: Source, config: DataConfig, folder: Path) -> None:
    """Write the reviews and the report to a temporary folder and rename it when it is complete."""
    incomplete = folder.with_suffix(".incomplete")
    shutil.rmtree(incomplete, ignore_errors=True)
    incomplete.mkdir()
    try:
        reviews = ReviewFilter(config, source.name, incomplete)
        fingerprint = _write(reviews, source, config, incomplete)
        report = reviews.tally.report(source.name, config)
        _require_train(report, config)
        content = {"report": report.to_dict(), "fingerprint": fingerprint}
        (incomplete / REPORT).write_text(json.dumps(content), encoding="utf-8")
        incomplete.rename(folder)
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)


def _write(reviews: ReviewFilter, source: Source, config: DataConfig, folder: Path) -> str:
    """Write each split's Arrow file and return the reviews' fingerprint."""
    digests = {split: hashlib.blake2b(digest_size=16) for split in SPLITS}
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(ArrowWriter(path=str(folder / f"{split}.arrow"), writer_batch_size=BATCH_ROWS))
            for split in SPLITS
        }
        for split, table in reviews.reviews(source.read(requested_columns(config))):
            writers[split].write_table(table)
            digests[split].update(_joined(table[COMPOSED]).as_buffer())
        if reviews.tally.read:
            for writer in writers.values():
                writer.finalize()
    return hashlib.blake2b(b"".join(digests[split].digest() for split in SPLITS), digest_size=16).hexdigest()


def _joined(texts: pa.ChunkedArray) -> pa.Scalar:
    """Concatenate all texts, each followed by NUL, which no text holds."""
    ended = pc.binary_join_element_wise(texts, "", "\0").combine_chunks()
    return pc.binary_join(pa.ListArray.from_arrays([0, len(ended)], ended), "")[0]


def _require_train(report: DataReport, config: DataConfig) -> None:
    if report.splits["train"]:
        return
    if report.kept:
        raise UserError(f"{report.source}: {describe_empty_split(report, config, 'train')}")
    reasons = {"blank": report.blank, **{f"without {field}": count for field, count in report.dropped.items()}}
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    raise UserError(f"{report.source}: 0 usable rows of {report.read:,} read{counts and f': {counts}'}")


def describe_empty_split(report: DataReport, config: DataConfig, split: str) -> str:
    """Return why a split has no text, and what to do: duplicates are named if they are most of the records."""
    problem = f"none of the {report.kept:,} texts fell into the {split} split"
    if report.duplicates > report.kept:
        cause = f"{report.duplicates:,} of {report.read:,} records are duplicates"
        if config.deduplicate == "text":
            return (
                f"{problem}, because {cause}, with the {config.text_field} of an earlier record: "
                "--data.deduplicate record compares the prompt fields too"
            )
        return f"{problem}, because {cause}, equal to an earlier record in all fields: use more data"
    return f"{problem}: " + ("use more data" if split == "train" else f"raise data.{split}_fraction or use more data")
