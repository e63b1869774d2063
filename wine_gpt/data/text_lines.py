"""Read a text file that has one text per line and no columns."""

import itertools
from collections.abc import Iterator
from typing import TextIO

import pyarrow as pa

from wine_gpt.data.columns import BATCH_ROWS, Batches, RequestedColumns
from wine_gpt.data.csv_format import detect, parse_table
from wine_gpt.data.csv_rows import Lines, split_cells
from wine_gpt.data.json_format import begins_with_json, parse_json
from wine_gpt.errors import UserError

# number of lines that must look like those of a table
COMPARED = 4


def parse_text_lines(text: TextIO, name: str, columns: RequestedColumns) -> Batches:
    """Read each line as the one requested column, without white space at its ends; a blank line is a blank row.

    A table or JSON that is named ``.txt`` is read as what it is.

    Raises:
        UserError: if more than one column is requested.
    """
    lines = Lines(text)
    if begins_with_json(lines.beginning()):
        yield from parse_json(text, name, columns, "".join(lines.ahead))
    elif _is_table(lines, columns):
        yield from parse_table(lines, name, columns)
    elif len(columns.required) > 1:
        fields = ", ".join(columns.required[:-1])
        raise UserError(
            f"{name}: has one text per line and no columns {fields}: "
            'set --data.prompt_fields "[]", and --data.prefix "" or to the words that every text begins with'
        )
    else:
        yield from _texts(itertools.chain(lines.ahead, text), columns.required[0])


def _texts(lines: Iterator[str], column: str) -> Batches:
    while batch := list(itertools.islice(lines, BATCH_ROWS)):
        values = pa.array([line.strip() or None for line in batch], pa.string())
        yield pa.record_batch([values], names=[column])


def _is_table(lines: Lines, columns: RequestedColumns) -> bool:
    """Return whether the first line names the columns; for one column, which may be a word, the next lines count."""
    header = lines.peek_record()
    if not header:
        return False
    compared = map(lines.peek, range(COMPARED))
    first, *others = split_cells(compared, detect(header, columns), spaced=True)
    if columns.present(first) < len(columns.required):
        return False
    is_regular = len(first) > 1 and all(len(cells) == len(first) for cells in others if cells)
    return is_regular or len(columns.required) > 1
