"""Read JSON and JSON Lines as Arrow record batches of the requested columns.

Messages number records from 1. Readers stream, so memory does not grow with the number of records.
"""

import itertools
import json
import re
from collections.abc import Iterator
from typing import TextIO

import pyarrow as pa

from wine_gpt.data.columns import BATCH_ROWS, REMOVED, Batches, RequestedColumns
from wine_gpt.errors import UserError, one_line

CHUNK = 1 << 20
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
JSON_SPACE = re.compile(r"[ \t\n\r]*")
JSON_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?=\{)")
# reads NaN and Infinity, which Python writes although JSON does not have them, as null
DECODER = json.JSONDecoder(parse_constant=lambda constant: None)
# the record of every blank row; one object, so that blank rows take no memory
BLANK: dict[str, object] = {}

Record = dict[str, object]


def parse_json(text: TextIO, name: str, columns: RequestedColumns) -> Batches:
    """Read one JSON array of records, as in Kaggle's file, or JSON Lines with the same suffix.

    Raises:
        UserError: if the text is neither; the message has the record's number and the position in the file.
    """
    array = _JsonArray(text, name)
    first = array.peek()
    if first == "{":
        text.seek(0)
        return parse_json_lines(text, name, columns)
    if first != "[":
        raise UserError(f"{name}: " + ("holds nothing" if not first else "holds neither a JSON array nor JSON Lines"))
    return _batches(array.records(), name, columns)


def parse_json_lines(text: TextIO, name: str, columns: RequestedColumns) -> Batches:
    """Read one JSON object per line; a blank line is a blank row.

    Raises:
        UserError: if a line is not a JSON object; the message has the line's number.
    """

    def records() -> Iterator[Record]:
        for number, line in enumerate(text, start=1):
            if line.isspace():
                yield BLANK
                continue
            try:
                value = DECODER.decode(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{name}: line {number:,} is no whole JSON object: {_reason(error)}") from None
            yield _record(value, name, "line", number)

    return _batches(records(), name, columns)


class _JsonArray:
    """Reads one JSON array in chunks, so that only a chunk is in memory."""

    def __init__(self, text: TextIO, name: str) -> None:
        self.text = text
        self.name = name
        self.buffer = ""
        self.position = 0
        # characters and lines before the buffer
        self.characters = 0
        self.lines = 0

    def records(self) -> Iterator[Record]:
        """Yield the array's records, which must be objects."""
        self.position += 1
        if self.peek() == "]":
            self.position += 1
        else:
            for number in itertools.count(1):
                yield _record(self._value(number), self.name, "record", number)
                if comma := JSON_COMMA.match(self.buffer, self.position):
                    self.position = comma.end()
                elif self._ends_after(number):
                    break
        if self.peek():
            raise UserError(f"{self.name}: something follows the array at {self._location(self.position)}")

    def _ends_after(self, number: int) -> bool:
        """Read the comma or bracket after a record; return whether it was the bracket."""
        separator = self.peek()
        if separator not in (",", "]"):
            raise self._fault(number, "no comma or ] after it" if separator else "the file ends after it")
        self.position += 1
        if separator == ",":
            self.peek()
        return separator == "]"

    def peek(self) -> str:
        """Skip white space and return the next character, or an empty string at the end of the file."""
        while True:
            character = self.buffer[self.position : self.position + 1]
            if character and character not in " \t\n\r":
                return character
            match = JSON_SPACE.match(self.buffer, self.position)
            self.position = match.end() if match else self.position
            if self.position == len(self.buffer) and not self._read_more():
                return ""

    def _value(self, number: int) -> object:
        """Parse the value at the current position; if that fails, read more and try again until the file ends."""
        while True:
            try:
                value, self.position = DECODER.raw_decode(self.buffer, self.position)
                return value
            except (ValueError, RecursionError) as error:
                fault = error
            if not self._read_more():
                raise self._fault(number, _reason(fault), getattr(fault, "pos", self.position))

    def _read_more(self) -> bool:
        # double the buffer for a long value, so that all attempts to parse it take linear time together
        more = self.text.read(max(CHUNK, len(self.buffer) - self.position))
        if more:
            self.characters += self.position
            self.lines += self.buffer.count("\n", 0, self.position)
            self.buffer = self.buffer[self.position :] + more
            self.position = 0
        return bool(more)

    def _fault(self, number: int, reason: str, position: int | None = None) -> UserError:
        location = self._location(self.position if position is None else position)
        return UserError(f"{self.name}: record {number:,} is no whole JSON object: {reason} at {location}")

    def _location(self, position: int) -> str:
        line = 1 + self.lines + self.buffer.count("\n", 0, position)
        return f"character {self.characters + position:,} (line {line:,})"


def _reason(error: ValueError | RecursionError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)


def _record(value: object, name: str, unit: str, number: int) -> Record:
    if not isinstance(value, dict):
        raise UserError(f"{name}: {unit} {number:,} is {_kind_of(value)}, not an object with the columns as keys")
    return value or BLANK


def _kind_of(value: object) -> str:
    kinds = {list: "a list", dict: "an object", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _batches(records: Iterator[Record], name: str, columns: RequestedColumns) -> Batches:
    """Convert records to batches; the columns are the keys of the first batch that has any."""
    chosen: dict[str, str] | None = None
    read = 0
    while batch := list(itertools.islice(records, BATCH_ROWS)):
        if chosen is None:
            # a batch of blank rows has no keys, so read more
            while not any(batch) and (more := list(itertools.islice(records, BATCH_ROWS))):
                batch += more
            found = list(dict.fromkeys(itertools.chain.from_iterable(batch)))
            chosen = columns.choose(found, name) if found else {column: column for column in columns.required}
        yield _to_batch(batch, list(chosen.values()), name, read + 1).rename_columns(list(chosen))
        read += len(batch)


def _to_batch(records: list[Record], names: list[str], name: str, first: int) -> pa.RecordBatch:
    """Convert records, numbered from ``first``, to columns of strings or floats."""
    fields = [(column, _column_type(records, column)) for column in names]
    try:
        return pa.RecordBatch.from_struct_array(pa.array(records, pa.struct(fields)))
    except (ValueError, TypeError, OverflowError):
        # text among numbers, lone surrogates, huge integers or lists: convert value by value
        values = [
            [_as_text(record.get(column), column, name, number) for number, record in enumerate(records, first)]
            for column in names
        ]
        return pa.record_batch([pa.array(column, pa.string()) for column in values], names=names)


def _column_type(records: list[Record], column: str) -> pa.DataType:
    """Infer a column's type from its first value; floats hold integers up to 2^53 exactly."""
    first = next((value for record in records if (value := record.get(column)) is not None), None)
    return pa.float64() if isinstance(first, int | float) and not isinstance(first, bool) else pa.string()


def _as_text(value: object, column: str, name: str, number: int) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return LONE_SURROGATE.sub(REMOVED, value)
    if isinstance(value, list | dict):
        raise UserError(f"{name}: record {number:,}: {column} is {_kind_of(value)}, not a text or a number")
    return str(value).removesuffix(".0").lower()
