"""Report how many records were read, dropped and kept, as a table and as JSON."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wine_gpt.files import JsonObject, from_fields, write_json


@dataclass(frozen=True)
class DataReport:
    """Counts of records: ``read`` = ``blank`` + all ``dropped`` + ``duplicates`` + ``kept``.

    Attributes:
        source: the name of the source.
        read: records in the source.
        blank: records in which all required fields are empty.
        dropped: for each required field, the records in which it is the first empty one.
        duplicates: records whose running text an earlier record has.
        splits: for each split, its reviews.
        cut: running texts that had more than ``data.max_characters`` characters.
        characters_removed: NUL characters and lone surrogates that were removed.
    """

    source: str
    read: int
    blank: int
    dropped: dict[str, int]
    duplicates: int
    splits: dict[str, int]
    cut: int
    characters_removed: int

    @property
    def kept(self) -> int:
        """The number of reviews in all splits."""
        return sum(self.splits.values())

    def to_dict(self) -> JsonObject:
        """Return the content of ``data_report.json``."""
        return {**dataclasses.asdict(self), "kept": self.kept}

    @classmethod
    def from_dict(cls, counts: JsonObject) -> Self:
        """Read what :meth:`to_dict` returned."""
        return from_fields(cls, counts)

    def save(self, path: str | Path) -> None:
        """Write the counts as JSON."""
        write_json(Path(path), self.to_dict())

    def __str__(self) -> str:
        rows = [
            ("records read", self.read),
            ("blank rows", self.blank),
            *((f"without {field}", count) for field, count in self.dropped.items()),
            ("duplicates", self.duplicates),
            ("reviews kept", self.kept),
            *((f"  {split}", count) for split, count in self.splits.items()),
            ("texts cut", self.cut),
            ("characters removed", self.characters_removed),
        ]
        label_width = max(len(label) for label, _ in rows)
        count_width = max(len(f"{count:,}") for _, count in rows)
        lines = [f"  {label:<{label_width}}  {count:>{count_width},}" for label, count in rows]
        return "\n".join([f"data: {self.source}", *lines])
