"""Count the class's words of a corpus.

Arrow is imported within the functions, because a process that trains does without it.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from wine_gpt.tokenizer.words import class_words

if TYPE_CHECKING:
    import pyarrow as pa

# distinct strings between two spaces that are counted at once, because their number grows with the corpus
MOST_CHUNKS = 200_000


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
