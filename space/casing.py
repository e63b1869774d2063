"""Capitalize sentences and names, because the model's words are lower case."""

import re
from collections.abc import Iterable, Mapping, Sequence

# names that also occur as ordinary words in running text
_ORDINARY = re.compile(r"blend|style|red$|white$|^.{1,2}$|^port$|^rosé$", re.IGNORECASE)
_WORD = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = {".", "!", "?"}

# names, each as a list of words, the longest first, by their first word in lower case
_Names = Mapping[str, list[list[str]]]


class Casing:
    """Capitalizes the first word of a sentence and the words of names."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take names with their capitals."""
        names = list(names)
        self._in_header = _by_first_word(names)
        self._in_text = _by_first_word(name for name in names if not _ORDINARY.search(name))

    def apply(self, words: Sequence[str], header: int) -> list[str]:
        """Return the words with capitals.

        Args:
            words: each with its leading space.
            header: number of words before the running text.
        """
        shown = [*(_title(word) for word in words[:header]), *_sentences(words[header:])]
        for first, last, names in ((0, header, self._in_header), (header, len(words), self._in_text)):
            position = first
            while position < last:
                position += _put_name(shown, words, position, last, names) or 1
        return shown


def _by_first_word(names: Iterable[str]) -> _Names:
    found: dict[str, list[list[str]]] = {}
    for name in sorted(set(names), key=len, reverse=True):
        parts = _WORD.findall(name)
        found.setdefault(parts[0].lower(), []).append(parts)
    return found


def _put_name(shown: list[str], words: Sequence[str], first: int, last: int, names: _Names) -> int:
    """Write a name that begins at position ``first`` with its capitals; return its number of words, 0 for no name."""
    for parts in names.get(words[first].strip().lower(), []):
        run = words[first : min(first + len(parts), last)]
        if [word.strip().lower() for word in run] == [part.lower() for part in parts]:
            for offset, (word, part) in enumerate(zip(run, parts, strict=True)):
                shown[first + offset] = word[: len(word) - len(word.lstrip())] + part
            return len(parts)
    return 0


def _title(word: str) -> str:
    bare = word.lstrip()
    return word[: len(word) - len(bare)] + bare[:1].upper() + bare[1:]


def _sentences(words: Sequence[str]) -> list[str]:
    shown: list[str] = []
    begins = True
    for position, word in enumerate(words):
        bare = word.strip()
        shown.append(_title(word) if begins or bare == "i" else word)
        if bare in _SENTENCE_END:
            # a period after one letter, as in U.S., ends no sentence
            begins = position > 0 and len(words[position - 1].strip()) > 1
        elif any(character.isalnum() for character in bare):
            begins = False
    return shown
