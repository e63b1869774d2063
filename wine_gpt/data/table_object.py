"""Save a table in memory as Parquet, so that the config of a run can name it and the run can be resumed."""

import hashlib
import io
import logging
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict

from wine_gpt.data.columns import REMOVED
from wine_gpt.data.hub_dataset import all_splits, with_class_names
from wine_gpt.errors import LONE_SURROGATE, UserError, one_line
from wine_gpt.files import make_folder, write_atomically

logger = logging.getLogger(__name__)

TABLES = (Dataset, DatasetDict, pd.DataFrame)


def save_table(data: Dataset | DatasetDict | pd.DataFrame) -> Path:
    """Save a table in the cache folder of ``datasets`` and return its path, which names its content.

    Args:
        data: a dataset, all splits of a ``DatasetDict`` together, or a pandas data frame, whose index is a column if
            it has a name.

    Raises:
        UserError: if the dataset can't be saved, or the folder can't be written.
    """
    stream = io.BytesIO()
    try:
        table = _table_of_frame(data) if isinstance(data, pd.DataFrame) else _table_of_dataset(all_splits(data))
        pq.write_table(table, stream)
        content = stream.getvalue()
        name = hashlib.blake2b(content, digest_size=12).hexdigest()
        path = _tables() / type(data).__name__ / f"{name}.parquet"
        if not path.exists():
            make_folder(path.parent)
            write_atomically(path, content)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"data: the {type(data).__name__} can't be saved as Parquet: {one_line(error)}") from error
    return path


def table_name(path: Path) -> str | None:
    """Return the type of the table that a file was saved from, such as DataFrame; none for another file."""
    return path.parent.name if path.parent.parent == _tables() else None


def _tables() -> Path:
    return Path(datasets.config.HF_DATASETS_CACHE).absolute() / "wine_gpt" / "tables"


def _table_of_dataset(data: Dataset) -> pa.Table:
    """Return a dataset's table without the columns that Parquet can't hold, because no text may need them."""
    table = with_class_names(data.with_format("arrow")[:], data.features)
    left_out = [column.name for column in table.schema if not _is_writable(column.type)]
    for label in left_out:
        _warn_of_column(label, "Dataset")
    return table.drop_columns(left_out)


def _table_of_frame(frame: pd.DataFrame) -> pa.Table:
    """Convert a data frame column by column, because a column that no text needs must not be an error."""
    index = {name for name in frame.index.names if name is not None}
    if index and not index & set(frame.columns):
        frame = frame.reset_index()
    labels = [str(label) for label in frame.columns]
    arrays = [_arrow_array(frame.iloc[:, position]) for position in range(len(labels))]
    for label in (label for label, array in zip(labels, arrays, strict=True) if array is None):
        _warn_of_column(label, "DataFrame")
    kept = {position: array for position, array in enumerate(arrays) if array is not None}
    return pa.Table.from_arrays(list(kept.values()), [labels[position] for position in kept])


def _arrow_array(values: pd.Series) -> pa.Array | pa.ChunkedArray | None:
    """Convert a column, other values than Parquet's to texts; none if they have no text form."""
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        pass
    else:
        # of a period, an interval or a UUID, Arrow stores numbers and bytes
        if _is_writable(array.type) and not isinstance(array.type, pa.BaseExtensionType):
            return array
    present = values.notna()
    if not all(map(_has_text, values[present])):
        return None
    texts = [str(value) if there else None for value, there in zip(values, present, strict=True)]
    return pa.array([text and LONE_SURROGATE.sub(REMOVED, text) for text in texts], pa.string())


def _is_writable(type_: pa.DataType) -> bool:
    """Return whether Parquet can hold a column of a type."""
    try:
        pq.write_table(pa.schema([("values", type_)]).empty_table(), io.BytesIO())
    except pa.ArrowException:
        return False
    return True


def _warn_of_column(label: str, table: str) -> None:
    logger.warning("data: column %r of the %s is left out: its values are neither texts nor numbers", label, table)


def _has_text(value: object) -> bool:
    nested = (list, tuple, dict, set, np.ndarray)
    return not isinstance(value, nested) and type(value).__repr__ is not object.__repr__
