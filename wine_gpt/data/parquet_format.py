"""Read Parquet as Arrow record batches of the requested columns, smaller than a row group."""

from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from wine_gpt.data.columns import BATCH_ROWS, Batches, RequestedColumns
from wine_gpt.errors import UserError, one_line

BUFFER_BYTES = 1 << 20


def read_parquet(binary: IO[bytes], name: str, columns: RequestedColumns) -> Batches:
    """Read Parquet in batches smaller than a row group, from a file with random access.

    Raises:
        UserError: if the file is cut short or damaged.
    """
    try:
        # read through a buffer, because a row group may be the whole file and not fit into memory
        with pq.ParquetFile(binary, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
            chosen = columns.choose(file.schema_arrow.names, name)
            for batch in file.iter_batches(BATCH_ROWS, columns=list(chosen.values()), use_threads=False):
                # raise for strings that are not UTF-8
                batch.validate(full=True)
                yield batch.select(list(chosen.values())).rename_columns(list(chosen))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: is cut short or damaged: {one_line(error)}") from error
