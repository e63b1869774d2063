"""The template of the model's texts, "prefix : field : … : running text", from ``review_template.json``."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import yaml

FILE = "review_template.json"
# has the template of a model that an earlier version of wine_gpt saved without FILE
CONFIG = "config.yaml"
SEPARATOR = " : "


@dataclass(frozen=True)
class Template:
    """The prefix and the fields before the running text; a colon follows each."""

    prefix: str
    fields: tuple[str, ...]
    # whether the model's tokenizer distinguishes capitals
    keeps_capitals: bool = False

    @classmethod
    def load(cls, path: Path) -> "Template":
        """Read the file that is saved with a model.

        Raises:
            OSError: if the file can't be read.
            ValueError: if the file is no template.
        """
        match json.loads(path.read_text(encoding="utf-8")):
            case {"prefix": str(prefix), "fields": list(fields)} if all(isinstance(field, str) for field in fields):
                return cls(prefix, tuple(fields))
        raise ValueError('it must hold "prefix", a text, and "fields", a list of texts')

    @classmethod
    def load_config(cls, path: Path) -> "Template":
        """Read the data settings of a run's ``config.yaml``; a missing one is the package's default, wine's.

        Raises:
            OSError: if the file can't be read.
            ValueError: if the file is no run's config.
        """
        try:
            # every value as text, as the package reads them: the prefix 2024 is no number
            match yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader):
                case {"data": dict(data)}:
                    prefix, fields = data.get("prefix", WINE.prefix), data.get("prompt_fields", WINE.fields)
                    if isinstance(prefix, str) and isinstance(fields, list | tuple):
                        return cls(prefix, tuple(unicodedata.normalize("NFC", str(field)) for field in fields))
        except yaml.YAMLError as error:
            raise ValueError(f"{path.name} is no YAML") from error
        raise ValueError("it must have a section data")

    @property
    def form(self) -> str:
        """The beginning of every text, with the fields' names instead of their values: "recipe : dish : …"."""
        parts = [*filter(None, [self.prefix]), *self.fields]
        return SEPARATOR.join([*parts, "…"]) if parts else ""

    def prompt(self, values: Mapping[str, str]) -> str:
        """Return the beginning of a text, up to the first field without a value, as the tokenizer reads it."""
        known = list(takewhile(values.__contains__, self.fields))
        parts = [*filter(None, [self.prefix]), *(values[field] for field in known)]
        begun = SEPARATOR.join(parts) + (SEPARATOR.rstrip() if known else "")
        return begun if self.keeps_capitals else begun.lower()

    def values(self, text: str) -> list[str]:
        """Return the values of a text's fields, in order; none if the text has another prefix."""
        parts = [part.strip() for part in text.split(SEPARATOR.strip())]
        prefix = self._prefix_parts()
        return parts[len(prefix) :][: len(self.fields)] if _lower(parts[: len(prefix)]) == _lower(prefix) else []

    def value_spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each value of :meth:`values` begins and ends in a text, in characters."""
        ends = [*(match.start() for match in re.finditer(SEPARATOR.strip(), text)), len(text)]
        starts = [0, *(end + 1 for end in ends)]
        first = len(self._prefix_parts())
        return [*zip(starts, ends, strict=False)][first:][: len(self.values(text))]

    def header_length(self, words: Sequence[str]) -> int:
        """Return the number of words before the running text, 0 if the text does not begin with the prefix.

        Args:
            words: a text's words, which may end within the header.
        """
        separators = len(self.fields) + len(self._prefix_parts())
        prefix = "".join(f"{part}:" for part in self._prefix_parts()).lower().replace(" ", "")
        if separators == 0 or not prefix.startswith("".join(_lower(words))[: len(prefix)]):
            return 0
        colons = [position for position, word in enumerate(words, 1) if word.strip() == ":"]
        return colons[separators - 1] if len(colons) >= separators else len(words)

    def _prefix_parts(self) -> list[str]:
        return [part.strip() for part in self.prefix.split(SEPARATOR)] if self.prefix else []


# the template of the class's wine reviews
WINE = Template("wine review", ("country", "province", "variety"))
# the template of a model that names none
UNKNOWN = Template("", ())


def _lower(words: Sequence[str]) -> list[str]:
    return [word.strip().lower() for word in words]
