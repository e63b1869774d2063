"""Report how many records were read, dropped and kept, as a table and as JSON."""

from dataclasses import dataclass, field
from pathlib import Path

from wine_gpt.files import JsonObject, JsonRecord, write_json

# a note on a spelling or a form of some records is printed for this many of them, or this fraction of all records
NOTED_RECORDS = 10
NOTED_FRACTION = 0.01


@dataclass(frozen=True)
class FaultyValues(JsonRecord):
    """The number of a column's values that something is wrong with, and an example, quoted."""

    count: int
    example: str


@dataclass(frozen=True)
class DataReport(JsonRecord):
    """Counts of records: ``read`` = ``blank`` + all ``dropped`` + ``duplicates`` + ``kept``.

    Attributes:
        source: the name of the source.
        read: records in the source.
        blank: records in which all required fields are empty.
        dropped: for each required field, the records in which it is the first empty one.
        duplicates: records that equal an earlier one, as ``data.deduplicate`` compares them.
        splits: for each split, its reviews.
        cut: running texts that had more than ``data.max_characters`` characters.
        cut_duplicates: those of ``duplicates`` that were cut, so that what follows was not compared.
        characters_removed: NUL characters and lone surrogates that were removed.
        line_breaks_lost: texts whose line breaks are read as spaces.
        lines_skipped: lines of a CSV file that repeat the header or are rule lines of a table, such as ``|---|---|``.
        unread: for each column that no text is made of, the values that became null because they don't fit its type.
        entities: for each column of the texts, the values with an HTML entity, and the first entity.
        from_hub: whether the source is a dataset of the Hub.
        missing_spellings: for each required field, the number of values by their spelling of a missing value, e.g. NA.
        missing: the spellings that were read as null, ``data.missing``.
    """

    source: str
    read: int
    blank: int
    dropped: dict[str, int]
    duplicates: int
    splits: dict[str, int]
    cut: int
    characters_removed: int
    from_hub: bool = False
    cut_duplicates: int = 0
    line_breaks_lost: int = 0
    lines_skipped: int = 0
    unread: dict[str, FaultyValues] = field(default_factory=dict)
    entities: dict[str, FaultyValues] = field(default_factory=dict)
    missing_spellings: dict[str, dict[str, int]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """The number of reviews in all splits."""
        return sum(self.splits.values())

    def to_dict(self) -> JsonObject:
        """Return the content of ``data_report.json``."""
        return {**super().to_dict(), "kept": self.kept}

    def save(self, path: str | Path) -> None:
        """Write the counts as JSON."""
        write_json(Path(path), self.to_dict())

    def __str__(self) -> str:
        rows = [
            ("records read", self.read),
            ("blank rows", self.blank),
            *((f"without {field}", count) for field, count in self.dropped.items()),
            ("duplicates", self.duplicates),
            ("texts kept", self.kept),
            *((f"  {split}", count) for split, count in self.splits.items()),
            ("cut at data.max_characters", self.cut),
            ("characters removed", self.characters_removed),
        ]
        label_width = max(len(label) for label, _ in rows)
        count_width = max(len(f"{count:,}") for _, count in rows)
        lines = [f"  {label:<{label_width}}  {count:>{count_width},}" for label, count in rows]
        return "\n".join([f"data: {self.source}", *lines, *(f"  {note}" for note in self._notes())])

    def _notes(self) -> list[str]:
        """Return a line for each column with values that were not read or may have to be changed."""
        unread = [
            f"{name}: {_counted(found.count)} not read, e.g. {found.example}" for name, found in self.unread.items()
        ]
        entities = [
            f"{name}: {_counted(found.count)} with HTML entities, e.g. {found.example}, which stay as they are: "
            "decode the file with Python's html.unescape if it should not have them"
            for name, found in self.entities.items()
            if self._is_notable(found.count)
        ]
        notes = [*unread, *entities, *self._spelling_note()]
        if self.lines_skipped:
            lines = "line repeats the header or is" if self.lines_skipped == 1 else "lines repeat the header or are"
            notes.append(f"{self.lines_skipped:,} {lines} drawn with dashes: skipped")
        if self.cut_duplicates:
            duplicates = "duplicate was" if self.cut_duplicates == 1 else "duplicates were"
            notes.append(f"{self.cut_duplicates:,} {duplicates} cut at data.max_characters before the comparison")
        if self._is_notable(self.line_breaks_lost):
            texts = "text loses its" if self.line_breaks_lost == 1 else "texts lose their"
            notes.append(f"{self.line_breaks_lost:,} {texts} line breaks: data.line_breaks true keeps them as words")
        return notes

    def _spelling_note(self) -> list[str]:
        """Return a line with the one setting that makes the spellings of missing values in all columns null."""
        columns: list[str] = []
        spellings = [*self.missing]
        for name, counts in self.missing_spellings.items():
            if self._is_notable(sum(counts.values())):
                quoted = ", ".join(f"'{text}'" for text in counts)
                columns.append(f"{_counted(sum(counts.values()))} of {name} read {quoted}")
                spellings += counts
        if not columns:
            return []
        setting = ",".join(dict.fromkeys(spellings))
        change = f"data.missing{'=' if setting.startswith('--') else ' '}'{setting}'"
        return [f"{'; '.join(columns)}: {change} makes them null"]

    def _is_notable(self, count: int) -> bool:
        return count >= NOTED_RECORDS or count >= max(NOTED_FRACTION * self.read, 1)


def _counted(values: int) -> str:
    return f"{values:,} value{'' if values == 1 else 's'}"
