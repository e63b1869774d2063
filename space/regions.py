"""The countries, provinces and varieties that the page offers, as far as the model's texts name them."""

import json
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from template import Template

FILE = Path(__file__).with_name("regions.json")
FIELDS = ("country", "province", "variety")


class Regions:
    """Combinations of values that exist, one value per field.

    Attributes:
        fields: the template's leading fields that are countries, provinces or varieties, in its order; often none.
    """

    def __init__(self, template: Template, knows: Callable[[str], bool]) -> None:
        """Keep the combinations all of whose words the model knows.

        Args:
            template: of the model's texts.
            knows: whether the model knows every word of a name.
        """
        self.fields = tuple(takewhile(FIELDS.__contains__, template.fields))
        columns = [FIELDS.index(field) for field in self.fields]
        rows = dict.fromkeys(tuple(row[column] for column in columns) for row in read_rows())
        known = {name for name in {name for row in rows for name in row} if knows(name)}
        self._rows = [row for row in rows if known.issuperset(row)]
        if not any(self._rows):
            self.fields = ()

    def options(self, chosen: Sequence[str | None] = ()) -> list[str]:
        """Return the values of the field that follows those that are chosen, in alphabetical order."""
        level = len(chosen)
        return sorted({row[level] for row in self._rows if row[:level] == tuple(chosen)})

    def match(self, values: Sequence[str]) -> list[str]:
        """Return the offered values that a text's values name in any case, up to the first that is not offered."""
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
