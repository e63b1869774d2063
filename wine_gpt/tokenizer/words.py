"""Divide texts into the class's words.

The division follows the class's notebook. Texts are brought into Unicode's form NFC, so that a decomposed é is the
same letter, and lower-cased, character by character. Each ASCII punctuation character except the backslash is a word,
and ASCII white space separates words; with ``data.line_breaks`` each line break is a word too.

Imports the standard library only, because publishing copies this file into the Space.
"""

import re
import unicodedata

# string.punctuation without the backslash, which is no separate word in the class's regular expression
_PUNCTUATION = r"!-/:-@\[\]-`{-~"
# white space as in TensorFlow's split; a no-break space is part of its word
WHITE_SPACE = r" \t\n\x0b\x0c\r"
WORD = rf"[{_PUNCTUATION}]|[^{_PUNCTUATION}{WHITE_SPACE}]+"
# the same, with each line break as a word
WORD_OR_BREAK = rf"\n|{WORD}"
_FIND_WORDS = re.compile(WORD).findall
_FIND_WORDS_AND_BREAKS = re.compile(WORD_OR_BREAK).findall
_IS_WORD_CHARACTER = re.compile(rf"[^{_PUNCTUATION}{WHITE_SPACE}]").match


def class_words(text: str, line_breaks: bool = False) -> list[str]:
    """Return the class's words of a text, in lower case, and its line breaks if they are words."""
    if line_breaks:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # str.lower writes Σ at a word's end as ς; the tokenizer's Lowercase writes σ everywhere
    lowered = unicodedata.normalize("NFC", text).replace("Σ", "σ").lower()
    return (_FIND_WORDS_AND_BREAKS if line_breaks else _FIND_WORDS)(lowered)


def is_word_character(character: str) -> bool:
    """Return whether a character is part of a word of several characters: no punctuation mark and no white space."""
    return _IS_WORD_CHARACTER(character) is not None


def word_ends(text: str, line_breaks: bool = False) -> list[int]:
    """Return the end of each of the class's words, and line breaks if they are words, as an index into the text.

    The text must be in NFC, as all of :mod:`wine_gpt.data.reviews` are.
    """
    # class_words reads each line break, also an old Mac's \r, as \n
    pattern = rf"\r(?!\n)|{WORD_OR_BREAK}" if line_breaks else WORD
    return [match.end() for match in re.finditer(pattern, text)]
