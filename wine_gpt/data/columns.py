"""Choose the columns to read, and name the batches in which every format yields them."""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from wine_gpt.errors import UserError

BATCH_ROWS = 8192
# replaces invalid characters, such as half of a surrogate pair in a JSON escape, until they are counted and removed
REMOVED = "\0"

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
