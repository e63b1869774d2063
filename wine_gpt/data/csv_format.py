"""Read CSV as Arrow record batches of the requested columns, a batch at a time."""

import csv
import itertools
import re
from collections.abc import Iterator
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc

from wine_gpt.config import SEPARATORS
from wine_gpt.data.columns import BATCH_ROWS, Batches, RequestedColumns
from wine_gpt.errors import UserError

DETECTED = (",", ";", "\t", "|")
# the line with which Excel names the separator; a spreadsheet that saved it again may have quoted it
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*\s*', re.IGNORECASE)
HEADER = "the first line is taken for the header"
# number of records among which the header is looked for, if the first one is none
SEARCHED = 20
# number of lines that a header may have
HEADER_LINES = 100


def parse_csv(text: TextIO, name: str, columns: RequestedColumns) -> Batches:
    """Read CSV with a header; skip columns without a name, such as Kaggle's index; an empty cell is null.

    Raises:
        UserError: for a quote that is not closed or a wrong number of cells; the message has the line's number.
    """
    csv.field_size_limit(2**31 - 1)
    lines = _Lines(text)
    separator = lines.skip_separator_line()
    start = lines.peek_record()
    if not start:
        raise UserError(f"{name}: holds nothing")
    separator = SEPARATORS.get(columns.separator or "", columns.separator) or separator or _detect(start, columns)
    # after "country, province" the cells too have a space after each separator
    spaced = separator != " " and f"{separator} " in start[0]
    rows = _rows(csv.reader(lines, strict=True, delimiter=separator, skipinitialspace=spaced), lines, name)
    header = next(rows)
    chosen = columns.choose(header, name, _header_advice(header, rows, lines, columns))
    indices = [header.index(column) for column in chosen.values()]
    while batch := [_checked(row, len(header), lines, name) for row in itertools.islice(rows, BATCH_ROWS)]:
        cells = list(zip(*batch, strict=True))
        values = [pa.array(cells[index], pa.string()) for index in indices]
        filled = [pc.if_else(pc.equal(column, ""), None, column) for column in values]
        yield pa.record_batch(filled, names=list(chosen))


class _Lines:
    """Iterates over the lines of a text, counts them, and looks ahead."""

    def __init__(self, text: TextIO) -> None:
        self.text = text
        self.ahead: list[str] = []
        self.number = 0
        self.line = ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.line = self.ahead.pop(0) if self.ahead else next(self.text)
        self.number += 1
        return self.line

    def skip_separator_line(self) -> str | None:
        """Skip a first line such as ``sep=;`` and return its separator."""
        self.ahead = list(itertools.islice(self.text, 1))
        match = SEPARATOR_LINE.fullmatch(self.ahead[0].lstrip("\ufeff")) if self.ahead else None
        if match:
            next(self)
        return match and match[1]

    def peek_record(self) -> list[str]:
        """Skip blank lines, and return the lines of the next record without reading them."""
        while _is_blank(self._peek(0).split(",")) and self._peek(0):
            next(self)
        for count in range(1, HEADER_LINES):
            # within a quoted cell that has line breaks, the number of quotes is odd
            if not self._peek(count - 1) or not sum(line.count('"') for line in self.ahead[:count]) % 2:
                break
        return self.ahead[:count]

    def _peek(self, index: int) -> str:
        self.ahead += itertools.islice(self.text, max(0, index + 1 - len(self.ahead)))
        return self.ahead[index] if index < len(self.ahead) else ""


def _detect(start: list[str], columns: RequestedColumns) -> str:
    """Return the separator with which the header has the most required columns, else the one with the most cells."""

    def quality(separator: str) -> tuple[int, int]:
        header = next(csv.reader(start, delimiter=separator, skipinitialspace=True))
        return columns.present(header), len(header)

    return max(DETECTED, key=quality)


def _header_advice(header: list[str], rows: Iterator[list[str]], lines: _Lines, columns: RequestedColumns) -> str:
    """Return what may be wrong if the header has no required column."""
    if columns.present(header):
        return ""
    for row in itertools.islice(rows, SEARCHED):
        if columns.present(row) == len(columns.required):
            return f"{HEADER}, but line {lines.number:,} has these names: delete the lines above it"
    return f"{HEADER}: add a line with the columns' names if there is none"


def _checked(row: list[str], width: int, lines: _Lines, name: str) -> list[str]:
    """Return a row with as many cells as the header."""
    if len(row) == width:
        return row
    if _is_blank(row):
        return [""] * width
    if _is_blank(row[width:]) and len(row) > width:
        # separators at the end of the line
        return row[:width]
    advice = "; a cell with the separator or a line break needs quotes around it" if len(row) > width else ""
    cells = f"{len(row)} cell{'' if len(row) == 1 else 's'}"
    raise UserError(f"{name}: line {lines.number:,} has {cells}, the header {width}{advice}{_quote_advice(lines)}")


def _rows(reader: Any, lines: _Lines, name: str) -> Iterator[list[str]]:  # noqa: ANN401 - csv.reader's type is private
    while True:
        start = lines.number + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            advice = _quote_advice(lines)
            raise UserError(f"{name}: the record that starts in line {start:,} is broken: {error}{advice}") from None


def _quote_advice(lines: _Lines) -> str:
    return '; write a quote inside a cell as "", not as \\"' if '\\"' in lines.line else ""


def _is_blank(cells: list[str]) -> bool:
    return not any(map(str.strip, cells))
