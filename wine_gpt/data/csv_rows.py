"""Split the lines of a CSV or TSV file into the cells of its records."""

import csv
import itertools
from collections.abc import Iterable, Iterator
from typing import TextIO

from wine_gpt.errors import UserError

# most lines of a header
HEADER_LINES = 100
# most lines of a record whose separator is in UNQUOTED
RECORD_LINES = 10_000
# most characters of a cell: the largest C long of every machine, because texts are cut later
CELL_CHARACTERS = 2**31 - 1
# separators of files that are often written without quoting, so that a quote may be a letter
UNQUOTED = ("\t", "|")


def split_cells(lines: Iterable[str], separator: str, spaced: bool, strict: bool = False) -> Iterator[list[str]]:
    """Return the cells of each record.

    Args:
        lines: of one or more records.
        separator: the character between the cells.
        spaced: whether spaces follow the separators.
        strict: whether wrong quotes are an error, not letters.
    """
    csv.field_size_limit(CELL_CHARACTERS)
    return csv.reader(lines, strict=strict, delimiter=separator, skipinitialspace=spaced)


class Lines:
    """Iterates over the lines of a text, counts them, and looks ahead."""

    def __init__(self, text: TextIO) -> None:
        self.text = text
        self.ahead: list[str] = []
        self.number = 0
        self.line = ""

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        self.line = self.ahead.pop(0) if self.ahead else next(self.text)
        self.number += 1
        return self.line

    def peek(self, index: int = 0) -> str:
        """Return a following line, counted from 0, without reading it; an empty string if there is none."""
        self.ahead += itertools.islice(self.text, max(0, index + 1 - len(self.ahead)))
        return self.ahead[index] if index < len(self.ahead) else ""

    def beginning(self) -> str:
        """Return the first lines without reading them."""
        return "".join(map(self.peek, range(3)))

    def peek_record(self) -> list[str]:
        """Return the lines of the next record without reading them."""
        for count in range(1, HEADER_LINES):
            # within a quoted cell that has line breaks, the number of quotes is odd
            if not self.peek(count - 1) or not sum(line.count('"') for line in self.ahead[:count]) % 2:
                break
        return self.ahead[:count]


class RowReader:
    """Reads rows: lists of cells.

    Args:
        lines: the rest of the file.
        name: the source, for messages.
        separator: the character between the cells.
        spaced: whether spaces follow the separators.
    """

    def __init__(self, lines: Lines, name: str, separator: str, spaced: bool) -> None:
        self.lines = lines
        self.name = name
        self.separator = separator
        self.spaced = spaced

    def header(self) -> list[str]:
        """Read the header."""
        return next(self._named_errors(self._quoted_rows(self.lines)), [])

    def rows(self, width: int) -> Iterator[list[str]]:
        """Read the other rows, of which most have ``width`` cells.

        Raises:
            UserError: for wrong quotes; the message has the number of the record's first line.
        """
        is_quoted = self.separator not in UNQUOTED or width == 1
        return self._named_errors(self._quoted_rows(self.lines) if is_quoted else self._unquoted_rows(width))

    def quote_advice(self) -> str:
        """Return what is wrong with the last line's quotes, for messages."""
        return '; write a quote inside a cell as "", not as \\"' if '\\"' in self.lines.line else ""

    def _named_errors(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        start = self.lines.number + 1
        try:
            for row in rows:
                yield row
                start = self.lines.number + 1
        except csv.Error as error:
            problem = f"the record that starts in line {start:,} is broken: {error}"
            raise UserError(f"{self.name}: {problem}{self.quote_advice()}") from None

    def _quoted_rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        return split_cells(lines, self.separator, self.spaced, strict=True)

    def _unquoted_rows(self, width: int) -> Iterator[list[str]]:
        """Yield the cells of each line, or of the lines over which a quoted cell extends."""
        for line in self.lines:
            cells = line.rstrip("\r\n").split(self.separator)
            if self.spaced:
                cells = [cell.strip(" ") for cell in cells]
            if '"' in line and any(cell.startswith('"') for cell in cells):
                cells = self._closed(line, cells, width)
            yield cells

    def _closed(self, line: str, cells: list[str], width: int) -> list[str]:
        """Return the cells of the record that begins in a line; its quotes are letters if they are not closed there.

        Args:
            line: has a cell that begins with a quote.
            cells: those of the line if its quotes are letters.
            width: the number of cells of a row.
        """
        try:
            row = next(self._quoted_rows([line]))
        except csv.Error:
            following = self.lines.peek()
            # the next line is a whole row too, so that no cell extends into it
            if len(cells) == width and (not following or following.count(self.separator) == width - 1):
                return cells
            return self._closed_later(line) or self._require_width(cells, width)
        # quotes are letters if only the cells that ignore them are as many as the header's
        return cells if len(cells) == width != len(row) else row

    def _closed_later(self, line: str) -> list[str]:
        """Read the lines of a record up to the one that closes its quotes; read nothing if there is none."""
        quotes = line.count('"')
        for count in range(1, RECORD_LINES):
            following = self.lines.peek(count - 1)
            quotes += following.count('"')
            if not following:
                break
            if not quotes % 2:
                return next(self._quoted_rows([line, *itertools.islice(self.lines, count)]))
        return []

    def _require_width(self, cells: list[str], width: int) -> list[str]:
        if len(cells) != width:
            raise csv.Error("a quote is not closed, or is closed inside a cell")
        return cells
