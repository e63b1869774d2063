"""The values of a text's fields that the page offers, such as countries, limited to words that the model knows."""

import json
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from template import Template

FILE = Path(__file__).with_name("regions.json")
FIELDS = ("country", "province", "variety")
Rows = Sequence[tuple[str, ...]]


class FieldValues:
    """Combinations of values that exist, one value per field.

    Attributes:
        fields: the template's leading fields that have values.
    """

    def __init__(self, template: Template, knows: Callable[[str], bool], rows: Rows | None = None) -> None:
        """Keep the combinations all of whose words the model knows.

        Args:
            template: the template of the model's texts.
            knows: returns whether the model knows every word of a name.
            rows: combinations of a value for each of the template's fields; None for wine's regions.
        """
        names = FIELDS if rows is None else template.fields
        self.fields = tuple(takewhile(names.__contains__, template.fields))
        columns = [names.index(field) for field in self.fields]
        rows = read_rows() if rows is None else rows
        chosen = dict.fromkeys(tuple(row[column] for column in columns) for row in rows)
        known = {name for name in {name for row in chosen for name in row} if knows(name)}
        self._rows = [row for row in chosen if known.issuperset(row)]
        if not any(self._rows):
            self.fields = ()

    def options(self, chosen: Sequence[str | None] = ()) -> list[str]:
        """Return the values of the next field, given the chosen values of the first fields, in alphabetical order."""
        level = len(chosen)
        return sorted({row[level] for row in self._rows if row[:level] == tuple(chosen)})

    def combinations(self) -> list[dict[str, str]]:
        """Return the combinations, each as values by field."""
        return [dict(zip(self.fields, row, strict=True)) for row in self._rows]

    def match(self, values: Sequence[str]) -> list[str]:
        """Return the options that equal a text's values, ignoring case, up to the first value without an option."""
        matched: list[str] = []
        for value in values[: len(self.fields)]:
            option = next((option for option in self.options(matched) if option.lower() == value.lower()), None)
            if option is None:
                break
            matched.append(option)
        return matched


def read_rows() -> list[tuple[str, str, str]]:
    """Return every (country, province, variety) of the file."""
    countries: dict[str, dict[str, list[str]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return [
        (country, province, variety)
        for country, provinces in countries.items()
        for province, varieties in provinces.items()
        for variety in varieties
    ]
