"""Read CSV as Arrow record batches of the requested columns, a batch at a time."""

import csv
import itertools
from collections.abc import Iterator
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc

from wine_gpt.data.columns import BATCH_ROWS, Batches, RequestedColumns
from wine_gpt.errors import UserError


def parse_csv(text: TextIO, name: str, columns: RequestedColumns) -> Batches:
    """Read CSV with a header; skip columns without a name, such as Kaggle's index; an empty cell is null.

    Raises:
        UserError: for a quote that is not closed or a wrong number of cells; the message has the line's number.
    """
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(text, strict=True)
    rows = _csv_rows(reader, name)
    header = next((row for row in rows if row), None)
    if header is None:
        raise UserError(f"{name}: holds nothing")
    names = columns.choose(header, name)
    indices = [header.index(column) for column in names]
    blank = [""] * len(header)

    def checked(row: list[str]) -> list[str]:
        if len(row) not in (0, len(header)):
            raise UserError(f"{name}: line {reader.line_num:,} has {len(row)} cells, the header {len(header)}")
        return row or blank

    while batch := [checked(row) for row in itertools.islice(rows, BATCH_ROWS)]:
        cells = list(zip(*batch, strict=True))
        values = [pa.array(cells[index], pa.string()) for index in indices]
        yield pa.record_batch([pc.if_else(pc.equal(column, ""), None, column) for column in values], names=names)


def _csv_rows(reader: Any, name: str) -> Iterator[list[str]]:  # noqa: ANN401 - csv.reader's type has no public name
    while True:
        start = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{name}: the record that starts in line {start:,} is broken: {error}") from None
