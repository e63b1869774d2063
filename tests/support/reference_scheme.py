"""The class's tokenization in plain Python, written from its description, independently of the package."""

import string
import unicodedata
from collections import Counter
from collections.abc import Iterable

ASCII_WHITE_SPACE = " \t\n\x0b\x0c\r"
# the class's regular expression does not split off the backslash, because there it escapes the next bracket
SPLIT_OFF = set(string.punctuation) - {"\\"}


def spaced_words(text: str) -> list[str]:
    """Return the words of a text: NFC, lower case, a space around each punctuation character, split at ASCII space."""
    lowered = "".join(character.lower() for character in unicodedata.normalize("NFC", text))
    padded = "".join(f" {character} " if character in SPLIT_OFF else character for character in lowered)
    words = [""]
    for character in padded:
        if character not in ASCII_WHITE_SPACE:
            words[-1] += character
        elif words[-1]:
            words.append("")
    return words if words[-1] else words[:-1]


def vocabulary(texts: Iterable[str], size: int) -> list[str]:
    """Return padding, unknown, and the words by descending count, words of equal count in descending order."""
    counts = Counter(word for text in texts for word in spaced_words(text))
    ranked = sorted(sorted(counts, reverse=True), key=lambda word: -counts[word])
    return ["[PAD]", "[UNK]", *ranked][:size]


def ids(texts: Iterable[str], words: list[str]) -> list[list[int]]:
    """Return for each text the index of each of its words in the vocabulary, 1 for an unknown word."""
    indices = {word: index for index, word in enumerate(words) if index > 1}
    return [[indices.get(word, 1) for word in spaced_words(text)] for text in texts]
