"""The template of the model's texts, "prefix : field : … : running text", from ``review_template.json``."""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import yaml

try:
    from wine_gpt.data.text_form import SEPARATOR, TextForm
except ModuleNotFoundError:
    # in a Space, into which publishing copies the file
    from text_form import SEPARATOR, TextForm  # type: ignore[no-redef]

FILE = "review_template.json"
# has the template of a model that an earlier version of wine_gpt saved without FILE
CONFIG = "config.yaml"


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
