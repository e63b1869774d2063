"""Choose the columns to read, and name the batches in which every format yields them."""

import dataclasses
import difflib
import logging
import re
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import pyarrow as pa

from wine_gpt.config import column_name
from wine_gpt.errors import UserError

logger = logging.getLogger(__name__)

BATCH_ROWS = 8192
# replaces invalid characters, such as half of a surrogate pair in a JSON escape, until they are counted and removed
REMOVED = "\0"
# keys of a field's metadata: how many values a reader made null because they are nested, and the first of them
UNREAD, UNREAD_EXAMPLE = b"unread", b"unread_example"
# key of a batch's metadata: how many lines a reader skipped because they repeat the header or are rule lines
SKIPPED = b"skipped"
# keys of a batch's metadata: the name of the file or member that it is from, and how many records it begins after
PART, RECORDS_BEFORE = b"part", b"records_before"
# the value of a folder such as country=…, in which the column is null
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
# longest list of column names in a message, in characters
SHOWN_NAMES = 300

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class RequestedColumns:
    """The columns to read.

    Attributes:
        required: texts are composed of these columns, the running text the last.
        optional: these columns may be missing.
        separator: the character between the columns of a CSV file; None detects it from the header.
        constants: of ``optional`` those whose value the file's path names for all records.
    """

    required: tuple[str, ...]
    optional: frozenset[str]
    separator: str | None = None
    constants: Mapping[str, str | None] = field(default_factory=dict)

    def choose(self, found: Sequence[str], name: str, advice: str = "") -> dict[str, str]:
        """Return which of the columns ``found`` to read, in their order: the source's name of each requested column.

        Names are compared by :func:`wine_gpt.config.column_name`.

        Args:
            found: the columns of the source.
            name: the source, for messages.
            advice: what may be wrong if no required column is there.

        Raises:
            UserError: if a required column occurs twice or is missing.
        """
        spelled = [(column_name(column), column) for column in found]
        chosen = [(column, source) for column, source in spelled if column in self.optional or self.requires(column)]
        doubled = [column for column, count in Counter(column for column, _ in chosen).items() if count > 1]
        for column in doubled:
            if self.requires(column):
                raise UserError(f"{name}: column {column!r} is there more than once")
            logger.warning("%s: column %r is there more than once, and no text needs it: it is not read", name, column)
        missing = [column for column in self.required if column not in dict(chosen)]
        if missing:
            raise UserError(f"{name}: {self._missing(missing, found, advice)}")
        return {column: source for column, source in chosen if column not in doubled}

    def with_path_values(self, name: str) -> "RequestedColumns":
        """Return the columns for a file whose folders may name values of columns: those the file need not have."""
        *fields, text_field = self.required
        # a running text that all records have in common is none
        requested = {*fields, *self.optional} - {text_field}
        constants = {column: value for column, value in path_values(name).items() if column in requested}
        return dataclasses.replace(
            self,
            required=tuple(column for column in self.required if column not in constants),
            optional=self.optional | constants.keys(),
            constants=constants,
        )

    def add_constants(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Add the columns whose values the path names, unless the file has them."""
        for column, value in self.constants.items():
            if column not in batch.schema.names:
                batch = batch.append_column(column, pa.repeat(pa.scalar(value, pa.string()), batch.num_rows))
        return batch

    def requires(self, column: str) -> bool:
        """Return whether texts are composed of the column."""
        return column in self.required

    def present(self, found: Sequence[str]) -> int:
        """Return how many of the required columns are among ``found``."""
        return len(set(self.required) & set(map(column_name, found)))

    def _missing(self, missing: list[str], found: Sequence[str], advice: str) -> str:
        spelled = {name.casefold(): name for name in map(column_name, found)}
        if all(column.casefold() in spelled for column in missing):
            return (
                f"no column {', '.join(map(repr, missing))}, but with other capital letters: rename the columns, or "
                "name them in data.prompt_fields and data.text_field as "
                + ", ".join(repr(spelled[column.casefold()]) for column in missing)
            )
        nearest = {column: match for column in missing if (match := _nearest(column, found))}
        hints = "".join(f"; nearest to {column!r}: {match}" for column, match in nearest.items())
        if advice and (not nearest or len(found) == 1) and not self.present(found):
            hints = f"; {advice}"
        names = textwrap.shorten(", ".join(filter(None, map(column_name, found))), SHOWN_NAMES, placeholder=" …")
        return (
            f"no column {', '.join(map(repr, missing))}{hints}; found: {names or 'none'}; "
            "set data.prompt_fields and data.text_field to the columns that a text is made of"
        )


def path_values(name: str) -> dict[str, str | None]:
    """Return the values that the folders of a path name by their column, as Hive's and Spark's ``country=Italy``."""
    pairs = [part.partition("=") for part in re.split(r"[/\\:]", name)[:-1]]
    named = {column_name(unquote(key)): unquote(value) for key, equals, value in pairs if equals}
    return {column: None if value == HIVE_NULL else value for column, value in named.items()}


def _nearest(column: str, found: Sequence[str]) -> str:
    """Return the most similar name, with escapes if it only looks like the wanted one, as Cyrillic letters do."""
    spellings = {name.casefold(): name for name in map(column_name, found) if name}
    match = difflib.get_close_matches(column.casefold(), spellings, n=1)
    if not match:
        return ""
    name = spellings[match[0]]
    plain = "".join(filter(str.isalpha, unicodedata.normalize("NFKD", name)))
    return f"{name!r}, typed {name!a}" if column.isascii() and not plain.isascii() else repr(name)
