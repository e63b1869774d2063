"""Turn raw columns into distinct, typed reviews: filter, deduplicate, compose the texts and assign splits."""

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from wine_gpt.config import DataConfig
from wine_gpt.data.columns import PART, RECORDS_BEFORE, REMOVED, SKIPPED, UNREAD, UNREAD_EXAMPLE, RequestedColumns
from wine_gpt.data.hash_set import Hashes, HashSet, Mask
from wine_gpt.data.report import DataReport, FaultyValues
from wine_gpt.data.template import COMPOSED, ReviewTemplate
from wine_gpt.data.values import count_entities, count_missing_spellings, decode, is_text, read_values, remove_values
from wine_gpt.errors import UserError

# column types of Kaggle's winemag-data-130k-v2; a column that texts are composed of is a string
KAGGLE_TYPES = {
    "points": pa.int64(),
    "price": pa.float64(),
    **dict.fromkeys(
        {"title", "description", "taster_name", "taster_twitter_handle", "designation", "variety"}
        | {"region_1", "region_2", "province", "country", "winery"},
        pa.string(),
    ),
}
SPLITS = ("train", "validation", "test")
# a whole number as pandas writes it into CSV if the column has missing values; JSON and Parquet give 15
WHOLE_NUMBER = r"^([0-9]+)\.0$"
# finds a text that may have white space other than single spaces between words
OTHER_SPACE = r"[^\x21-\x7e ]|  |^ | $"

Columns = dict[str, pa.Array]


def requested_columns(config: DataConfig) -> RequestedColumns:
    """Return the template's columns as required ones; if one of them is Kaggle's, its others as optional ones."""
    columns = ReviewTemplate.from_config(config).columns
    optional = frozenset() if KAGGLE_TYPES.keys().isdisjoint(columns) else frozenset(KAGGLE_TYPES)
    return RequestedColumns(columns, optional, config.separator_character)


@dataclass
class Tally:
    """Running counts, as :class:`DataReport` describes them."""

    read: int = 0
    blank: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    cut_duplicates: int = 0
    characters_removed: int = 0
    line_breaks_lost: int = 0
    lines_skipped: int = 0
    unread: dict[str, FaultyValues] = field(default_factory=dict)
    entities: dict[str, FaultyValues] = field(default_factory=dict)
    missing_spellings: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def report(self, source: str, config: DataConfig) -> DataReport:
        """Return the report of the counts so far."""
        counts = {
            "dropped": {name: self.dropped[name] for name in requested_columns(config).required},
            "splits": {name: self.splits[name] for name in SPLITS},
            "missing_spellings": {name: dict(found) for name, found in self.missing_spellings.items() if found},
        }
        return DataReport(**{**vars(self), **counts}, source=source, missing=list(config.missing))


class ReviewFilter:
    """Turns batches of raw records into typed, distinct reviews.

    It keeps the hash of each running text, so that duplicates are found across batches.

    Args:
        config: its columns, fractions, split seed and largest number of characters are used.
        name: the source, for messages.
        folder: see :class:`HashSet`.
    """

    def __init__(self, config: DataConfig, name: str, folder: Path | None = None) -> None:
        self.config = config
        self.template = ReviewTemplate.from_config(config)
        self.name = name
        self.tally = Tally()
        self._seen = HashSet(folder)

    def reviews(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.Table]]:
        """Yield, for each batch, each split's name and its reviews.

        Raises:
            UserError: for a value of a text's column that the column's type can't hold.
        """
        for batch in batches:
            columns = self._typed(batch)
            self.tally.read += batch.num_rows
            usable = self._usable(columns)
            too_long = self._too_long(columns[self.config.text_field], usable)
            columns[self.config.text_field] = self._shortened(columns[self.config.text_field], too_long)
            splits = self._assigned(self._compared(columns), usable)
            self.tally.cut_duplicates += int((too_long & (splits == "")).sum())
            self._count_line_breaks(columns[self.config.text_field].filter(pa.array(splits != "")))
            columns[COMPOSED] = self.template.render_columns(columns)
            yield from self._by_split(pa.table(columns), splits)

    def _typed(self, batch: pa.RecordBatch) -> Columns:
        self._count_unread(batch.schema)
        place = batch.schema.metadata or {}
        name = place.get(PART, self.name.encode()).decode()
        before = int(place.get(RECORDS_BEFORE, self.tally.read))
        return {
            column: self._read_column(values, column, name, before)
            for column, values in zip(batch.schema.names, map(decode, batch.columns), strict=True)
        }

    def _count_unread(self, schema: pa.Schema) -> None:
        self.tally.lines_skipped += int((schema.metadata or {}).get(SKIPPED, 0))
        for column in schema:
            metadata = column.metadata or {}
            if UNREAD in metadata:
                example = _short(metadata[UNREAD_EXAMPLE].decode())
                _add(self.tally.unread, column.name, int(metadata[UNREAD]), example)

    def _read_column(self, values: pa.Array, column: str, name: str, before: int) -> pa.Array:
        """Read a column's values, and count those that are not read because no text is made of them.

        Args:
            values: of a batch.
            column: the column.
            name: the file, for messages.
            before: the number of the file's records before the batch.
        """
        values = remove_values(self._cleaned(values), self.config.missing)
        type_ = KAGGLE_TYPES.get(column, pa.string())
        is_number, is_in_text = type_ != pa.string(), column in self.template.columns
        read, unfit = read_values(values, pa.string() if is_in_text else type_)
        if is_in_text:
            if unfit.any():
                index = int(unfit.argmax())
                location = f"{name}: record {before + index + 1:,}: {column} is {_shown(values[index])}"
                advice = "correct it, or set data.prompt_fields and data.text_field to other columns"
                raise UserError(f"{location}, which is not a text; {advice}")
            if is_number:
                read = pc.replace_substring_regex(read, WHOLE_NUMBER, r"\1")
            self.tally.missing_spellings[column].update(count_missing_spellings(values))
            with_entity, entity = count_entities(values)
            if with_entity:
                _add(self.tally.entities, column, with_entity, repr(entity))
        elif unfit.any():
            _add(self.tally.unread, column, int(unfit.sum()), _shown(values[int(unfit.argmax())]))
        return self._with_line_breaks_inside(read, column) if self.config.line_breaks else read

    def _with_line_breaks_inside(self, values: pa.Array, column: str) -> pa.Array:
        """Remove the line breaks around a running text, and all from another value, because a header is one line."""
        if not is_text(values):
            return values
        if column == self.config.text_field:
            return pc.utf8_trim_whitespace(values)
        return pc.replace_substring_regex(values, r"\s*[\r\n]\s*", " ")

    def _cleaned(self, values: pa.Array) -> pa.Array:
        """Remove and count NUL characters, which the readers put in place of invalid characters."""
        if not is_text(values):
            return values
        removed = pc.sum(pc.count_substring(values, REMOVED)).as_py() or 0
        self.tally.characters_removed += removed
        return pc.replace_substring(values, REMOVED, "") if removed else values

    def _usable(self, columns: Columns) -> Mask:
        """Return which records have all required fields; count the others by their first empty field."""
        filled = {column: _filled(columns[column]) for column in self.template.columns}
        blank = ~np.logical_or.reduce(list(filled.values()))
        self.tally.blank += int(blank.sum())
        usable: Mask = ~blank
        for column, mask in filled.items():
            self.tally.dropped[column] += int((usable & ~mask).sum())
            usable &= mask
        return usable

    def _too_long(self, texts: pa.Array, usable: Mask) -> Mask:
        too_long: Mask = np.asarray(pc.fill_null(pc.greater(pc.utf8_length(texts), self.config.max_characters), False))
        return too_long & usable

    def _shortened(self, texts: pa.Array, too_long: Mask) -> pa.Array:
        mask = pa.array(too_long)
        if not mask.true_count:
            return texts
        self.tally.cut += mask.true_count
        shortened = [shorten(text, self.config.max_characters) for text in texts.filter(mask).to_pylist()]
        return pc.replace_with_mask(texts, mask, pa.array(shortened, pa.string()))

    def _count_line_breaks(self, texts: pa.Array) -> None:
        if not self.config.line_breaks:
            broken = pc.match_substring_regex(pc.utf8_trim_whitespace(texts), r"[\r\n]")
            self.tally.line_breaks_lost += broken.true_count

    def _compared(self, columns: Columns) -> pa.Array:
        """Return the texts that tell duplicates and splits apart: the running texts, or all that a text is made of."""
        if self.config.deduplicate == "text":
            return columns[self.config.text_field]
        parts = [pc.utf8_trim_whitespace(pc.cast(columns[name], pa.string())) for name in self.template.columns]
        # values hold no NUL, so NUL separates them unambiguously
        return pc.binary_join_element_wise(*parts, "\0")

    def _assigned(self, texts: pa.Array, usable: Mask) -> npt.NDArray[np.str_]:
        """Return each record's split, an empty name for unusable records and duplicates."""
        hashes = content_hashes(texts.filter(pa.array(usable)), self.config.split_seed)
        splits = np.zeros(len(texts), np.array(SPLITS).dtype)
        first = self._seen.add(hashes)
        self.tally.duplicates += int((~first).sum())
        splits[usable] = np.where(first, split_of(hashes, self.config), "")
        return splits

    def _by_split(self, table: pa.Table, splits: npt.NDArray[np.str_]) -> Iterator[tuple[str, pa.Table]]:
        for split in SPLITS:
            reviews = table.filter(pa.array(splits == split))
            self.tally.splits[split] += reviews.num_rows
            yield split, reviews


def _add(counts: dict[str, FaultyValues], column: str, count: int, example: str) -> None:
    """Add a batch's values of a column to those of earlier batches, whose example is kept."""
    earlier = counts.get(column, FaultyValues(0, example))
    counts[column] = FaultyValues(earlier.count + count, earlier.example)


def normalized(text: str) -> str:
    """Return the form in which duplicates are compared: Unicode lower case, each run of white space one space."""
    return " ".join(text.lower().split())


def content_hashes(texts: pa.Array, seed: int) -> Hashes:
    """Return a hash of each normalized text, keyed by the seed, uint64 of shape (texts,).

    The probability that any two texts have one hash is 3e-8 among a million texts, and 3e-4 among 10⁸.
    """
    key = str(seed).encode()
    # most texts have no other white space than single spaces, so that lower case is their normalized form
    spaced = pc.match_substring_regex(texts, OTHER_SPACE).to_pylist()
    pairs = zip(texts.to_pylist(), spaced, strict=True)
    forms = (normalized(text) if is_spaced else text.lower() for text, is_spaced in pairs)
    digests = [blake2b(form.encode(), digest_size=8, key=key).digest() for form in forms]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def split_of(hashes: Hashes, config: DataConfig) -> npt.NDArray[np.str_]:
    """Return the name of each hash's split, of shape (hashes,), a function of the hash and the fractions only."""
    uniform = hashes / 2.0**64
    bounds = [config.test_fraction, config.test_fraction + config.validation_fraction]
    return np.array(SPLITS[::-1])[np.digitize(uniform, bounds)]


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most ``limit`` characters, after a whole word if the first word fits."""
    text = text.lstrip()
    whole_words = re.match(rf"(?s).{{1,{limit}}}(?=\s|\Z)", text)
    return whole_words[0] if whole_words else text[:limit]


def _shown(value: pa.Scalar) -> str:
    return _short(repr(value.as_py()))


def _short(text: str) -> str:
    return textwrap.shorten(text, 80, placeholder="…")


def _filled(values: pa.Array) -> Mask:
    if pa.types.is_string(values.type):
        # a text of white space, control and zero-width characters only is blank
        values = pc.match_substring_regex(values, r"[^\s\pZ\pC]")
    else:
        values = pc.is_valid(values)
    return np.asarray(pc.fill_null(values, False))
