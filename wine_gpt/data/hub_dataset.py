"""Read a dataset of the Hugging Face Hub, or one that ``datasets.save_to_disk`` saved to a folder."""

import logging
from pathlib import Path

import datasets
import httpx2
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets.naming import camelcase_to_snakecase
from datasets.packaged_modules.cache.cache import Cache
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from wine_gpt.config import DataConfig
from wine_gpt.data.columns import BATCH_ROWS, Batches, RequestedColumns
from wine_gpt.errors import UserError, one_line
from wine_gpt.model_path import GATED_ADVICE, TIMEOUT

logger = logging.getLogger(__name__)

# the files that datasets.save_to_disk writes for a DatasetDict and for a Dataset
SAVED_FILES = ("dataset_dict.json", "state.json")
# how load_dataset's ValueErrors begin for a wrong or missing data.name
CONFIGURATION_ERRORS = ("BuilderConfig ", "Config name is missing")
LOAD_ERRORS = (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError, httpx2.HTTPError)


def load_hub_dataset(config: DataConfig) -> Dataset:
    """Load all splits of the dataset ``config.path`` as one, because reviews are split by their content.

    Raises:
        UserError: if the Hub can't be reached, or the dataset, revision or configuration is not there.
    """
    name = f"data.path: the Hub's dataset {config.path!r}"
    hub_answers = _require_access(config, name)
    try:
        if not hub_answers:
            return all_splits(_load_cached(config))
        return all_splits(datasets.load_dataset(config.path, config.name, revision=config.revision))
    except LOAD_ERRORS as error:
        # load_dataset drops the cause
        if "gated dataset" in str(error):
            raise UserError(f"{name} is gated: {GATED_ADVICE}") from error
        if str(error).startswith(CONFIGURATION_ERRORS):
            known = ", ".join(datasets.get_dataset_config_names(config.path, revision=config.revision))
            raise UserError(f"{name} has these configurations, of which data.name must be one: {known}") from error
        raise UserError(f"{name} can't be loaded: {one_line(error)}") from error


def load_saved_dataset(folder: Path, name: str) -> Dataset:
    """Load a folder of ``datasets.save_to_disk``, all splits as one.

    Raises:
        UserError: if a file is missing or damaged.
    """
    try:
        return all_splits(datasets.load_from_disk(str(folder)))
    except (*LOAD_ERRORS, KeyError) as error:
        raise UserError(f"{name}: can't be loaded as a folder of save_to_disk: {one_line(error)}") from error


def is_saved_dataset(folder: Path) -> bool:
    """Return whether ``datasets.save_to_disk`` wrote the folder."""
    return any((folder / file).is_file() for file in SAVED_FILES)


def all_splits(loaded: Dataset | DatasetDict) -> Dataset:
    """Return a dataset's splits as one dataset."""
    return datasets.concatenate_datasets(list(loaded.values())) if isinstance(loaded, DatasetDict) else loaded


def read_dataset(data: Dataset, name: str, columns: RequestedColumns) -> Batches:
    """Yield the requested columns of a dataset in memory or on disk."""
    chosen = columns.choose(data.column_names, name)
    for table in data.select_columns(list(chosen.values())).with_format("arrow").iter(BATCH_ROWS):
        named = with_class_names(table, data.features)
        yield from named.rename_columns(list(chosen)).combine_chunks().to_batches()


def with_class_names(table: pa.Table, features: Features) -> pa.Table:
    """Return a dataset's table with the names of classes in place of their numbers; -1, no class, becomes null."""
    for index, column in enumerate(table.column_names):
        feature = features[column]
        if isinstance(feature, ClassLabel):
            numbers = table.column(index)
            known = pc.if_else(pc.less(numbers, 0), pa.scalar(None, numbers.type), numbers)
            table = table.set_column(index, column, pc.take(pa.array(feature.names, pa.string()), known))
    return table


def _require_access(config: DataConfig, name: str) -> bool:
    """Ask the Hub for the dataset once, because ``load_dataset`` retries an unreachable Hub for 23 seconds.

    Returns:
        Whether the Hub answers; if not, the dataset is cached.
    """
    try:
        HfApi().dataset_info(config.path, revision=config.revision, timeout=TIMEOUT)
        return True
    except OfflineModeIsEnabled:
        return True
    except GatedRepoError as error:
        raise UserError(f"{name} is gated: {GATED_ADVICE}") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"{name} is not there, or is private: no file has that name either") from error
    except RevisionNotFoundError as error:
        raise UserError(f"{name} has no revision {config.revision!r}") from error
    # an id that the Hub does not allow is a ValueError, and so is an answer that is no JSON, as of a login page
    except (httpx2.HTTPError, ValueError) as error:
        is_refused = isinstance(error, ValueError) or (isinstance(error, HfHubHTTPError) and _is_refusal(error))
        # the cache does not tell which version a branch or tag is
        if not is_refused and config.revision is None and _is_cached(config.path):
            logger.warning("%s: the Hub can't be reached; the version that was loaded last is read", name)
            return False
        reason = " can't be loaded" if is_refused else ": the Hub can't be reached"
        raise UserError(f"{name}{reason}: {one_line(error)}; if you meant a file, no file has that name") from error


def _load_cached(config: DataConfig) -> DatasetDict:
    """Load the dataset as it was prepared last, without a request to the Hub, as ``load_dataset`` does in the end."""
    settings = {"repo_id": config.path, "dataset_name": config.path.split("/")[-1], "config_name": config.name}
    builder = Cache(**settings, version="auto", hash="auto")
    builder.download_and_prepare()
    return builder.as_dataset()


def _is_refusal(error: HfHubHTTPError) -> bool:
    """Return whether the Hub refuses a request, and is neither overloaded nor limits the rate of requests."""
    return error.response.status_code < 500 and error.response.status_code != 429


def _is_cached(repository: str) -> bool:
    owner, name = repository.split("/")
    # as datasets names the folder
    return (Path(datasets.config.HF_DATASETS_CACHE) / f"{owner}___{camelcase_to_snakecase(name)}").is_dir()
