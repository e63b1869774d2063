"""Encode reviews, and check that a tokenizer fits them."""

from collections.abc import Iterator
from itertools import chain

import datasets.utils
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, List, Value
from datasets.fingerprint import Hasher
from transformers import PreTrainedTokenizerFast

from wine_gpt.data.columns import BATCH_ROWS
from wine_gpt.data.reviews import texts
from wine_gpt.data.template import COMPOSED
from wine_gpt.errors import UserError
from wine_gpt.progress import bars_on_terminals_only
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.tokenizer.schemes import WORDS, scheme_of, unit
from wine_gpt.tokenizer.word_counts import split_at_spaces
from wine_gpt.tokenizer.word_starts import word_starts
from wine_gpt.tokenizer.words import class_words

# increase this when a change to the code changes the ids
ENCODING_VERSION = 1
TOKENIZED = Features({"input_ids": List(Value("int32")), "length": Value("int32")})
# a tokenizer fits a corpus badly above this fraction of unknown tokens, or above these characters per token on average
MOST_UNKNOWN, MOST_CHARACTERS = 0.1, 15


def tokenize_splits(splits: DatasetDict, tokenizer: PreTrainedTokenizerFast, column: str = COMPOSED) -> DatasetDict:
    """Encode each review as [BOS] words [EOS], cached beside the reviews.

    Args:
        splits: the reviews.
        tokenizer: the tokenizer.
        column: that of the texts.

    Returns:
        for each split, a row per review in the split's order, with ``input_ids``, a list of int32, and ``length``, the
        list's length, int32.
    """
    return DatasetDict(
        {name: _tokenize(split.select_columns(column), tokenizer, name) for name, split in splits.items()}
    )


def encode_reviews(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Return each text's ids: [BOS], its words, [EOS]."""
    ids: list[list[int]] = _encode_texts(tokenizer, pa.array(texts, pa.string())).to_pylist()
    return ids


def _encode_texts(tokenizer: PreTrainedTokenizerFast, texts: pa.Array) -> pa.ListArray:
    """Return each text's ids, int32; see ``benchmarks/RESULTS.md`` for the speed."""
    scheme = scheme_of(tokenizer)
    if scheme is None or scheme.kind != WORDS:
        # add_special_tokens is false, because another tokenizer may add other special tokens
        encoded = tokenizer(
            texts.to_pylist(),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        ends = np.cumsum([0, *map(len, encoded)])
        return _with_special_tokens(tokenizer, np.fromiter(chain.from_iterable(encoded), np.int32, ends[-1]), ends)
    chunks = split_at_spaces(texts)
    # words are found once per distinct chunk, because the regular expression is slow
    distinct = chunks.flatten().dictionary_encode()
    words = _ids_of_words(tokenizer, distinct.dictionary, scheme.line_breaks).take(distinct.indices)
    bounds = words.offsets.to_numpy()[chunks.offsets.to_numpy()]
    return _with_special_tokens(tokenizer, words.values.to_numpy(), bounds)


def _ids_of_words(tokenizer: PreTrainedTokenizerFast, chunks: pa.Array, line_breaks: bool) -> pa.ListArray:
    """Return the ids of the words of each chunk."""
    vocabulary, unknown = tokenizer.get_vocab(), tokenizer.unk_token_id
    words = [class_words(chunk, line_breaks) for chunk in chunks.to_pylist()]
    return pa.array([[vocabulary.get(word, unknown) for word in found] for found in words], pa.list_(pa.int32()))


def _with_special_tokens(
    tokenizer: PreTrainedTokenizerFast, ids: npt.NDArray[np.int32], bounds: npt.NDArray[np.int64]
) -> pa.ListArray:
    """Return the ids of each text between [BOS] and [EOS]; a text's ids lie between two bounds."""
    texts = len(bounds) - 1
    ends: npt.NDArray[np.int64] = np.repeat(bounds, 2)[1:-1]
    special = np.tile([tokenizer.bos_token_id, tokenizer.eos_token_id], texts)
    with_ends: npt.NDArray[np.int32] = np.insert(ids, ends, special)
    return pa.ListArray.from_arrays((bounds + 2 * np.arange(texts + 1)).astype(np.int32), with_ends)


def count_training_words(tokenized: Dataset, tokenizer: PreTrainedTokenizerFast) -> int:
    """Return the number of the class's words in a tokenized split."""
    starts, words = word_starts(tokenizer), 0
    for table in _batches_of_ids(tokenized):
        ids = table.flatten().to_numpy()
        # the token before the first one is [BOS], whose successor continues no word
        words += int(starts.count(ids, np.roll(ids, 1)).sum())
    return words


def describe_poor_fit(split: Dataset, tokenized: Dataset, tokenizer: PreTrainedTokenizerFast) -> str:
    """Return what is wrong if a tokenizer knows few words of a split or its words are whole sentences; else ""."""
    all_ids = unknown_ids = 0
    for batch in _batches_of_ids(tokenized):
        ids = batch.flatten().to_numpy()
        all_ids += len(ids)
        unknown_ids += int(np.count_nonzero(ids == tokenizer.unk_token_id))
    tokens = max(all_ids - 2 * len(tokenized), 1)
    # GPT-2 has one token for [UNK], [BOS] and [EOS]
    ends = [tokenizer.bos_token_id, tokenizer.eos_token_id].count(tokenizer.unk_token_id)
    unknown = (unknown_ids - ends * len(tokenized)) / tokens
    characters = sum(len("".join(text.split())) for text in texts(split)) / tokens
    units = unit(tokenizer)
    if unknown <= MOST_UNKNOWN and characters <= MOST_CHARACTERS:
        return ""
    return (
        f"{unknown:.0%} of the validation split's {units} are unknown to the tokenizer, and a "
        f"{units.removesuffix('s')} has {characters:.0f} characters on average: use more texts, or for a script "
        "without spaces between words (Chinese, Japanese, Thai) set tokenizer.kind to characters or bpe, see "
        "docs/tokenizers.md"
    )


def require_known_words(tokenized: DatasetDict, tokenizer: PreTrainedTokenizerFast) -> None:
    """Check that the held-out splits can be scored: a text has a known word after its first, which is not scored.

    Raises:
        UserError: if a split that has texts has no such text.
    """
    for name in ("validation", "test"):
        split = tokenized[name]
        if len(split) and not any(_has_known_word(table, tokenizer) for table in _batches_of_ids(split)):
            raise no_known_word(name)


def no_known_word(split: str) -> UserError:
    """Return the error for a split whose loss would be meaningless, or not a number."""
    return UserError(
        f"data: the {split} split has nothing to score, because the tokenizer knows no word of a text after its "
        "first, which is not scored: check data.path and data.text_field, use more texts, or pretrain with another "
        "--tokenizer.kind"
    )


def _batches_of_ids(tokenized: Dataset) -> Iterator[pa.ListArray]:
    """Yield the token ids of a tokenized split, a list for each text."""
    for table in tokenized.with_format("arrow").iter(BATCH_ROWS):
        yield table["input_ids"].combine_chunks()


def _has_known_word(texts: pa.ListArray, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Return whether a text has a known word after its first word."""
    lengths = texts.value_lengths().to_numpy()
    ids = texts.flatten().to_numpy()
    position = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    starts_word = word_starts(tokenizer).count(ids, np.roll(ids, 1)) > 0
    is_known = ~np.isin(ids, [tokenizer.unk_token_id, tokenizer.eos_token_id])
    # without [BOS] and the first word's first token; its other tokens start no word
    return bool((starts_word & is_known & (position > 1)).any())


def _tokenize(split: Dataset, tokenizer: PreTrainedTokenizerFast, name: str) -> Dataset:
    if not len(split):
        # map would not remove the columns of an empty dataset
        return Dataset.from_dict({column: [] for column in TOKENIZED}, features=TOKENIZED)
    ends = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    # map would hash all of the tokenizer, also its length and its folder, and this module's functions by their names
    key = Hasher.hash([split._fingerprint, fingerprint(tokenizer), ends, ENCODING_VERSION])
    with bars_on_terminals_only(datasets.utils):
        tokenized = split.with_format("arrow").map(
            _encode,
            batched=True,
            batch_size=BATCH_ROWS,
            writer_batch_size=BATCH_ROWS,
            remove_columns=split.column_names,
            features=TOKENIZED,
            fn_kwargs={"tokenizer": tokenizer},
            new_fingerprint=key,
            desc=f"tokenizing {name}",
        )
    return tokenized.with_format(None)


def _encode(table: pa.Table, tokenizer: PreTrainedTokenizerFast) -> pa.Table:
    (texts,) = table.columns
    ids = _encode_texts(tokenizer, texts.combine_chunks())
    return pa.table({"input_ids": ids, "length": ids.value_lengths()})
