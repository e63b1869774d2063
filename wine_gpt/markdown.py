"""Write Markdown: tables, escaped text, inline code and code blocks."""

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
    """Return Markdown that shows the text as it is, in one line, also inside a table."""
    return re.sub(r"([\\`*_~\[\]|$])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def code(text: str) -> str:
    """Return the text as inline code, whose delimiter is longer than any run of backticks in the text."""
    text = " ".join(text.split())
    ticks = "`" * (_longest_run_of_backticks(text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def fenced(text: str) -> str:
    """Return the text in a code block, whose fence is longer than any run of backticks in the text."""
    fence = "`" * max(3, _longest_run_of_backticks(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _longest_run_of_backticks(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)
