"""Validate visitors' input before it is used."""

import unicodedata
from collections.abc import Collection
from typing import Any

from i18n import UserFacingError

MAX_CHARACTERS = 10_000
TEMPERATURES = (0.1, 2.0)
TOP_PS = (0.05, 1.0)
SEEDS = (0, 2**32 - 1)
MAX_CHOICES = 50

# Unicode's control, format (such as a change of writing direction), surrogate, private-use, unassigned characters
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn"}
_WHITE_SPACE = "\t\n\r"


def text(field: str, value: Any, most: int = MAX_CHARACTERS) -> str:  # noqa: ANN401 - unvalidated
    """Return a text that can be shown and tokenized.

    Raises:
        UserFacingError: if the value is no text, is too long, or has an invisible character.
    """
    if not isinstance(value, str):
        raise UserFacingError("problem_text", field=field)
    if len(value) > most:
        raise UserFacingError("problem_long", field=field, count=len(value), most=most)
    for position, character in enumerate(value, 1):
        if unicodedata.category(character) in _UNPRINTABLE and character not in _WHITE_SPACE:
            raise UserFacingError("problem_invisible", field=field, position=position, code=f"U+{ord(character):04X}")
    return value


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


def ids(field: str, value: Any, vocabulary: int, most: int) -> list[int]:  # noqa: ANN401 - unvalidated
    """Return a list of at most ``most`` token ids.

    Raises:
        UserFacingError: if the value is not such a list.
    """
    if not isinstance(value, list) or len(value) > most:
        raise UserFacingError("problem_list", field=field, most=most)
    return [whole(field, index, 0, vocabulary - 1) for index in value]


def _is_number(value: Any) -> bool:  # noqa: ANN401 - unvalidated
    return isinstance(value, int | float) and not isinstance(value, bool)
