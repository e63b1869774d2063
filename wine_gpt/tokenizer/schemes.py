"""The kinds of tokenizers: which normalizer, pre-tokenizer and model each has.

``words`` is the class's scheme; see :mod:`wine_gpt.tokenizer.words`. ``characters`` has an entry for each character,
in lower case as the class's words. ``bpe`` is byte-pair encoding over bytes, as GPT-2's tokenizer: capitals stay, and
no text has an unknown token. All kinds normalize to NFC, and read line breaks as spaces unless ``data.line_breaks``
keeps them.
"""

import functools
import json
from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from wine_gpt.config import BPE as BPE
from wine_gpt.config import CHARACTERS as CHARACTERS
from wine_gpt.config import TOKENIZER_KINDS
from wine_gpt.config import WORDS as WORDS
from wine_gpt.tokenizer.words import WHITE_SPACE, WORD, WORD_OR_BREAK

PAD, UNK, BOS, EOS = "[PAD]", "[UNK]", "[BOS]", "[EOS]"


@dataclass(frozen=True)
class Scheme:
    """How a tokenizer divides texts: its kind, and whether it keeps line breaks."""

    kind: str
    line_breaks: bool = False


SCHEMES = tuple(Scheme(kind, line_breaks) for kind in TOKENIZER_KINDS for line_breaks in (False, True))


def build_core(scheme: Scheme, vocabulary: dict[str, int] | None = None) -> Tokenizer:
    """Return the tokenizer of a scheme in ``tokenizers``' terms, with a vocabulary or without one."""
    if scheme.kind == BPE:
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        core = Tokenizer(models.WordLevel(vocabulary or {UNK: 0}, unk_token=UNK))
        words = WORD_OR_BREAK if scheme.line_breaks else WORD
        pattern = words if scheme.kind == WORDS else r"[\s\S]"
        core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    core.normalizer = normalizers.Sequence(_normalizers(scheme))
    return core


def _normalizers(scheme: Scheme) -> list[normalizers.Normalizer]:
    one_break = [normalizers.Replace(Regex(r"\r\n?"), "\n")] if scheme.line_breaks else []
    lower = [] if scheme.kind == BPE else [normalizers.Lowercase()]
    # the pattern of words drops white space, which is part of the text for the other kinds
    spaces = scheme.kind != WORDS and not scheme.line_breaks
    one_space = [normalizers.Replace(Regex(f"[{WHITE_SPACE}]+"), " ")] if spaces else []
    return [normalizers.NFC(), *lower, *one_break, *one_space]


def to_transformers(core: Tokenizer) -> PreTrainedTokenizerFast:
    """Return a trained tokenizer of one of the kinds as transformers' tokenizer."""
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


def begin_with_bos(bos_id: int) -> processors.PostProcessor:
    """Return the post-processor that begins each text with [BOS]."""
    return processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, bos_id)])


def scheme_of(tokenizer: PreTrainedTokenizerFast) -> Scheme | None:
    """Return a tokenizer's scheme; None for another package's tokenizer."""
    core = tokenizer.backend_tokenizer
    found = stages(core)
    return next((scheme for scheme in SCHEMES if found == _stages_of(scheme)), None)


def kind_of(tokenizer: PreTrainedTokenizerFast) -> str | None:
    """Return a tokenizer's kind, which is words for any other word-level tokenizer; None for other packages' kinds."""
    if scheme := scheme_of(tokenizer):
        return scheme.kind
    return WORDS if isinstance(tokenizer.backend_tokenizer.model, models.WordLevel) else None


def unit(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return what messages call the tokens: words, characters or tokens."""
    return unit_of_kind(kind_of(tokenizer))


def unit_of_kind(kind: str | None) -> str:
    """Return what messages call the tokens of a tokenizer of a kind; see :func:`unit`."""
    return kind if kind in (WORDS, CHARACTERS) else "tokens"


def stages(core: Tokenizer) -> tuple[str, object, object]:
    """Return the type of the model, the normalizer and the pre-tokenizer."""
    content = json.loads(core.to_str())
    return content["model"]["type"], content["normalizer"], content["pre_tokenizer"]


@functools.cache
def _stages_of(scheme: Scheme) -> tuple[str, object, object]:
    return stages(build_core(scheme))
