"""The formats of data files by their suffixes, the parsers of those that are text, and the reader of Parquet."""

from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from wine_gpt.data.columns import BATCH_ROWS, Batches, RequestedColumns
from wine_gpt.data.csv_format import parse_csv
from wine_gpt.data.json_format import parse_json, parse_json_lines
from wine_gpt.data.text_lines import parse_text_lines
from wine_gpt.errors import UserError, one_line

LINES_SUFFIX = ".txt"
TEXT_FORMATS = {
    ".json": parse_json,
    ".jsonl": parse_json_lines,
    ".ndjson": parse_json_lines,
    **dict.fromkeys((".csv", ".tsv", ".tab"), parse_csv),
    LINES_SUFFIX: parse_text_lines,
}
TABLE_SUFFIXES = (*(suffix for suffix in TEXT_FORMATS if suffix != LINES_SUFFIX), ".parquet")

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
