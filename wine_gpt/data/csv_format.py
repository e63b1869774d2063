"""Read CSV and TSV as Arrow record batches of the requested columns, a batch at a time."""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc

from wine_gpt.config import column_name
from wine_gpt.data.columns import BATCH_ROWS, SKIPPED, Batches, RequestedColumns
from wine_gpt.data.csv_rows import Lines, RowReader, split_cells
from wine_gpt.data.json_format import BLANK_CHARACTERS, begins_with_json, parse_json
from wine_gpt.errors import UserError

DETECTED = (",", ";", "\t", "|", " ")
# the line with which Excel names the separator; a spreadsheet that saved it again may have quoted it
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*\s*', re.IGNORECASE)
# a line that Markdown, psql or MySQL draws in a table, and psql's last line
RULE = re.compile(r"[-+|:=\s]*--[-+|:=\s]*|\(\d+ rows?\)\s*")
HEADER = "the first line is taken for the header"
# number of records among which the header is looked for, if the first one is none
SEARCHED = 20


def parse_csv(text: TextIO, name: str, columns: RequestedColumns) -> Batches:
    """Read CSV with a header; skip columns without a name, such as Kaggle's index; an empty cell is null.

    JSON that is named CSV is read as JSON.

    Raises:
        UserError: for a quote that is not closed or a wrong number of cells; the message has the line's number.
    """
    yield from parse_table(Lines(text), name, columns)


def parse_table(lines: Lines, name: str, columns: RequestedColumns) -> Batches:
    """Read the lines of a CSV file as :func:`parse_csv` does."""
    separator = _skip_separator_line(lines)
    while lines.peek() and (_is_blank(lines.peek().split(",")) or RULE.fullmatch(lines.peek())):
        next(lines)
    start = lines.peek_record()
    if not start:
        raise UserError(f"{name}: holds nothing")
    if begins_with_json(lines.beginning()):
        yield from parse_json(lines.text, name, columns, "".join(lines.ahead), lines.number)
        return
    separator = columns.separator or separator or detect(start, columns)
    # after "country, province" the cells too have a space after each separator
    spaced = separator != " " and f"{separator} " in start[0]
    yield from _Table(RowReader(lines, name, separator, spaced), columns).batches()


def detect(header: list[str], columns: RequestedColumns) -> str:
    """Return the separator with which the header has the most required columns, else the one with the most cells.

    Args:
        header: its lines.
        columns: the columns to read.
    """

    def quality(separator: str) -> tuple[int, int]:
        cells = next(split_cells(header, separator, spaced=True))
        present = columns.present(cells)
        # names and texts have spaces, so a space separates only if nothing else gives all of several names
        if separator == " ":
            return (present if present == len(columns.required) > 1 else 0), 0
        return present, len(cells)

    return max(DETECTED, key=quality)


class _Table:
    """The header of a CSV file and the records below it."""

    def __init__(self, reader: RowReader, columns: RequestedColumns) -> None:
        self.reader = reader
        self.columns = columns
        # repeated headers and drawn lines since the last batch
        self.skipped = 0
        self.header = reader.header()
        self.rows = reader.rows(len(self.header))
        chosen = columns.choose(self.header, reader.name, self._header_advice())
        first = list(itertools.islice(self.rows, 1))
        if first and len(first[0]) == len(self.header) + 1 and reader.lines.line.startswith('"1"'):
            # R's write.table quotes the row names, and writes no name above them
            self.header, self.rows = ["", *self.header], reader.rows(len(self.header) + 1)
        self.rows = itertools.chain(first, self.rows)
        self.names = list(chosen)
        self.indices = [self.header.index(column) for column in chosen.values()]

    def batches(self) -> Batches:
        """Yield the requested columns."""
        records = self._records()
        while batch := list(itertools.islice(records, BATCH_ROWS)):
            cells = list(zip(*batch, strict=True))
            values = [pa.array(cells[index], pa.string()) for index in self.indices]
            filled = [pc.if_else(pc.equal(column, ""), None, column) for column in values]
            metadata = {SKIPPED: str(self.skipped)} if self.skipped else None
            self.skipped = 0
            yield pa.record_batch(filled, names=self.names, metadata=metadata)

    def _records(self) -> Iterator[list[str]]:
        """Yield the rows with as many cells as the header, without repeated headers and drawn lines."""
        width, index = len(self.header), self.indices[0]
        # a file that was appended may begin with a byte order mark
        names = {f"{mark}{name}" for mark in ("", "\ufeff") for name in (*self.header, *self.names)}
        is_below_header = True
        for row in self.rows:
            if not is_below_header and len(row) == width and row[index] not in names:
                yield row
                continue
            kept = self._fitted(row) if len(row) != width else row
            if kept and not (is_below_header and _is_rule(kept)) and not self._repeats_header(kept):
                is_below_header = False
                yield kept
            else:
                is_below_header = True
                self.skipped += 1

    def _fitted(self, row: list[str]) -> list[str]:
        """Return a row of another number of cells with as many as the header, or nothing for a drawn line."""
        width = len(self.header)
        if _is_rule(row):
            return []
        if _is_blank(row):
            return [""] * width
        if _is_blank(row[width:]) and len(row) > width:
            # separators at the end of the line
            return row[:width]
        joined = _unescaped(row, self.reader.separator)
        if len(joined) == width:
            return joined
        raise self._wrong_width(row)

    def _wrong_width(self, row: list[str]) -> UserError:
        width, more = len(self.header), len(row) > len(self.header)
        location = f"{self.reader.name}: line {self.reader.lines.number:,}"
        if self.columns.present(row) == len(self.columns.required):
            return UserError(f"{location} is a header with other columns than the first: make it a file of its own")
        advice = "; a cell with the separator or a line break needs double quotes around it" if more else ""
        if self.reader.separator == " ":
            advice = "; its cells are separated by spaces: save a table of fixed width as CSV"
        if len(row) == width + 1 and row[0] == "1":
            advice += "; if the first cells are R's row names: write.table(..., row.names = FALSE)"
        cells = f"{len(row)} cell{'' if len(row) == 1 else 's'}"
        return UserError(f"{location} has {cells}, the header {width}{advice}{self.reader.quote_advice()}")

    def _repeats_header(self, row: list[str]) -> bool:
        """Return whether a row has the names of the columns.

        Raises:
            UserError: if it has them in another order.
        """
        found = [column_name(row[index]) for index in self.indices]
        if found != self.names and self.columns.present(row) == len(self.columns.required):
            location = f"{self.reader.name}: line {self.reader.lines.number:,}"
            raise UserError(f"{location} is a header with another order of columns: make it a file of its own")
        return found == self.names

    def _header_advice(self) -> str:
        """Return what may be wrong if the header has no required column."""
        if self.columns.present(self.header):
            return ""
        if len(self.header) == 1 < len(self.columns.required) and all(
            column in self.header[0] for column in self.columns.required
        ):
            return "the header is one cell: name its separator with --data.separator"
        for row in itertools.islice(self.rows, SEARCHED):
            if self.columns.present(row) == len(self.columns.required):
                return f"{HEADER}, but line {self.reader.lines.number:,} has these names: delete the lines above it"
        if len(self.header) == len(self.columns.required) == 1:
            return f"{HEADER}: a file with one text per line and no header is named .txt"
        return f"{HEADER}: add a line with the columns' names if there is none"


def _skip_separator_line(lines: Lines) -> str | None:
    """Skip a first line such as ``sep=;`` and return its separator."""
    match = SEPARATOR_LINE.fullmatch(lines.peek().lstrip("\ufeff"))
    if match:
        next(lines)
    return match and match[1]


def _unescaped(row: list[str], separator: str) -> list[str]:
    r"""Join the cells of a row whose separators inside cells are written as ``\,``."""
    joined = [""]
    for cell in row:
        if joined[-1].endswith("\\"):
            joined[-1] = joined[-1][:-1] + separator + cell
        else:
            joined.append(cell)
    return joined[1:]


def _is_rule(row: Iterable[str]) -> bool:
    return RULE.fullmatch("".join(row)) is not None


def _is_blank(cells: list[str]) -> bool:
    return not any(cell.strip().strip(BLANK_CHARACTERS) for cell in cells)
