"""Command lines of scripts that have a few options and no config file."""

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from wine_gpt.errors import UserError


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what ``exits_cleanly`` prints."""
        raise UserError(f"{message}; see --help")


def number(kind: Callable[[str], float], low: float, high: float, advice: str = "") -> Callable[[str], float]:
    """Return an argument's type that takes numbers from ``low`` to ``high``."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is no number from {low:g} to {high:,}{advice}")
        return value

    return read
