"""Train, save and load the word-level tokenizer, whose files need no code of this package.

Encoding follows the class's notebook. Texts are brought into Unicode's form NFC, so that a decomposed é is the same
letter, and lower-cased, character by character. Each ASCII punctuation character except the backslash is a word, and
ASCII white space separates words; with ``data.line_breaks`` each line break is a word too. The vocabulary is sorted by
descending count, then in descending order of the words, as Keras' TextVectorization sorts it.

Decoding gives natural spacing. Each word has a leading space unless a rule removes it. The rules depend on the word
and the text before it, never on later words, so that a decoded text does not change when more words follow and a
decoded continuation can be appended to its prompt.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, List, Value
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from wine_gpt.config import DataConfig
from wine_gpt.data.columns import BATCH_ROWS
from wine_gpt.data.reviews import texts
from wine_gpt.data.template import CLASS_TEMPLATE, COMPOSED, ReviewTemplate
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import read_json, write_json
from wine_gpt.model_path import SLOW_TOKENIZER, local_folder
from wine_gpt.run_folder import METRICS, TOKENIZER, TOKENIZER_CONFIG, recorded_vocabulary

TOKENIZED = Features({"input_ids": List(Value("int32")), "length": Value("int32")})
# the word of a line break, with data.line_breaks
LINE_BREAK = "\n"
# the special tokens that our tokenizers have, by their names in transformers
SPECIAL_TOKENS = ("pad", "unk", "bos", "eos")
# further files of a tokenizer that another version of transformers may have written
OPTIONAL_FILES = ("special_tokens_map.json", "added_tokens.json")
LOADING_SETTINGS = ("is_local", "local_files_only")
# a tokenizer fits a corpus badly above this fraction of unknown words, or above these characters per word on average
MOST_UNKNOWN, MOST_CHARACTERS = 0.1, 15
PAD, UNK, BOS, EOS = "[PAD]", "[UNK]", "[BOS]", "[EOS]"

# string.punctuation without the backslash, which is no separate word in the class's regular expression
_PUNCTUATION = r"!-/:-@\[\]-`{-~"
# white space as in TensorFlow's split; a no-break space is part of its word
_WORD = rf"[{_PUNCTUATION}]|[^{_PUNCTUATION} \t\n\x0b\x0c\r]+"
_FIND_WORDS = re.compile(_WORD).findall
# the same, with each line break as a word
_WORD_OR_BREAK = rf"\n|{_WORD}"
_FIND_WORDS_AND_BREAKS = re.compile(_WORD_OR_BREAK).findall

# private-use characters that mark an opening quote and a colon of running text while spaces are removed
_OPENING_QUOTE, _TEXT_COLON = "\ue000", "\ue001"
# an apostrophe after one of these words opens the next word ('08, 'em); after any other it ends the word (wine's)
_BEFORE_OPENING_APOSTROPHE = (
    *("the", "this", "these", "those", "their", "and", "or", "like", "than", "as", "is", "are", "was"),
    *("of", "in", "an", "to", "for", "from", "with", "by", "on", "at", "called", "named", "dubbed"),
)
# the end of a whole word: a space, or the end of the text decoded so far
_WORD_END = r"(?: |\z)"


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int = 10_000,
    template: ReviewTemplate = CLASS_TEMPLATE,
    line_breaks: bool = False,
) -> PreTrainedTokenizerFast:
    """Train the class's vocabulary on texts.

    Args:
        texts: iterated over once.
        vocab_size: the largest number of entries, [PAD] and [UNK] included. [BOS] and [EOS] are added at the end, so
            that the words have the class's ids.
        template: the form of the texts; decoding needs it because the header's colons have spaces on both sides.
        line_breaks: make each line break a word, which is decoded as a line break.

    Raises:
        UserError: if the texts have no word.
    """
    counts = count_words(texts, line_breaks)
    if not counts:
        raise UserError("tokenizer: there is not one word to train on")
    words = sorted(counts, key=lambda word: (counts[word], word), reverse=True)[: vocab_size - 2]
    vocabulary = {word: index for index, word in enumerate([PAD, UNK, *words, BOS, EOS])}
    core = _untrained(vocabulary, line_breaks)
    core.post_processor = _begin_with_bos(vocabulary[BOS])
    core.decoder = natural_spacing(template, line_breaks)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        # GPT-2's positions count columns, so a plain forward pass is right only if padding is on the right
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def train_on_reviews(split: Dataset, data: DataConfig, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train on a split's texts in the form that the config describes; see :func:`train_tokenizer`."""
    return train_tokenizer(texts(split), vocab_size, ReviewTemplate.from_config(data), data.line_breaks)


def _untrained(vocabulary: dict[str, int] | None = None, line_breaks: bool = False) -> Tokenizer:
    core = Tokenizer(models.WordLevel(vocabulary or {UNK: 0}, unk_token=UNK))
    one_break = [normalizers.Replace(Regex(r"\r\n?"), "\n")] if line_breaks else []
    core.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase(), *one_break])
    pattern = _WORD_OR_BREAK if line_breaks else _WORD
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return core


def _begin_with_bos(bos_id: int) -> processors.PostProcessor:
    return processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bos_id)])


def count_words(texts: Iterable[str], line_breaks: bool = False) -> Counter[str]:
    """Count the class's words, and line breaks if they are words."""
    chunks: Counter[str] = Counter()
    for text in texts:
        chunks.update(text.split(" "))
    counts: Counter[str] = Counter()
    # the regular expression is slow, so it runs once per distinct chunk
    for chunk, count in chunks.items():
        for word in class_words(chunk, line_breaks):
            counts[word] += count
    return counts


def tokenize_splits(splits: DatasetDict, tokenizer: PreTrainedTokenizerFast) -> DatasetDict:
    """Encode each review as [BOS] words [EOS], cached beside the reviews.

    Returns:
        for each split, a row per review in the split's order, with ``input_ids``, a list of int32, and ``length``, the
        list's length, int32.
    """
    return DatasetDict({name: _tokenize(split, tokenizer, name) for name, split in splits.items()})


def encode_reviews(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Return each text's ids: [BOS], its words, [EOS]."""
    line_breaks = _line_breaks(tokenizer)
    if line_breaks is None:
        # add_special_tokens is false, because another tokenizer may add other special tokens
        encoded = tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            verbose=False,
        )
        return [[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id] for ids in encoded["input_ids"]]
    ids = _ChunkIds(tokenizer, line_breaks)
    bos, eos = [tokenizer.bos_token_id], [tokenizer.eos_token_id]
    return [[*chain(bos, *map(ids.__getitem__, text.split(" ")), eos)] for text in texts]


class _ChunkIds(dict[str, list[int]]):
    """A cache of the ids of each chunk between spaces; see ``benchmarks/RESULTS.md`` for the speed."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, line_breaks: bool) -> None:
        self._line_breaks = line_breaks
        self._vocabulary = tokenizer.get_vocab()
        self._unknown = tokenizer.unk_token_id

    def __missing__(self, chunk: str) -> list[int]:
        words = class_words(chunk, self._line_breaks)
        ids = self[chunk] = [self._vocabulary.get(word, self._unknown) for word in words]
        return ids


def class_words(text: str, line_breaks: bool = False) -> list[str]:
    """Return the class's words of a text, in lower case, and its line breaks if they are words."""
    if line_breaks:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # str.lower writes Σ at a word's end as ς; the tokenizer's Lowercase writes σ everywhere
    lowered = unicodedata.normalize("NFC", text).replace("Σ", "σ").lower()
    return (_FIND_WORDS_AND_BREAKS if line_breaks else _FIND_WORDS)(lowered)


def word_ends(text: str) -> list[int]:
    """Return the end of each of the class's words, as an index into the text."""
    if unicodedata.is_normalized("NFC", text):
        return [match.end() for match in re.finditer(_WORD, text)]
    # NFC makes punctuation of some characters and letters of some punctuation
    offsets = _word_finder(line_breaks=False).encode(text).offsets
    starts = [*(start for start, _ in offsets[1:]), len(text)]
    # an offset ends before the accents that NFC joins to a word's last letter, so add what precedes the white space
    return [
        end + len(text[end:start].rstrip(string.whitespace)) for (_, end), start in zip(offsets, starts, strict=True)
    ]


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of all that decides a tokenizer's ids, equal to that of version 0.1.0, which had no NFC."""
    content = tokenizer.backend_tokenizer.to_str()
    ours = json.dumps(_stages(_word_finder(line_breaks=False))[0], separators=(",", ":"))
    return hashlib.sha256(content.replace(ours, '{"type":"Lowercase"}').encode()).hexdigest()


def vocabulary_sha256(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of the words in the order of their ids, which decides what the model's embeddings mean."""
    vocabulary = tokenizer.get_vocab()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def describe_other_words(run: str | Path, tokenizer: PreTrainedTokenizerFast) -> str:
    """Return what is wrong if a run's tokenizer has other words or ids than when the model was trained; else ""."""
    if recorded_vocabulary(run) in (None, vocabulary_sha256(tokenizer)):
        return ""
    return (
        f"the words of {Path(run) / TOKENIZER} or their ids are not those that the model was trained with, by "
        f"{METRICS}: restore the file, because the model reads a changed id as another word"
    )


@functools.cache
def _word_finder(line_breaks: bool) -> Tokenizer:
    return _untrained(line_breaks=line_breaks)


def describe_poor_fit(split: Dataset, tokenized: Dataset, tokenizer: PreTrainedTokenizerFast) -> str:
    """Return what is wrong if a tokenizer knows few words of a split or its words are whole sentences; else ""."""
    ids = np.concatenate([texts.flatten() for texts in _batches_of_ids(tokenized)])
    words = max(len(ids) - 2 * len(tokenized), 1)
    unknown = np.count_nonzero(ids == tokenizer.unk_token_id) / words
    characters = sum(len("".join(text.split())) for text in texts(split)) / words
    if unknown <= MOST_UNKNOWN and characters <= MOST_CHARACTERS:
        return ""
    return (
        f"{unknown:.0%} of the validation split's words are unknown to the tokenizer, and a word has {characters:.0f} "
        "characters on average: use more texts, or for a script without spaces between words (Chinese, Japanese, "
        "Thai) name another tokenizer: tokenizer.path, see docs/data.md"
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
        "--tokenizer.path"
    )


def _batches_of_ids(tokenized: Dataset) -> Iterator[pa.ListArray]:
    """Yield the token ids of a tokenized split, a list for each text."""
    for table in tokenized.with_format("arrow").iter(BATCH_ROWS):
        yield table["input_ids"].combine_chunks()


def _has_known_word(texts: pa.ListArray, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Return whether a text has a known word after its first word."""
    # without [BOS] and the first word
    ids = pc.list_slice(texts, 2).flatten().to_numpy(zero_copy_only=False)
    return bool((~np.isin(ids, [tokenizer.unk_token_id, tokenizer.eos_token_id])).any())


def _line_breaks(tokenizer: PreTrainedTokenizerFast) -> bool | None:
    """Return whether line breaks are words; None for a tokenizer whose words differ from :func:`class_words`."""
    theirs = tokenizer.backend_tokenizer
    if not isinstance(theirs.model, models.WordLevel):
        return None
    stages = _stages(theirs)
    return next((breaks for breaks in (False, True) if stages == _stages(_word_finder(breaks))), None)


def _stages(core: Tokenizer) -> tuple[object, object]:
    content = json.loads(core.to_str())
    return content["normalizer"], content["pre_tokenizer"]


def _tokenize(split: Dataset, tokenizer: PreTrainedTokenizerFast, name: str) -> Dataset:
    if not len(split):
        # map would not remove the columns of an empty dataset
        return Dataset.from_dict({column: [] for column in TOKENIZED}, features=TOKENIZED)
    composed = split.select_columns(COMPOSED).with_format("arrow")
    with _bars_on_terminals_only():
        tokenized = composed.map(
            _encode,
            batched=True,
            batch_size=BATCH_ROWS,
            writer_batch_size=BATCH_ROWS,
            remove_columns=[COMPOSED],
            features=TOKENIZED,
            fn_kwargs={"tokenizer": tokenizer},
            desc=f"tokenizing {name}",
        )
    return tokenized.with_format(None)


@contextlib.contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """Hide the bars of datasets elsewhere, because a closed pipe under a bar would end the work."""
    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _encode(table: pa.Table, tokenizer: PreTrainedTokenizerFast) -> pa.Table:
    reviews = encode_reviews(tokenizer, table[COMPOSED].to_pylist())
    lengths = np.fromiter(map(len, reviews), np.int32, len(reviews))
    ids = np.fromiter(chain.from_iterable(reviews), np.int32, lengths.sum())
    offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    return pa.table({"input_ids": pa.ListArray.from_arrays(offsets, ids), "length": lengths})


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: str | Path) -> None:
    """Save a tokenizer for transformers 4, 5 and transformers.js; see "What the files say" in docs/other_tools.md."""
    # otherwise the padding and truncation of the last call would be saved as defaults
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(folder)
    config_file = Path(folder) / TOKENIZER_CONFIG
    # how the tokenizer was loaded, which transformers 5 writes too
    config = {key: value for key, value in read_json(config_file).items() if key not in LOADING_SETTINGS}
    # transformers.js begins a text with [BOS] only if add_bos_token says so
    bos = {"add_bos_token": True} if _line_breaks(tokenizer) is not None else {}
    # transformers 5 writes a class that transformers 4 lacks
    write_json(config_file, {**bos, **config, "tokenizer_class": "PreTrainedTokenizerFast"})


def load_tokenizer(path: str | Path, required: tuple[str, ...] = SPECIAL_TOKENS) -> PreTrainedTokenizerFast:
    """Load a tokenizer from a folder or the Hub.

    Args:
        path: a folder, or an id on the Hub.
        required: the special tokens that the tokenizer must have.

    Raises:
        UserError: if there is no tokenizer, or it is damaged, is not a fast tokenizer or lacks a special token.
    """
    folder = local_folder(path, "tokenizer")
    _require_readable(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    # tokenizers raises bare Exceptions for a damaged tokenizer.json
    except Exception as error:
        raise UserError(f"tokenizer: can't load {path}: {one_line(error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(f"tokenizer: {path} is no fast tokenizer, one with a {TOKENIZER}")
    if not isinstance(tokenizer.model_max_length, int | float):
        length = tokenizer.model_max_length
        raise UserError(f"tokenizer: {path}: model_max_length of {TOKENIZER_CONFIG} is {length!r}: must be a number")
    _require_word_level(path, tokenizer.backend_tokenizer)
    missing = [name for name in required if getattr(tokenizer, f"{name}_token_id") is None]
    if missing:
        raise UserError(f"tokenizer: {path} has no {', '.join(missing)} token; {TOKENIZER_CONFIG} names them")
    if _line_breaks(tokenizer) is not None:
        # because of add_bos_token, transformers 5 replaced that of tokenizer.json, which the fingerprint includes
        tokenizer.backend_tokenizer.post_processor = _begin_with_bos(tokenizer.bos_token_id)
    return tokenizer


def _require_readable(folder: Path) -> None:
    """Check the files of a tokenizer, because the errors of transformers do not name the damaged one."""
    is_fast = (folder / TOKENIZER).is_file()
    if not is_fast and not any(any(folder.glob(pattern)) for pattern in SLOW_TOKENIZER):
        raise UserError(f"tokenizer: {folder} holds no {TOKENIZER}")
    try:
        if is_fast and "model" not in read_json(folder / TOKENIZER):
            raise UserError(f"{folder / TOKENIZER} holds no tokenizer")
        for name in (TOKENIZER_CONFIG, *OPTIONAL_FILES):
            if os.path.lexists(folder / name):
                read_json(folder / name)
    except UserError as error:
        raise UserError(f"tokenizer: {error}") from error


def _require_word_level(path: str | Path, core: Tokenizer) -> None:
    """Check a word-level tokenizer's words and stages, because without them words are unknown, mixed up or errors."""
    if not isinstance(core.model, models.WordLevel):
        return
    ours = _stages(core)[1] in [_stages(_word_finder(breaks))[1] for breaks in (False, True)]
    ids = core.get_vocab(with_added_tokens=False).values()
    problems = {
        "has no pre_tokenizer, which separates words": core.pre_tokenizer is None,
        "has no normalizer that lower-cases, as its words are": ours and _normalized(core, "A") != "a",
        "has no decoder, which joins words": ours and core.decoder is None,
        f"has no word {core.model.unk_token!r}, its unk_token": core.token_to_id(core.model.unk_token) is None,
        "has two words with one id": len(set(ids)) < len(ids),
    }
    if problem := next((problem for problem, is_there in problems.items() if is_there), ""):
        raise UserError(f"tokenizer: {TOKENIZER} of {path} {problem}: restore the file")


def _normalized(core: Tokenizer, text: str) -> str:
    return text if core.normalizer is None else str(core.normalizer.normalize_str(text))


def natural_spacing(template: ReviewTemplate, line_breaks: bool = False) -> decoders.Decoder:
    """Return a decoder that joins words with natural spacing and never changes earlier text when words follow.

    First it marks what depends on all earlier text: every other double quote opens a quotation, and a colon after the
    header belongs to the running text. If a text, such as a continuation, does not begin with the prefix, its header
    ends at the first of ``. , ; ! ?``. Then one regular expression removes spaces in a single pass, so that no rule
    depends on what another rule removed.

    The patterns use only features that JavaScript's regular expressions have, for transformers.js.
    """
    breaks = [r" (?=\n)|(?<=\n) "] if line_breaks else []
    rules = [
        *breaks,
        rf" (?=[.,;!?)\]}}%\"”’»{_TEXT_COLON}])",
        rf"(?<=[(\[{{$#{_OPENING_QUOTE}]) ",
        # full-bodied, and/or, 5+; light- to medium-bodied
        rf" (?=[-/])|(?<=/) |(?<=-) (?!(?<= light - | medium - )to{_WORD_END})|(?<=[0-9]) (?=\+)",
        # wine's, Nero d'Avola; the growers' wine; the '08
        "".join(f"(?<! {word})" for word in _BEFORE_OPENING_APOSTROPHE) + " (?=')",
        rf"(?<=') (?=(?:s|t|re|ve|ll|d|m|em){_WORD_END})|(?<=[^s ] ') ",
        "|".join(f"(?<= {word} ') " for word in _BEFORE_OPENING_APOSTROPHE),
        # 15,000; 13.5; U.S.
        rf"(?<=[0-9] ,) (?=[0-9]{{3}}{_WORD_END})",
        rf"(?<=[0-9] \.) (?=[0-9])|(?<=[ —][a-z] \.) (?=[a-z]{_WORD_END})",
    ]
    return decoders.Sequence(
        [
            decoders.Replace(Regex(r"\A"), " "),
            decoders.Fuse(),
            decoders.Replace(Regex(_text_colons(template, line_breaks)), f" {_TEXT_COLON}"),
            # after an even number of double quotes
            decoders.Replace(Regex(r' "(?<=\A(?:[^"]*"[^"]*")*[^"]*")'), f" {_OPENING_QUOTE}"),
            decoders.Replace(Regex("|".join(rules)), ""),
            decoders.Replace(_OPENING_QUOTE, '"'),
            decoders.Replace(_TEXT_COLON, ":"),
        ]
    )


def _text_colons(template: ReviewTemplate, line_breaks: bool) -> str:
    """Return a pattern that matches each colon after the header, with its leading space."""
    prefix, any_text = template.prefix, r"[\s\S]*" if line_breaks else ".*"
    header_colons = prefix.count(":") + bool(prefix) + len(template.fields)
    behind_header = rf"(?<=\A(?:[^:]*:){{{header_colons + 1},}})"
    if prefix:
        spaced = " ".join(["", *class_words(prefix), ":"])
        behind_header += rf"|(?<!\A{re.escape(spaced)}{any_text})(?<=[.,;!?]{any_text})"
    return f" :(?:{behind_header})"
