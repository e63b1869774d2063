"""Count the class's words in token ids, so that losses per word are right for tokens that are no words."""

import functools

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from wine_gpt.tokenizer.schemes import CHARACTERS, WORDS, kind_of, scheme_of
from wine_gpt.tokenizer.words import class_words, is_word_character

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# how the entries of byte-level vocabularies, and of those of SentencePiece, spell white space
_WHITE_SPACE = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n", "ĉ": "\t", "č": "\r"})


class WordStarts:
    """Where the class's words start in the tokens of a tokenizer.

    A token has as many starts as words begin in it. Its first word does not begin in it if it continues the last word
    of the token before it.

    Args:
        tokenizer: any whose tokens spell their white space; each token of a word-level tokenizer is a word.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        scheme, kind = scheme_of(tokenizer), kind_of(tokenizer)
        is_characters = kind == CHARACTERS
        size = len(tokenizer)
        self._starts = np.ones(size, np.int64)
        # whether a token begins, and whether it ends, with a character of a word
        self._begins_in_word, self._ends_in_word = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        for entry, index in ({} if kind == WORDS else tokenizer.get_vocab()).items():
            text = entry if is_characters else entry.translate(_WHITE_SPACE)
            self._starts[index] = len(class_words(text, scheme is not None and scheme.line_breaks))
            self._begins_in_word[index] = is_word_character(text[:1])
            self._ends_in_word[index] = is_word_character(text[-1:])
        ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        for index in tokenizer.all_special_ids:
            # an unknown token is a word, or the letter of one; GPT-2's is also the end of text, and no text has it
            is_unknown = index == tokenizer.unk_token_id and index not in ends
            self._starts[index] = is_unknown
            self._begins_in_word[index] = self._ends_in_word[index] = is_unknown and is_characters

    def continues(self, ids: Ints, before: Ints) -> Bools:
        """Return whether each token continues the word at the end of the token before it, of the ids' shape."""
        return np.asarray(self._begins_in_word[ids] & self._ends_in_word[before])

    def count(self, ids: Ints, before: Ints) -> Ints:
        """Return how many words start in each token, given the token before it, int64 of the ids' shape."""
        return np.asarray(self._starts[ids] - self.continues(ids, before))


@functools.lru_cache(maxsize=4)
def word_starts(tokenizer: PreTrainedTokenizerFast) -> WordStarts:
    """Return a tokenizer's :class:`WordStarts`, which are computed once."""
    return WordStarts(tokenizer)
