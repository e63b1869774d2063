"""The template of the model's texts, "prefix : field : … : running text", from ``review_template.json``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

try:
    from wine_gpt.data.text_form import SEPARATOR, TextForm
except ModuleNotFoundError:
    # in a Space, into which publishing copies the file
    from text_form import SEPARATOR, TextForm  # type: ignore[no-redef]

FILE = "review_template.json"


@dataclass(frozen=True)
class Template(TextForm):
    """The form of a model's texts, and whether its tokenizer distinguishes capitals."""

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

    @property
    def form(self) -> str:
        """The beginning of every text, with the fields' names instead of their values: "recipe : dish : …"."""
        return self.join([*self.fields, "…"]) if self.prefix or self.fields else ""

    def prompt(self, values: Mapping[str, str]) -> str:
        """Return the beginning of a text, up to the first field without a value, as the tokenizer reads it."""
        known = [values[field] for field in takewhile(values.__contains__, self.fields)]
        prompt = self.join(known, SEPARATOR.rstrip() if known else "")
        return prompt if self.keeps_capitals else prompt.lower()

    def values(self, text: str) -> list[str]:
        """Return the values of a text's fields, in order; none if the text has another prefix."""
        return [text[start:end].strip() for start, end in self.value_spans(text)]


# the template of the class's wine reviews
WINE = Template("wine review", ("country", "province", "variety"))
# the template of a model that names none
UNKNOWN = Template("", ())
