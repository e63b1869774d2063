"""Save and load tokenizers, whose files need no code of this package, and compare them."""

import hashlib
import json
import os
from pathlib import Path

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from wine_gpt.base_model import data_settings, recorded_vocabulary, run_settings
from wine_gpt.config import DataConfig, TokenizerConfig
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import JsonObject, read_json, write_json
from wine_gpt.model_path import OPTIONAL_TOKENIZER_FILES, SLOW_TOKENIZER, local_folder
from wine_gpt.run_folder import (
    CHECKPOINTS,
    CONFIG,
    METRICS,
    MODEL_CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    require_writable,
)
from wine_gpt.tokenizer.schemes import SCHEMES, Scheme, begin_with_bos, build_core, scheme_of, stages

# the special tokens that our tokenizers have, by their names in transformers
SPECIAL_TOKENS = ("pad", "unk", "bos", "eos")
# keys of tokenizer_config.json in which transformers 5 records how the tokenizer was loaded
LOADING_SETTINGS = ("is_local", "local_files_only")


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of all that decides a tokenizer's ids."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def vocabulary_sha256(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of the words in the order of their ids, which decides what the model's embeddings mean."""
    vocabulary = tokenizer.get_vocab()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def describe_other_words(run: str | Path, tokenizer: PreTrainedTokenizerFast) -> str:
    """Return what is wrong if a run's tokenizer reads texts otherwise than when the model was trained; else ""."""
    recorded, file = recorded_vocabulary(run), Path(run) / TOKENIZER
    if recorded is None:  # not trained by this package
        return ""
    if recorded != vocabulary_sha256(tokenizer):
        return (
            f"the words of {file} or their ids are not those that the model was trained with, by {METRICS}: restore "
            "the file, because the model reads a changed id as another word"
        )
    if _has_other_pre_tokenizer(run, tokenizer):
        return (
            f"the pre_tokenizer of {file} is not that of the tokenizer that {CONFIG} describes: restore the file, "
            "because the model gets other words than in training"
        )
    return ""


def _has_other_pre_tokenizer(run: str | Path, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Return whether a tokenizer that a run has trained divides texts by another rule than that of its kind."""
    settings = run_settings(run, "tokenizer")
    if not settings or settings.get("tokenizer.path"):
        return False
    kind = settings.get("tokenizer.kind", TokenizerConfig.kind)
    scheme = Scheme(kind, data_settings(run).get("data.line_breaks", DataConfig.line_breaks))
    return stages(tokenizer.backend_tokenizer)[2] != stages(build_core(scheme))[2]


def require_tokenizer_folder(folder: Path) -> None:
    """Check that a trained tokenizer can be saved to a folder, and would not replace that of a model.

    Raises:
        UserError: if the folder can't be written, or holds a model or a run.
    """
    for name in (METRICS, MODEL_CONFIG, CHECKPOINTS):
        if (folder / name).exists():
            raise UserError(f"{folder} holds a run, whose model needs its own tokenizer: name another --output_dir")
    require_writable(folder)


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: str | Path) -> None:
    """Save a tokenizer with the settings of :func:`current_settings`."""
    # otherwise the padding and truncation of the last call would be saved as defaults
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(folder)
    config_file = Path(folder) / TOKENIZER_CONFIG
    write_json(config_file, current_settings(read_json(config_file), tokenizer))


def current_settings(config: JsonObject, tokenizer: PreTrainedTokenizerFast) -> JsonObject:
    """Return ``tokenizer_config.json`` for transformers 4, 5 and transformers.js.

    docs/other_tools.md, "What the files say", has the reason of each setting.

    Args:
        config: what transformers wrote.
        tokenizer: the tokenizer of the config. One of another package keeps its padding and special tokens.
    """
    kept = {key: value for key, value in config.items() if key not in LOADING_SETTINGS}
    settings = {"add_bos_token": True, **kept, "padding_side": "right"} if scheme_of(tokenizer) else kept
    # transformers 5 writes a class that transformers 4 lacks
    return {**settings, "tokenizer_class": "PreTrainedTokenizerFast"}


def load_tokenizer(path: str | Path, required: tuple[str, ...] = SPECIAL_TOKENS) -> PreTrainedTokenizerFast:
    """Load a tokenizer from a folder or the Hub.

    Args:
        path: a folder, or an id on the Hub.
        required: the special tokens that the tokenizer must have.

    Raises:
        UserError: if there is no tokenizer, or it is damaged, is not a fast tokenizer or lacks a special token.
    """
    # imported here, because it imports torch
    from transformers import AutoTokenizer

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
    if scheme_of(tokenizer):
        # because of add_bos_token, transformers 5 replaced that of tokenizer.json, which the fingerprint includes
        tokenizer.backend_tokenizer.post_processor = begin_with_bos(tokenizer.bos_token_id)
    return tokenizer


def _require_readable(folder: Path) -> None:
    """Check the files of a tokenizer, because the errors of transformers do not name the damaged one."""
    is_fast = (folder / TOKENIZER).is_file()
    if not is_fast and not any(any(folder.glob(pattern)) for pattern in SLOW_TOKENIZER):
        raise UserError(f"tokenizer: {folder} holds no {TOKENIZER}")
    try:
        if is_fast and "model" not in read_json(folder / TOKENIZER):
            raise UserError(f"{folder / TOKENIZER} holds no tokenizer")
        for name in (TOKENIZER_CONFIG, *OPTIONAL_TOKENIZER_FILES):
            if os.path.lexists(folder / name):
                read_json(folder / name)
    except UserError as error:
        raise UserError(f"tokenizer: {error}") from error


def _require_word_level(path: str | Path, core: Tokenizer) -> None:
    """Check a word-level tokenizer's words and stages, because without them words are unknown, mixed up or errors."""
    if not isinstance(core.model, models.WordLevel):
        return
    ours = stages(core)[2] in [stages(build_core(scheme))[2] for scheme in SCHEMES]
    lowers = core.normalizer is not None and core.normalizer.normalize_str("A") == "a"
    ids = core.get_vocab(with_added_tokens=False).values()
    problems = {
        "has no pre_tokenizer, which separates words": core.pre_tokenizer is None,
        "has no normalizer that lower-cases, as its words are": ours and not lowers,
        "has no decoder, which joins words": ours and core.decoder is None,
        f"has no word {core.model.unk_token!r}, its unk_token": core.token_to_id(core.model.unk_token) is None,
        "has two words with one id": len(set(ids)) < len(ids),
    }
    if problem := next((problem for problem, is_there in problems.items() if is_there), ""):
        raise UserError(f"tokenizer: {TOKENIZER} of {path} {problem}: restore the file")
