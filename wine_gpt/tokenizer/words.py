"""Divide texts into the class's words.

The division follows the class's notebook. Texts are brought into Unicode's form NFC, so that a decomposed é is the
same letter, and lower-cased, character by character. Each ASCII punctuation character except the backslash is a word,
and ASCII white space separates words; with ``data.line_breaks`` each line break is a word too.

Arrow is imported within the functions, because a process that trains does without it.
"""

import functools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

if TYPE_CHECKING:
    import pyarrow as pa

# the word of a line break, with data.line_breaks
LINE_BREAK = "\n"
# distinct strings between two spaces that are counted at once, because their number grows with the corpus
MOST_CHUNKS = 200_000

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


def count_words(texts: Iterable[str], line_breaks: bool = False) -> Counter[str]:
    """Count the class's words, and line breaks if they are words."""
    import pyarrow as pa

    from wine_gpt.data.columns import BATCH_ROWS

    counts: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    remaining = iter(texts)
    while batch := list(islice(remaining, BATCH_ROWS)):
        found = split_at_spaces(pa.array(batch, pa.string())).flatten().value_counts()
        chunks.update(dict(zip(*(values.to_pylist() for values in found.flatten()), strict=True)))
        if len(chunks) > MOST_CHUNKS:
            _add_words(counts, chunks, line_breaks)
    _add_words(counts, chunks, line_breaks)
    return counts


def split_at_spaces(texts: "pa.Array") -> "pa.ListArray":
    """Return the chunks of each text, the strings between its spaces, in Arrow because Python is slower."""
    import pyarrow.compute as pc

    return pc.split_pattern(texts, " ")


def _add_words(counts: Counter[str], chunks: Counter[str], line_breaks: bool) -> None:
    """Add the words of the chunks to the counts and empty the chunks."""
    # the regular expression is slow, so it runs once per distinct chunk
    for chunk, count in chunks.items():
        for word in class_words(chunk, line_breaks):
            counts[word] += count
    chunks.clear()


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
    pattern = WORD_OR_BREAK if line_breaks else WORD
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
