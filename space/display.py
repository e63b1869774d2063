"""A text as people write it: the model's words are lower case."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# country → province → varieties
Places = dict[str, dict[str, list[str]]]

PREFIX = ("wine", "review", ":")
HEADER_FIELDS = 3

# names that are ordinary words, too, in running text
_ORDINARY = re.compile(r"blend|style|red$|white$|^.{1,2}$|^port$|^rosé$", re.IGNORECASE)
_WORD = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = {".", "!", "?"}


def read_places(path: Path) -> Places:
    """Return the countries, provinces and varieties to choose from."""
    places: Places = json.loads(path.read_text(encoding="utf-8"))
    return places


def header_length(words: Sequence[str]) -> int:
    """Return how many words the header has so far: ``wine review : country : province : variety :``; often 0."""
    bare = [word.strip().lower() for word in words]
    if tuple(bare[: len(PREFIX)]) != PREFIX[: len(bare)]:
        return 0
    colons = [place for place, word in enumerate(bare) if word == ":"]
    return colons[HEADER_FIELDS] + 1 if len(colons) > HEADER_FIELDS else len(words)


class Casing:
    """Puts capitals where sentences and names begin."""

    def __init__(self, places: Places) -> None:
        provinces = [province for country in places.values() for province in country]
        varieties = [grape for country in places.values() for grapes in country.values() for grape in grapes]
        self._in_header = _by_words([*places, *provinces, *varieties])
        self._in_text = _by_words(name for name in [*places, *provinces, *varieties] if not _ORDINARY.search(name))

    def apply(self, words: Sequence[str], header: int) -> list[str]:
        """Return the same words, each with its own leading space as before, with capitals.

        Args:
            words: each with its leading space.
            header: how many of them are the header's.
        """
        shown = [*(_title(word) for word in words[:header]), *_sentences(words[header:])]
        for first, last, names in ((0, header, self._in_header), (header, len(words), self._in_text)):
            place = first
            while place < last:
                place += _put_name(shown, words, place, last, names) or 1
        return shown


def _by_words(names: Iterable[str]) -> Mapping[str, list[list[str]]]:
    """Return the names as words, longest first, by their first word in lower case."""
    found: dict[str, list[list[str]]] = {}
    for name in sorted(set(names), key=len, reverse=True):
        parts = _WORD.findall(name)
        found.setdefault(parts[0].lower(), []).append(parts)
    return found


def _put_name(
    shown: list[str], words: Sequence[str], place: int, last: int, names: Mapping[str, list[list[str]]]
) -> int:
    """Write a name that begins at a place with its capitals; return how many words it has, 0 for none."""
    for parts in names.get(words[place].strip().lower(), []):
        run = words[place : min(place + len(parts), last)]
        if [word.strip().lower() for word in run] == [part.lower() for part in parts]:
            for offset, (word, part) in enumerate(zip(run, parts, strict=True)):
                shown[place + offset] = word[: len(word) - len(word.lstrip())] + part
            return len(parts)
    return 0


def _title(word: str) -> str:
    bare = word.lstrip()
    return word[: len(word) - len(bare)] + bare[:1].upper() + bare[1:]


def _sentences(words: Sequence[str]) -> list[str]:
    shown: list[str] = []
    begins = True
    for place, word in enumerate(words):
        bare = word.strip()
        capital = begins or bare == "i"
        shown.append(_title(word) if capital else word)
        if bare in _SENTENCE_END:
            # the stop of an abbreviation, as in U.S., ends no sentence
            begins = place > 0 and len(words[place - 1].strip()) > 1
        elif any(character.isalnum() for character in bare):
            begins = False
    return shown
