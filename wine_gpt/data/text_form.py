"""The form of a corpus's texts, "prefix : field : … : running text", in the package and in the demo.

Imports nothing of the package, because publishing copies this file into the Space.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

SEPARATOR = " : "
# the colon as texts have it, and as one types it
_COLON = r" :(?=\s|\Z)"
_TYPED_COLON = r"\s*:(?=\s|\Z)"


@dataclass(frozen=True)
class TextForm:
    """The prefix and the fields before the running text; a colon follows each.

    Args:
        prefix: the words that every text begins with; may be empty.
        fields: the columns that follow the prefix, in order.
    """

    prefix: str
    fields: tuple[str, ...]

    def join(self, values: Sequence[str], end: str = "") -> str:
        """Return the beginning of a text: the prefix, the values of the first fields, and ``end`` if there are any."""
        parts = [*self._prefix_parts(), *values]
        return SEPARATOR.join(parts) + end if parts else ""

    def split(self, text: str) -> tuple[str, str]:
        """Return the header of a text, the last colon included, and its running text.

        A text that ends within its header has an empty running text. A value that contains " : " is read as two
        fields, because nothing distinguishes them.
        """
        header = self._header(text)
        end = header.end() if header else len(text)
        return text[:end], text[end:].lstrip()

    def running_text(self, text: str) -> str:
        """Return the running text of a typed text, in whose header the colons may have no spaces around them.

        It is empty for a text that ends within its header, and the whole text for one without a header.
        """
        # without a prefix, colons like these could be the running text's
        spaced = re.sub(r"\s*:\s*", SEPARATOR, text, count=self.colons) if self.prefix else text
        if not (self._part_spans(spaced) and re.search(_COLON, spaced)):
            return text
        header = self._header(text) or self._header(spaced)
        return header.string[header.end() :].lstrip() if header else ""

    def may_begin(self, prompt: str) -> bool:
        """Return whether a prompt agrees with the prefix as far as both go; case and white space do not count."""
        prefix, typed = letters(self.prefix), letters(prompt)
        return typed.startswith(prefix) or prefix.startswith(typed)

    def value_spans(self, prompt: str) -> list[tuple[int, int]]:
        """Return where each value in a prompt's header begins and ends, as indices of characters.

        The list is empty for a prompt that does not begin with the prefix. As in :meth:`may_begin`, case and white
        space do not count.
        """
        return self._part_spans(prompt)[len(self._prefix_parts()) :][: len(self.fields)]

    @property
    def colons(self) -> int:
        """The number of colons of a header."""
        return len(self.fields) + len(self._prefix_parts())

    def _prefix_parts(self) -> list[str]:
        return self.prefix.split(SEPARATOR) if self.prefix else []

    def _header(self, text: str) -> re.Match[str] | None:
        return re.match(rf"(?s:.*?{_COLON}){{{self.colons}}}", text)

    def _part_spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the prefix's parts, the values and the running text are; nowhere if the prefix is another."""
        colons = list(islice(re.finditer(_TYPED_COLON, text), self.colons))
        starts = [0, *(colon.end() for colon in colons)]
        ends = [*(colon.start() for colon in colons), len(text)]
        prefix, spans = self._prefix_parts(), list(zip(starts, ends, strict=True))
        typed = [letters(text[start:end]) for start, end in spans[: len(prefix)]]
        return spans if typed == list(map(letters, prefix)) else []


def letters(text: str) -> str:
    """Return a text without case and white space, which encoding and decoding change."""
    return "".join(text.lower().split())
