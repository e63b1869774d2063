"""What visitors read, in their language; the page's script reads the same file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEXTS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("texts.json").read_text(encoding="utf-8"))
# of programs, which ask for none
USUAL = "en"


class Problem(Exception):
    """What was sent, or the model, is not as it must be; the message says what, where and what may stand there.

    Attributes:
        key: of the message in ``texts.json``.
        values: what stands in it; never what was sent, as pages show messages as HTML.
    """

    def __init__(self, key: str, **values: Any) -> None:  # noqa: ANN401 - whatever can be written
        self.key, self.values = key, values
        super().__init__(self.told())

    def told(self, language: str = USUAL) -> str:
        """Return the message in a language."""
        texts, values = TEXTS[language], dict(self.values)
        if field := values.get("field"):
            values["field"] = texts.get(f"field_{field}".replace(" ", "_"), field)
        return texts[self.key].format(**values)


def language_of(query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Return the language of a request: as ``page.js`` has it, what the address asks for, else the browser's first."""
    wanted = (query.get("lang"), headers.get("accept-language", "")[:2])
    return next((tag for tag in wanted if tag in TEXTS), USUAL)
