"""Save a table in memory as Parquet, so that the config of a run can name it and the run can be resumed."""

import hashlib
import io
from pathlib import Path

import datasets
import pandas as pd
from datasets import Dataset, DatasetDict

from wine_gpt.data.hub_dataset import all_splits
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import make_folder, write_atomically

TABLES = (Dataset, DatasetDict, pd.DataFrame)


def save_table(data: Dataset | DatasetDict | pd.DataFrame) -> Path:
    """Save a table in the cache folder of ``datasets`` and return its path, which names its content.

    Args:
        data: a dataset, all splits of a ``DatasetDict`` together, or a pandas data frame without its index.

    Raises:
        UserError: if a column can't be saved, or the folder can't be written.
    """
    stream = io.BytesIO()
    try:
        if isinstance(data, pd.DataFrame):
            data.to_parquet(stream, index=False)
        else:
            all_splits(data).to_parquet(stream)
        content = stream.getvalue()
        name = hashlib.blake2b(content, digest_size=12).hexdigest()
        path = Path(datasets.config.HF_DATASETS_CACHE).absolute() / "wine_gpt" / "tables" / f"{name}.parquet"
        if not path.exists():
            make_folder(path.parent)
            write_atomically(path, content)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"data: the {type(data).__name__} can't be saved as Parquet: {one_line(error)}") from error
    return path
