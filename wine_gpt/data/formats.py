"""Read JSON, JSON Lines, CSV and Parquet as Arrow record batches of the requested columns.

Messages number records from 1. Readers stream, so memory does not grow with the number of records.
"""

import codecs
import csv
import difflib
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wine_gpt.errors import UserError, one_line

BATCH_ROWS = 8192
CHUNK = 1 << 20
# decodes UTF-8 with or without a byte order mark
UTF_8 = "utf-8-sig"
# replaces invalid characters, such as half of a surrogate pair in a JSON escape, until they are counted and removed
REMOVED = "\0"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
JSON_SPACE = re.compile(r"[ \t\n\r]*")
JSON_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?=\{)")
# reads NaN and Infinity, which Python writes although JSON does not have them, as null
DECODER = json.JSONDecoder(parse_constant=lambda constant: None)
# the record of every blank row; one object, so that blank rows take no memory
BLANK: dict[str, object] = {}

Record = dict[str, object]
Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class RequestedColumns:
    """The columns to read: texts are composed of the required ones, and the optional ones may be missing."""

    required: tuple[str, ...]
    optional: frozenset[str]

    def choose(self, found: Sequence[str], name: str) -> list[str]:
        """Return which of the columns ``found`` to read, in their order.

        Args:
            found: the columns of the source.
            name: the source, for messages.

        Raises:
            UserError: if a column occurs twice or a required one is missing.
        """
        doubled = [column for column, count in Counter(found).items() if column and count > 1]
        if doubled:
            raise UserError(f"{name}: column {doubled[0]!r} is there more than once")
        missing = [column for column in self.required if column not in found]
        if missing:
            nearest = {column: difflib.get_close_matches(column, found, n=1) for column in missing}
            hints = "".join(f"; nearest to {column!r}: {match[0]!r}" for column, match in nearest.items() if match)
            raise UserError(
                f"{name}: no column {', '.join(map(repr, missing))}{hints}; found: {', '.join(filter(None, found))}; "
                "set data.prompt_fields and data.text_field to the columns that a text is made of"
            )
        return [column for column in found if column in self.optional or column in self.required]


@dataclass(frozen=True)
class TextFile:
    """A text file or a member of an archive; each call of ``open`` reads it from its beginning."""

    name: str
    open: Callable[[], IO[bytes]]
    encoding: str

    def read(self, parse: Callable[[TextIO, str, RequestedColumns], Batches], columns: RequestedColumns) -> Batches:
        """Decode the text and yield the batches that ``parse`` makes of it.

        Raises:
            UserError: if the text is not in the encoding; the message has the offset of the first wrong byte.
        """
        with self.open() as binary:
            start = binary.read(4)
        marked = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        codec = self._codec()
        if codec == UTF_8 and 0 in start and not marked:
            # UTF-16 without a byte order mark would decode as UTF-8 up to the first character outside ASCII
            raise self._wrong_encoding(start.index(0), "utf-16-le" if start[0] else "utf-16-be")
        try:
            with io.TextIOWrapper(self.open(), encoding=codec, newline="") as text:
                yield from parse(text, self.name, columns)
        except UnicodeError:
            guess = "utf-16" if marked else "cp1252" if codec == UTF_8 else "utf-8"
            raise self._wrong_encoding(self._first_wrong_byte(codec), guess) from None

    def _codec(self) -> str:
        """Return the codec's name, for UTF-8 that of the codec that skips a byte order mark."""
        try:
            # unlike codecs.lookup, str.encode refuses codecs that are not text encodings, such as base64
            "".encode(self.encoding)
        except LookupError:
            known = "no such encoding; e.g. utf-8, cp1252, utf-16"
            raise UserError(f"config: data.encoding is {self.encoding!r}: {known}") from None
        codec = codecs.lookup(self.encoding).name
        return UTF_8 if codec == "utf-8" else codec

    def _first_wrong_byte(self, codec: str) -> int:
        decoder = codecs.getincrementaldecoder(codec)()
        read = 0
        with self.open() as binary:
            try:
                for block in itertools.chain(iter(lambda: binary.read(CHUNK), b""), [b""]):
                    read += len(block)
                    decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                # error.object is the newest block, after the undecoded bytes of the block before it
                return read - len(error.object) + error.start
            except UnicodeError:
                # UTF-16 or UTF-32 without its byte order mark
                return 0
        return read

    def _wrong_encoding(self, offset: int, guess: str) -> UserError:
        named = f"name the file's encoding, e.g. --data.encoding {guess}"
        return UserError(f"{self.name}: byte {offset:,} is not {self.encoding}: {named}")


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


def read_parquet(path: Path, name: str, columns: RequestedColumns) -> Batches:
    """Read Parquet in batches smaller than a row group.

    Raises:
        UserError: if the file is cut short or damaged.
    """
    try:
        # read through a buffer, because a row group may be the whole file and not fit into memory
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=CHUNK) as file:
            names = columns.choose(file.schema_arrow.names, name)
            for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                # raise for strings that are not UTF-8
                batch.validate(full=True)
                yield batch
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: is cut short or damaged: {one_line(error)}") from error


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
    names: list[str] | None = None
    read = 0
    while batch := list(itertools.islice(records, BATCH_ROWS)):
        if names is None:
            # a batch of blank rows has no keys, so read more
            while not any(batch) and (more := list(itertools.islice(records, BATCH_ROWS))):
                batch += more
            found = list(dict.fromkeys(itertools.chain.from_iterable(batch)))
            names = columns.choose(found, name) if found else list(columns.required)
        yield _to_batch(batch, names, name, read + 1)
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


def _csv_rows(reader: Any, name: str) -> Iterator[list[str]]:  # noqa: ANN401 - csv.reader's type has no public name
    while True:
        start = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{name}: the record that starts in line {start:,} is broken: {error}") from None
