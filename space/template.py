"""The template of the model's texts, "prefix : field : … : running text", from ``review_template.json``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

FILE = "review_template.json"
SEPARATOR = " : "


@dataclass(frozen=True)
class Template:
    """The prefix and the fields before the running text; a colon follows each."""

    prefix: str
    fields: tuple[str, ...]

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

    def prompt(self, values: Mapping[str, str]) -> str:
        """Return the beginning of a text, up to the first field without a value, in lower case."""
        known = list(takewhile(values.__contains__, self.fields))
        parts = [*filter(None, [self.prefix]), *(values[field] for field in known)]
        return SEPARATOR.join(parts).lower() + (SEPARATOR.rstrip() if known else "")

    def values(self, text: str) -> list[str]:
        """Return the values of a text's fields, in order; none if the text has another prefix."""
        parts = [part.strip() for part in text.split(SEPARATOR.strip())]
        prefix = self._prefix_parts()
        return parts[len(prefix) :][: len(self.fields)] if _lower(parts[: len(prefix)]) == _lower(prefix) else []

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


# the template of models that were saved without the file
WINE = Template("wine review", ("country", "province", "variety"))


def _lower(words: Sequence[str]) -> list[str]:
    return [word.strip().lower() for word in words]
