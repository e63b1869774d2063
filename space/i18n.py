"""The page's texts and error messages in each language; page.js reads the same texts."""

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
        return texts[self.key].format(**values)


def page_texts(about_wine: bool, prefix: str = "", form: str = "") -> Texts:
    """Return the page's texts by language and key.

    Args:
        about_wine: whether the model's texts are wine reviews.
        prefix: of another corpus's texts; empty if they have none.
        form: of another corpus's texts, see :attr:`template.Template.form`.
    """
    suffixes = [""] if about_wine else [*([NAMED] if prefix else []), OTHER, ""]
    return {
        language: {
            key: _fill(next(texts[key + suffix] for suffix in suffixes if key + suffix in texts), prefix, form)
            for key in texts
            if not key.endswith((OTHER, NAMED))
        }
        for language, texts in TEXTS.items()
    }


def _fill(text: str, prefix: str, form: str) -> str:
    values = {"{prefix}": prefix, "{form}": form}
    return re.sub("{prefix}|{form}", lambda found: values[found[0]], text)


def language_of(query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Return a request's language, as ``page.js`` does: the URL's ``lang``, otherwise the browser's first language."""
    tags = (query.get("lang"), headers.get("accept-language", "")[:2])
    return next((language for language in tags if language in TEXTS), DEFAULT_LANGUAGE)
