"""Read JSON and JSON Lines as Arrow record batches of the requested columns.

Messages number records from 1. Readers stream, so memory does not grow with the number of records, except for
one object of columns or of indices, as pandas' ``to_json()`` writes it, which is read whole.
"""

import io
import itertools
import json
import logging
import re
import reprlib
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

import pyarrow as pa

from wine_gpt.config import column_name
from wine_gpt.data.columns import BATCH_ROWS, REMOVED, UNREAD, UNREAD_EXAMPLE, Batches, RequestedColumns
from wine_gpt.errors import LONE_SURROGATE, UserError, one_line

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
# the first line of JSON that is not JSON Lines
MULTILINE = re.compile(r"\s*(\[\s*\{|[\[{]\s*[\r\n])")
# the beginning of an object, or of an array of objects or texts
BEGINNING = re.compile(r'\s*(\[\s*)?\{\s*"|\s*\[\s*"[^\n]*"\s*[,\]]\s*$', re.MULTILINE)
# white space, what pads a file at its end (zeros, and MS-DOS' mark of an end of file), and RFC 7464's separator
BLANK_CHARACTERS = " \t\n\r\0\x1a\x1e"
JSON_SPACE = re.compile(f"[{BLANK_CHARACTERS}]*")
JSON_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?=\{)")
# reads NaN and Infinity, which Python writes although JSON does not have them, as null
DECODER = json.JSONDecoder(parse_constant=lambda constant: None)
# longest token, in characters, that the end of a buffer may cut: -Infinity or the two escapes of a surrogate pair
LONGEST_TOKEN = 16
# characters of a file that are quoted in a message
SHOWN_START = 40
AS_RECORDS = "write an array of objects; pandas: to_json(orient='records')"
PYTHON = "Python's notation; write the file with json.dump"
# what was probably meant, by the character before an error's position and those after it
NOTATIONS = {
    ".'": PYTHON,
    ".?(None|True|False)": PYTHON,
    ".?(//|/[*]|#)": "JSON has no comments",
    ",[]}]": "delete the comma before it",
    "},": "objects separated by commas need [ ] around them",
}
# the record of every blank row; one object, so that blank rows take no memory
BLANK: dict[str, object] = {}

Record = dict[str, object]


def begins_with_json(text: str) -> bool:
    """Return whether the beginning of a file is that of JSON and not of a table or a text."""
    return BEGINNING.match(text) is not None


def parse_json(text: TextIO, name: str, columns: RequestedColumns, buffer: str = "", lines: int = 0) -> Batches:
    """Read one JSON array of records, as in Kaggle's file; objects without an array; or one object of columns.

    Args:
        text: the rest of the text.
        name: the source, for messages.
        columns: the columns to read.
        buffer: the beginning of the text, if it is already read.
        lines: the number of lines before the buffer.

    Raises:
        UserError: if the text is none of them; the message has the record's number and the position in the file.
    """
    reader = _JsonReader(text, name, buffer, lines)
    first = reader.peek()
    if not first:
        raise UserError(f"{name}: holds nothing")
    if first not in "[{":
        raise _not_json(reader.buffer[reader.position :], name)
    return _batches(reader.records(columns), name, columns)


def parse_json_lines(text: TextIO, name: str, columns: RequestedColumns) -> Batches:
    """Read one JSON object per line; a blank line is a blank row. JSON of another shape is read as such.

    Raises:
        UserError: if a line is not a JSON object; the message has the line's number.
    """

    def records() -> Iterator[Record]:
        number = 0
        for number, line in enumerate(text, start=1):  # noqa: B007 - used after the loop
            if not line.isspace():
                break
            yield BLANK
        else:
            return
        if line.lstrip()[0] not in "[{":
            raise _not_json(line.strip(), name)
        if MULTILINE.match(line):
            yield from _JsonReader(text, name, line, number - 1).records(columns)
        else:
            yield from _line_records(itertools.chain([line], text), name, number)

    return _batches(records(), name, columns)


def _not_json(text: str, name: str) -> UserError:
    start = text.splitlines()[0][:SHOWN_START]
    return UserError(f"{name}: holds neither a JSON array nor JSON Lines: it begins with {start!r}")


def _line_records(lines: Iterable[str], name: str, first: int) -> Iterator[Record]:
    """Yield the record of each line, the lines numbered from ``first``."""
    for number, line in enumerate(lines, first):
        content = line.strip(BLANK_CHARACTERS)
        if not content or content.isspace():
            yield BLANK
            continue
        try:
            value = DECODER.decode(content)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}: line {number:,} is no whole JSON object: {_reason(error)}") from None
        yield _record(value, name, "line", number)


def _object_records(value: Record, name: str, columns: RequestedColumns) -> Iterable[Record]:
    """Return the records in a file of one object: columns, an array of records, records by their index, or one record.

    These are the shapes of pandas' to_json with orient columns, table and index, and of wrapped arrays.
    """
    if columns.present(list(value)) and any(isinstance(part, list | dict) for part in value.values()):
        return _column_records(value, name, columns)
    arrays = [part for part in value.values() if isinstance(part, list) and _holds_records(part, columns)]
    if len(arrays) == 1:
        return arrays[0]
    if _holds_records(list(value.values()), columns):
        return cast(Iterable[Record], value.values())
    if any(isinstance(part, list | dict) for part in value.values()):
        keys = textwrap.shorten(", ".join(value), 80, placeholder=" …")
        raise UserError(f"{name}: is one JSON object with the keys {keys}, not an array of records; {AS_RECORDS}")
    return [value]


def _column_records(value: Record, name: str, columns: RequestedColumns) -> Iterable[Record]:
    """Return the records of an object whose columns are lists, or objects with one value per index."""
    keys = list(columns.choose(list(value), name).values())
    parts = [value[key] for key in keys]
    if all(isinstance(part, dict) for part in parts):
        objects = cast(list[Record], parts)
        rows = dict.fromkeys(itertools.chain.from_iterable(objects))
        return [dict(zip(keys, (part.get(row) for part in objects), strict=True)) for row in rows]
    if not all(isinstance(part, list) for part in parts):
        return [value]
    lists = cast(list[list[object]], parts)
    if len(set(map(len, lists))) > 1:
        counts = ", ".join(f"{key} {len(part):,}" for key, part in zip(keys, lists, strict=True))
        raise UserError(f"{name}: the columns have different numbers of values: {counts}")
    return (dict(zip(keys, row, strict=True)) for row in zip(*lists, strict=True))


def _holds_records(values: list[Any], columns: RequestedColumns) -> bool:
    return bool(values) and all(isinstance(value, dict) for value in values) and columns.present(list(values[0])) > 0


class _JsonReader:
    """Reads a JSON array or a sequence of objects in chunks, so that only a chunk is in memory.

    Args:
        text: the rest of the text.
        name: the source, for messages.
        buffer: the beginning of the text, if it is already read.
        lines: the number of lines before the buffer.
    """

    def __init__(self, text: TextIO, name: str, buffer: str = "", lines: int = 0) -> None:
        self.text = text
        self.name = name
        self.buffer = buffer
        self.position = 0
        # characters and lines before the buffer
        self.characters = 0
        self.lines = lines
        # whether the buffer's whole records may be parsed at once
        self.at_once = True

    def records(self, columns: RequestedColumns) -> Iterator[Record]:
        """Yield the records, which must be objects."""
        return self._array() if self.peek() == "[" else self._objects(columns)

    def _objects(self, columns: RequestedColumns) -> Iterator[Record]:
        """Yield objects without an array around them: JSON Lines, or objects of several lines each."""
        begin = self._line(self.position)
        value = self._value(1)
        end = self._line(self.position)
        record = _record(value, self.name, "record", 1)
        if not self.peek():
            records = _object_records(record, self.name, columns)
            yield from (_record(value, self.name, "record", number) for number, value in enumerate(records, 1))
            return
        yield record
        following = self._line(self.position)
        if begin == end < following:
            yield from _line_records(self._rest(), self.name, following)
            return
        for number in itertools.count(2):
            yield _record(self._value(number), self.name, "record", number)
            if not self.peek():
                return

    def _rest(self) -> Iterator[str]:
        """Yield the lines from the current position."""
        while self.buffer.endswith("\r") and (more := self.text.read(1)):
            # the first half of a line end
            self.buffer += more
        for line in io.StringIO(self.buffer[self.position :], newline=""):
            yield line if line.endswith(("\n", "\r")) else line + self.text.readline()
        yield from self.text

    def _array(self) -> Iterator[Record]:
        self.position += 1
        if self.peek() == "[":
            raise UserError(f"{self.name}: is an array of lists, so its values have no columns' names; {AS_RECORDS}")
        if self.peek() == "]":
            self.position += 1
        else:
            number = 0
            while True:
                for value in self._whole_values() or [self._value(number + 1)]:
                    number += 1
                    yield _record(value, self.name, "record", number)
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
        if separator == "," and self.peek() == "]":
            location = self._location(self.position)
            raise UserError(f"{self.name}: delete the comma after record {number:,}, before the ] at {location}")
        return separator == "]"

    def peek(self) -> str:
        """Skip white space and return the next character, or an empty string at the end of the file."""
        while True:
            character = self.buffer[self.position : self.position + 1]
            if character and character not in BLANK_CHARACTERS:
                return character
            match = JSON_SPACE.match(self.buffer, self.position)
            self.position = match.end() if match else self.position
            if self.position == len(self.buffer) and not self._read_more():
                return ""

    def _whole_values(self) -> list[object]:
        """Parse the values up to the last brace of the buffer at once, which is faster; none if they are not whole."""
        end = self.buffer.rfind("}", self.position) + 1 if self.at_once else 0
        if end:
            try:
                values: list[object] = DECODER.decode(f"[{self.buffer[self.position : end]}]")
            except (ValueError, RecursionError):
                self.at_once = False
            else:
                self.position = end
                return values
        return []

    def _value(self, number: int) -> object:
        """Parse the value at the current position; if that fails, read more and try again until the file ends."""
        while True:
            try:
                value, self.position = DECODER.raw_decode(self.buffer, self.position)
                return value
            except (ValueError, RecursionError) as error:
                fault = error
            if self._is_final(fault) or not self._read_more():
                raise self._fault(number, _reason(fault), getattr(fault, "pos", self.position))

    def _is_final(self, fault: ValueError | RecursionError) -> bool:
        """Return whether a value can't be parsed even if more is read: the fault is not at the buffer's end."""
        if not isinstance(fault, json.JSONDecodeError) or fault.msg.startswith("Unterminated string"):
            return isinstance(fault, RecursionError)
        return fault.pos < len(self.buffer) - LONGEST_TOKEN

    def _read_more(self) -> bool:
        # double the buffer for a long value, so that all attempts to parse it take linear time together
        more = self.text.read(max(CHUNK, len(self.buffer) - self.position))
        if more:
            self.characters += self.position
            self.lines += self.buffer.count("\n", 0, self.position)
            self.buffer = self.buffer[self.position :] + more
            self.position = 0
            self.at_once = True
        return bool(more)

    def _fault(self, number: int, reason: str, position: int | None = None) -> UserError:
        location = self._location(self.position if position is None else position)
        return UserError(f"{self.name}: record {number:,} is no whole JSON object: {reason} at {location}")

    def _location(self, position: int) -> str:
        return f"character {self.characters + position:,} (line {self._line(position):,})"

    def _line(self, position: int) -> int:
        return 1 + self.lines + self.buffer.count("\n", 0, position)


def _reason(error: ValueError | RecursionError) -> str:
    """Return what is wrong, with the notation that was probably meant."""
    if not isinstance(error, json.JSONDecodeError):
        return one_line(error)
    message = error.msg.removesuffix(" at")
    before, after = error.doc[: error.pos].rstrip()[-1:], error.doc[error.pos : error.pos + 5]
    hints = [hint for pattern, hint in NOTATIONS.items() if re.match(pattern, before + after)]
    return f"{message} ({hints[0]})" if hints else message


def _record(value: object, name: str, unit: str, number: int) -> Record:
    if not isinstance(value, dict):
        raise UserError(f"{name}: {unit} {number:,} is {_kind_of(value)}, not an object with the columns as keys")
    return value or BLANK


def _kind_of(value: object) -> str:
    kinds = {list: "a list", dict: "an object", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _batches(records: Iterator[Record], name: str, columns: RequestedColumns) -> Batches:
    """Convert records to batches; the columns are those of the first batch that has any."""
    chosen: list[str] = []
    late = set[str]()
    read = 0
    while batch := list(itertools.islice(records, BATCH_ROWS)):
        # a batch of blank rows has no keys, so read more
        while not chosen and not any(batch) and (more := list(itertools.islice(records, BATCH_ROWS))):
            batch += more
        batch, found = _with_column_names(batch, name, columns, read + 1)
        if not chosen:
            # a source without keys has blank rows only
            advice = _nesting_advice(batch, columns)
            chosen = list(columns.choose(found, name, advice) if found else columns.required)
        for column in (columns.optional & set(found)).difference(chosen, late):
            logger.warning(
                "%s: column %s is not read, because the first %s records lack it", name, column, f"{read:,}"
            )
            late.add(column)
        yield _to_batch(batch, chosen, columns, name, read + 1)
        read += len(batch)


def _with_column_names(
    records: list[Record], name: str, columns: RequestedColumns, first: int
) -> tuple[list[Record], list[str]]:
    """Return records whose keys are names of columns, such as no "country ", and the columns in their order.

    Raises:
        UserError: if one of the records, which are numbered from ``first``, has two values of a required column.
    """
    names = {key: column_name(key) for key in dict.fromkeys(itertools.chain.from_iterable(records))}
    if all(key == column for key, column in names.items()):
        return records, list(names)
    renamed = []
    for number, record in enumerate(records, first):
        filled = [(names[key], value) for key, value in record.items() if value is not None]
        renamed.append(dict(filled))
        counts = Counter(column for column, _ in filled) if len(filled) > len(renamed[-1]) else {}
        if doubled := [column for column, count in counts.items() if count > 1 and columns.requires(column)]:
            raise UserError(f"{name}: record {number:,}: column {doubled[0]!r} is there more than once")
    return renamed, list(dict.fromkeys(names.values()))


def _nesting_advice(records: list[Record], columns: RequestedColumns) -> str:
    first = next(filter(None, records), BLANK)
    outer = [key for key, value in first.items() if isinstance(value, dict) and columns.present(list(value))]
    return f"each record has them inside {outer[0]!r}: write the inner objects as the records" if outer else ""


def _to_batch(
    records: list[Record], chosen: list[str], columns: RequestedColumns, name: str, first: int
) -> pa.RecordBatch:
    """Convert records, numbered from ``first``, to columns of strings or floats."""
    fields = [(column, _column_type(records, column)) for column in chosen]
    try:
        return pa.RecordBatch.from_struct_array(pa.array(records, pa.struct(fields)))
    except (ValueError, TypeError, OverflowError):
        # text among numbers, lone surrogates, huge integers or nested values: convert value by value
        texts = {column: _as_texts([record.get(column) for record in records]) for column in chosen}
    for column, (_, nested) in texts.items():
        if nested and columns.requires(column):
            row, value = next(iter(nested.items()))
            raise UserError(f"{name}: record {first + row:,}: {column} is {_kind_of(value)}, not a text or a number")
    schema = pa.schema([_text_field(column, nested) for column, (_, nested) in texts.items()])
    return pa.record_batch([pa.array(values, pa.string()) for values, _ in texts.values()], schema=schema)


def _text_field(column: str, nested: dict[int, object]) -> pa.Field:
    """Describe a column of strings, with what is not read of it."""
    unread = {UNREAD: str(len(nested)), UNREAD_EXAMPLE: reprlib.repr(next(iter(nested.values())))} if nested else None
    return pa.field(column, pa.string(), metadata=unread)


def _column_type(records: list[Record], column: str) -> pa.DataType:
    """Infer a column's type from its first value; floats hold integers up to 2^53 exactly."""
    first = next((value for record in records if (value := record.get(column)) is not None), None)
    return pa.float64() if isinstance(first, int | float) and not isinstance(first, bool) else pa.string()


def _as_texts(values: list[object]) -> tuple[list[str | None], dict[int, object]]:
    """Return a column's values as texts, with null for each list and object, and those lists and objects by row."""
    nested: dict[int, object] = {row: value for row, value in enumerate(values) if isinstance(value, list | dict)}
    return [None if row in nested else _as_text(value) for row, value in enumerate(values)], nested


def _as_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return LONE_SURROGATE.sub(REMOVED, value)
    return str(value).removesuffix(".0").lower()
