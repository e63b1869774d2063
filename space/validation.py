"""Validate visitors' input before it is used."""

import re
from collections.abc import Collection
from typing import Any

from i18n import UserFacingError

MAX_CHARACTERS = 10_000
TEMPERATURES = (0.1, 2.0)
TOP_PS = (0.05, 1.0)
GUIDANCES = (1.0, 5.0)
SEEDS = (0, 2**32 - 1)
MAX_CHOICES = 50

# control characters but tab and line breaks, marks without width or that change the direction, surrogates and private
# use; joiners, variation selectors and tags are not among them, because emoji, Persian and Hindi need these
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\ud800-\uf8ff\ufeff\ufff9-\ufffb\U000f0000-\U0010ffff]"
)
# a byte order mark and a zero-width space, which copying from a file or a page adds
_PASTED = "\ufeff\u200b"


def text(field: str, value: Any) -> str:  # noqa: ANN401 - unvalidated
    """Return a text that can be shown and tokenized, without a byte order mark or zero-width space at its ends.

    Raises:
        UserFacingError: if the value is no text, is too long, or has an invisible character.
    """
    if not isinstance(value, str):
        raise UserFacingError("problem_text", field=field)
    if len(value) > MAX_CHARACTERS:
        raise UserFacingError("problem_long", field=field, count=len(value), most=MAX_CHARACTERS)
    kept = value.strip(_PASTED)
    if found := _INVISIBLE.search(kept):
        position, code = value.index(kept) + found.start() + 1, f"U+{ord(found[0]):04X}"
        raise UserFacingError("problem_invisible", field=field, position=position, code=code)
    return kept


def number(field: str, value: Any, least: float, most: float) -> float:  # noqa: ANN401 - unvalidated
    """Return a finite number in [least, most].

    Raises:
        UserFacingError: if the value is not such a number.
    """
    # the comparison is false for NaN too
    if not _is_number(value) or not least <= value <= most:
        raise UserFacingError("problem_number", field=field, least=least, most=most)
    return float(value)


def whole(field: str, value: Any, least: int, most: int) -> int:  # noqa: ANN401 - unvalidated
    """Return a whole number in [least, most]; 7.0 counts as one.

    Raises:
        UserFacingError: if the value is not such a number.
    """
    if not _is_number(value) or not least <= value <= most or value != int(value):
        raise UserFacingError("problem_whole", field=field, least=least, most=most)
    return int(value)


def choice(field: str, value: Any, choices: Collection[str]) -> str:  # noqa: ANN401 - unvalidated
    """Return a value that is one of the choices.

    Raises:
        UserFacingError: if the value is not one of the choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise UserFacingError("problem_choice", field=field, choices=", ".join(choices))
    return value


def _is_number(value: Any) -> bool:  # noqa: ANN401 - unvalidated
    return isinstance(value, int | float) and not isinstance(value, bool)
