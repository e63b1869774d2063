"""What visitors may send, checked before any of it is used."""

import unicodedata
from collections.abc import Collection
from typing import Any

from texts import Problem

MOST_CHARACTERS = 10_000
TEMPERATURES = (0.1, 2.0)
TOP_PS = (0.05, 1.0)
SEEDS = (0, 2**32 - 1)
MOST_CHOICES = 50

# of Unicode: control, format (as those that turn the direction of writing), surrogate, private use, unassigned
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn"}
_WHITE_SPACE = "\t\n\r"


def text(field: str, value: Any, most: int = MOST_CHARACTERS) -> str:  # noqa: ANN401 - from anybody
    """Return a text that may be shown and tokenized.

    Raises:
        Problem: if it is no text, too long, or holds a character that cannot be seen.
    """
    if not isinstance(value, str):
        raise Problem("problem_text", field=field)
    if len(value) > most:
        raise Problem("problem_long", field=field, count=len(value), most=most)
    for place, character in enumerate(value, 1):
        if unicodedata.category(character) in _UNPRINTABLE and character not in _WHITE_SPACE:
            raise Problem("problem_unseen", field=field, place=place, code=f"U+{ord(character):04X}")
    return value


def number(field: str, value: Any, least: float, most: float) -> float:  # noqa: ANN401 - from anybody
    """Return a finite number within a range, both ends included.

    Raises:
        Problem: if it is none.
    """
    # NaN is in no range
    if not _is_number(value) or not least <= value <= most:
        raise Problem("problem_number", field=field, least=least, most=most)
    return float(value)


def whole(field: str, value: Any, least: int, most: int) -> int:  # noqa: ANN401 - from anybody
    """Return a whole number within a range, both ends included; 7.0 is one.

    Raises:
        Problem: if it is none.
    """
    if not _is_number(value) or not least <= value <= most or value != int(value):
        raise Problem("problem_whole", field=field, least=least, most=most)
    return int(value)


def choice(field: str, value: Any, choices: Collection[str]) -> str:  # noqa: ANN401 - from anybody
    """Return a value that is one of the choices.

    Raises:
        Problem: if it is none.
    """
    if not isinstance(value, str) or value not in choices:
        raise Problem("problem_choice", field=field, choices=", ".join(choices))
    return value


def ids(field: str, value: Any, vocabulary: int, most: int) -> list[int]:  # noqa: ANN401 - from anybody
    """Return a list of so many words of the vocabulary at most, each by its number.

    Raises:
        Problem: if it is none.
    """
    if not isinstance(value, list) or len(value) > most:
        raise Problem("problem_list", field=field, most=most)
    return [whole(field, index, 0, vocabulary - 1) for index in value]


def _is_number(value: Any) -> bool:  # noqa: ANN401 - from anybody
    return isinstance(value, int | float) and not isinstance(value, bool)
