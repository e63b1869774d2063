"""What became of the records, as a table to print and as JSON to keep."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class DataReport:
    """Counts of records: ``read`` = ``blank`` + all ``dropped`` + ``duplicates`` + ``kept``.

    A record that lacks several fields counts for the first of them.
    """

    source: str
    read: int
    # rows without a single needed value
    blank: int
    # field to records in which it is null or blank
    dropped: dict[str, int]
    duplicates: int
    # split to reviews
    splits: dict[str, int]
    # texts that had more than data.max_characters characters
    cut: int
    # NUL and lone surrogates, taken out of the texts
    characters_removed: int

    @property
    def kept(self) -> int:
        """Reviews in all splits together."""
        return sum(self.splits.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON knows them."""
        return {**dataclasses.asdict(self), "kept": self.kept}

    @classmethod
    def from_dict(cls, counts: dict[str, Any]) -> Self:
        """Read what :meth:`to_dict` returned."""
        return cls(**{field.name: counts[field.name] for field in dataclasses.fields(cls)})

    def save(self, path: str | Path) -> None:
        """Write the counts as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

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
