"""Divide texts into the class's words.

The division follows the class's notebook. Texts are brought into Unicode's form NFC, so that a decomposed é is the
same letter, and lower-cased, character by character. Each ASCII punctuation character except the backslash is a word,
and ASCII white space separates words; with ``data.line_breaks`` each line break is a word too.

Imports tokenizers only, because publishing copies this file into the Space.
"""

import functools
import re
import string
import unicodedata

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

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
    """Return the end of each of the class's words, and line breaks if they are words, as an index into the text."""
    # class_words reads each line break, also an old Mac's \r, as \n
    pattern = rf"\r(?!\n)|{WORD_OR_BREAK}" if line_breaks else WORD
    if unicodedata.is_normalized("NFC", text):
        return [match.end() for match in re.finditer(pattern, text)]
    # NFC makes punctuation of some characters and letters of some punctuation
    offsets = _finder(pattern).encode(text).offsets
    starts = [*(start for start, _ in offsets[1:]), len(text)]
    # an offset ends before the accents that NFC joins to a word's last letter, so add what precedes the white space
    return [
        end + len(text[end:start].rstrip(string.whitespace)) for (_, end), start in zip(offsets, starts, strict=True)
    ]


@functools.cache
def _finder(pattern: str) -> Tokenizer:
    """Return a tokenizer that finds words in a text that is not in NFC, with their offsets in it."""
    finder = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    finder.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    finder.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return finder
