"""The page's texts and error messages in each language."""

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Texts = dict[str, dict[str, str]]

TEXTS: Texts = json.loads(Path(__file__).with_name("i18n.json").read_text(encoding="utf-8"))
# the language of requests that name none, as programs' requests usually do
DEFAULT_LANGUAGE = "en"
# the suffix of the texts for a model of a corpus other than wine
OTHER = "_other"
# the suffix of those that name the prefix of its texts
NAMED = "_named"
# the suffix of those for a page without a model
NO_MODEL = "_no_model"


class UserFacingError(Exception):
    """An invalid input or model, with a message that says what is wrong, where, and what is allowed.

    Attributes:
        key: the key of the message in ``i18n.json``.
        values: the values to fill into the message; never the input itself, because pages show messages as HTML.
    """

    def __init__(self, key: str, **values: Any) -> None:  # noqa: ANN401 - whatever can be formatted
        self.key, self.values = key, values
        super().__init__(self.message())

    def message(self, language: str = DEFAULT_LANGUAGE) -> str:
        """Return the message in a language."""
        texts, values = TEXTS[language], dict(self.values)
        if field := values.get("field"):
            values["field"] = texts.get(f"field_{field}".replace(" ", "_"), field)
        if unit := values.get("unit"):
            values["units"] = texts[f"units_{unit}"]
        return texts[self.key].format(**values)


def page_texts(about_wine: bool, prefix: str = "", form: str = "", model: str = "", unit: str = "word") -> Texts:
    """Return the page's texts by language and key.

    Args:
        about_wine: whether the model's texts are wine reviews.
        prefix: of another corpus's texts; empty if they have none.
        form: of another corpus's texts, see :attr:`template.Template.form`.
        model: link to the model in Markdown; empty if there is no model.
        unit: what the model's tokens are: word, character or token.
    """
    corpus = [] if about_wine else [*([NAMED] if prefix else []), OTHER]
    suffixes = [*([] if model else [NO_MODEL]), *corpus, ""]
    return {
        language: {
            key: _fill(key, next(texts[key + suffix] for suffix in suffixes if key + suffix in texts), values)
            for values in [
                {"prefix": prefix, "form": form, "model": model}
                | {"unit": texts[f"unit_{unit}"], "units": texts[f"units_{unit}"]}
            ]
            for key in texts
            if not key.endswith((OTHER, NAMED, NO_MODEL))
        }
        for language, texts in TEXTS.items()
    }


def _fill(key: str, text: str, values: Mapping[str, str]) -> str:
    """Return a text with the values of ``page_texts``; its other values are filled in by the page."""

    def value(found: re.Match[str]) -> str:
        # the heading is Markdown, which may contain HTML
        return html.escape(values[found[1]]) if key == "heading" else values[found[1]]

    return re.sub(f"{{({'|'.join(values)})}}", value, text)


def language_of(headers: Mapping[str, str]) -> str:
    """Return a request's language: the browser's first one, as gradio does on the page."""
    language = headers.get("accept-language", "")[:2].lower()
    return language if language in TEXTS else DEFAULT_LANGUAGE
