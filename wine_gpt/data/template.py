"""The form of a review's text, "prefix : field : … : running text": compose it, split it, save it with the model."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from wine_gpt.base_model import data_settings
from wine_gpt.config import DataConfig
from wine_gpt.data.text_form import SEPARATOR, TextForm, letters
from wine_gpt.errors import UserError
from wine_gpt.files import JsonObject, read_record, write_json
from wine_gpt.model_path import local_folder
from wine_gpt.run_folder import CONFIG, TEMPLATE
from wine_gpt.yaml_files import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

# the column of the composed texts; ReviewTemplate refuses the name for any other column
COMPOSED = "<review>"


@dataclass(frozen=True)
class ReviewTemplate(TextForm):
    """The form of a corpus's texts: the prefix, the fields' values and the running text, joined by " : ".

    Args:
        prefix: the words that every text begins with; may be empty.
        fields: the columns that follow the prefix, in order.
        text_field: the column of the running text.

    Raises:
        UserError: if a column has the name of the composed texts' column.
    """

    text_field: str

    def __post_init__(self) -> None:
        """Refuse the name of the composed texts' column."""
        if COMPOSED in self.columns:
            raise UserError(
                f"config: data.prompt_fields, data.text_field: no column can be called {COMPOSED}: rename it"
            )

    @classmethod
    def from_config(cls, data: DataConfig) -> Self:
        """Return the template that a config's data settings describe."""
        return cls(data.prefix, tuple(data.prompt_fields), data.text_field)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a text is composed of, in order."""
        return (*self.fields, self.text_field)

    def render(self, record: Mapping[str, object]) -> str:
        """Return a record's whole text: its header and its running text."""
        return " ".join([*filter(None, [self.header(record)]), _as_text(record[self.text_field])])

    def header(self, record: Mapping[str, object]) -> str:
        """Return the text before a record's running text, the last colon included."""
        return self._join(record, self.fields, end=SEPARATOR.rstrip())

    def prompt(self, record: Mapping[str, object]) -> str:
        """Return the header, or its part before the first field that ``record`` lacks."""
        known = tuple(takewhile(record.__contains__, self.fields))
        return self.header(record) if known == self.fields else self._join(record, known)

    def render_columns(self, columns: Mapping[str, "pa.Array"]) -> "pa.Array":
        """Return the whole text of each record of Arrow columns, as :meth:`render` does for one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        values = [pc.cast(columns[name], pa.string()) for name in self.columns]
        return pc.binary_join_element_wise(*self._prefix_parts(), *values, SEPARATOR)

    def parse(self, text: str) -> dict[str, str]:
        """Return a text's fields and running text by their columns' names.

        Fields without a colon after them are left out, because a text that was cut may lack the end of its last value.
        The result is empty for a text that does not begin with the prefix.
        """
        header, running = self.split(text)
        prefix = self._prefix_parts()
        parts = [part.strip() for part in f"{header} ".split(SEPARATOR)]
        if list(map(letters, parts[: len(prefix)])) != list(map(letters, prefix)):
            return {}
        parsed = dict(zip(self.fields, parts[len(prefix) : -1], strict=False))
        return {**parsed, self.text_field: running} if len(parsed) == len(self.fields) else parsed

    def header_length(self, record: Mapping[str, object], tokenizer: "PreTrainedTokenizerFast") -> int:
        """Return the number of tokens of a record's header, [BOS] not counted."""
        return _count_tokens(self.header(record), tokenizer)

    def value_token_span(
        self, record: Mapping[str, object], field: str, tokenizer: "PreTrainedTokenizerFast"
    ) -> tuple[int, int]:
        """Return where a field's value in a record's header begins and ends, as indices of tokens after [BOS]."""
        index = self.fields.index(field)
        before = self._join(record, self.fields[:index], end=SEPARATOR.rstrip())
        value = self._join(record, self.fields[: index + 1])
        return _count_tokens(before, tokenizer), _count_tokens(value, tokenizer)

    def to_dict(self) -> JsonObject:
        """Return the content of ``review_template.json``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: JsonObject) -> Self:
        """Return the template from the content of ``review_template.json``.

        Raises:
            KeyError: if a key is missing.
            TypeError: if a value has another type.
        """
        prefix, fields, text_field = (content[name] for name in ("prefix", "fields", "text_field"))
        if not isinstance(fields, list) or not all(isinstance(text, str) for text in (prefix, text_field, *fields)):
            raise TypeError("prefix and text_field must be texts, fields a list of texts")
        return cls(prefix, tuple(fields), text_field)

    def save(self, folder: Path) -> None:
        """Write ``review_template.json`` into a model's folder."""
        write_json(folder / TEMPLATE, self.to_dict())

    @classmethod
    def load(cls, model: str | Path) -> Self | None:
        """Return a model's template.

        Args:
            model: a folder, or an id on the Hub.

        Returns:
            the template; none if the model was not trained by wine_gpt.

        Raises:
            UserError: if there is no such model, or the file is damaged or can't be downloaded.
        """
        file = local_folder(model) / TEMPLATE
        return read_record(file, cls.from_dict) if os.path.lexists(file) else None

    def settings(self) -> Settings:
        """Return the data settings that describe this template, by dotted key."""
        return {
            "data.prefix": self.prefix,
            "data.prompt_fields": list(self.fields),
            "data.text_field": self.text_field,
        }

    def _join(self, record: Mapping[str, object], names: tuple[str, ...], end: str = "") -> str:
        return self.join([_as_text(record[name]) for name in names], end)


# the form of the class's texts
CLASS_TEMPLATE = ReviewTemplate.from_config(DataConfig())


def training_data_settings(model: str | Path, folder: Path) -> Settings:
    """Return the data settings of the run that trained a model; for a model on the Hub only those in its template.

    Args:
        model: a folder, or an id on the Hub.
        folder: of the model's files; see :func:`wine_gpt.model_path.local_folder`.
    """
    template = ReviewTemplate.load(folder)
    return {**data_settings(os.path.expanduser(model)), **(template.settings() if template else {})}


def require_template(run: Path, data: DataConfig) -> None:
    """Check that a run's saved template describes the same texts as its config.

    Raises:
        UserError: if the template is damaged or differs.
    """
    if ReviewTemplate.load(run) != ReviewTemplate.from_config(data):
        raise UserError(f"{run}: {TEMPLATE} and {CONFIG} describe different texts: correct one of them")


def _as_text(value: object) -> str:
    # Arrow writes numbers as in render_columns: 15.0 is "15"
    if isinstance(value, str):
        return value
    import pyarrow as pa

    return str(pa.scalar(value).cast(pa.string()))


def _count_tokens(text: str, tokenizer: "PreTrainedTokenizerFast") -> int:
    return len(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
