"""Markdown of the cards: tables, escaped text, code blocks."""

import html
import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    """Return a table of the rows whose cells are all filled; an empty text if there is none."""
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows if all(row)]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *lines])


def escape(text: str) -> str:
    """Return Markdown that shows the text as it is, also inside a table."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(text, quote=False))


def fenced(text: str) -> str:
    """Return the text in a code block, whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
