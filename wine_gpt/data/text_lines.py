"""Read a text file that has one text per line and no columns."""

import itertools
from typing import TextIO

import pyarrow as pa

from wine_gpt.data.columns import BATCH_ROWS, Batches, RequestedColumns
from wine_gpt.errors import UserError


def parse_text_lines(text: TextIO, name: str, columns: RequestedColumns) -> Batches:
    """Read each line as the one requested column, without white space at its ends; a blank line is a blank row.

    Raises:
        UserError: if more than one column is requested.
    """
    if len(columns.required) != 1:
        fields = ", ".join(columns.required[:-1])
        raise UserError(
            f"{name}: has one text per line and no columns {fields}: "
            'set --data.prompt_fields "[]", and --data.prefix "" or to the words that every text begins with'
        )
    while lines := list(itertools.islice(text, BATCH_ROWS)):
        values = pa.array([line.strip() or None for line in lines], pa.string())
        yield pa.record_batch([values], names=list(columns.required))
