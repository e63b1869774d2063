"""Train a tokenizer of any kind on texts."""

from collections import Counter
from collections.abc import Iterable

from datasets import Dataset
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from wine_gpt.config import DataConfig, TokenizerConfig
from wine_gpt.data.reviews import texts
from wine_gpt.data.template import CLASS_TEMPLATE, ReviewTemplate
from wine_gpt.errors import UserError
from wine_gpt.tokenizer.schemes import (
    BOS,
    BPE,
    EOS,
    PAD,
    UNK,
    WORDS,
    Scheme,
    begin_with_bos,
    build_core,
    to_transformers,
)
from wine_gpt.tokenizer.spacing import natural_spacing
from wine_gpt.tokenizer.word_counts import count_words


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int = 10_000,
    template: ReviewTemplate = CLASS_TEMPLATE,
    line_breaks: bool = False,
    kind: str = WORDS,
) -> PreTrainedTokenizerFast:
    """Train a vocabulary on texts.

    Words and characters are sorted by descending count, then in descending order of themselves, as Keras'
    TextVectorization sorts words.

    Args:
        texts: iterated over once.
        vocab_size: the largest number of entries, [PAD] and [UNK] included. [BOS] and [EOS] are added at the end, so
            that the words have the class's ids.
        template: the form of the texts; decoding words needs it because the header's colons have spaces on both sides.
        line_breaks: keep each line break; otherwise line breaks are read as spaces.
        kind: words, characters or bpe; see :mod:`wine_gpt.tokenizer.schemes`.

    Raises:
        UserError: if the texts have no word, the kind is unknown or the vocabulary too small.
    """
    TokenizerConfig(kind=kind, vocab_size=vocab_size)
    scheme = Scheme(kind, line_breaks)
    if kind == BPE:
        core = _train_bpe(scheme, texts, vocab_size)
    else:
        core = _count_vocabulary(scheme, texts, vocab_size)
        core.decoder = natural_spacing(template, line_breaks) if kind == WORDS else decoders.Fuse()
    core.post_processor = begin_with_bos(core.get_vocab()[BOS])
    return to_transformers(core)


def train_on_reviews(split: Dataset, data: DataConfig, tokenizer: TokenizerConfig) -> PreTrainedTokenizerFast:
    """Train on a split's texts in the form that the config describes; see :func:`train_tokenizer`."""
    template = ReviewTemplate.from_config(data)
    return train_tokenizer(texts(split), tokenizer.vocab_size, template, data.line_breaks, tokenizer.kind)


def _count_vocabulary(scheme: Scheme, texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return a tokenizer whose vocabulary has the commonest words or characters."""
    counts = count_words(texts, scheme.line_breaks) if scheme.kind == WORDS else _count_characters(scheme, texts)
    if not any(entry.strip() for entry in counts):
        raise _nothing_to_train_on()
    entries = sorted(counts, key=lambda entry: (counts[entry], entry), reverse=True)[: vocab_size - 2]
    return build_core(scheme, {entry: index for index, entry in enumerate([PAD, UNK, *entries, BOS, EOS])})


def _count_characters(scheme: Scheme, texts: Iterable[str]) -> Counter[str]:
    normalizer = build_core(scheme).normalizer
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    return counts


def _train_bpe(scheme: Scheme, texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return a tokenizer with an entry for each byte, so that no text is unknown, and for the commonest merges."""
    core = build_core(scheme)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, normalized=False, special=True) for token in (PAD, UNK)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_not_all_blank(texts), trainer)
    core.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (BOS, EOS)])
    core.decoder = decoders.ByteLevel()
    return core


def _not_all_blank(texts: Iterable[str]) -> Iterable[str]:
    """Yield the texts.

    Raises:
        UserError: at the end, if none of them has a character other than white space.
    """
    blank = True
    for text in texts:
        blank = blank and not text.strip()
        yield text
    if blank:
        raise _nothing_to_train_on()


def _nothing_to_train_on() -> UserError:
    return UserError("tokenizer: there is not one word to train on")
