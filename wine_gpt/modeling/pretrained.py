"""Load and save models in transformers' format, from safetensors only and without remote code."""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from wine_gpt.base_model import require_base
from wine_gpt.errors import UserError
from wine_gpt.files import sync
from wine_gpt.installation import require_package
from wine_gpt.model_path import local_folder
from wine_gpt.modeling.folder_checks import (
    reason,
    require_adapter,
    require_adapter_fit,
    require_finite,
    require_fit,
    require_floats,
    require_loadable,
    require_tied,
)
from wine_gpt.run_folder import ADAPTER_CONFIG, MODEL_CONFIG, TOKENIZER
from wine_gpt.tokenizer import load_tokenizer, save_tokenizer
from wine_gpt.tokenizer.files import SPECIAL_TOKENS, describe_other_words

logger = logging.getLogger(__name__)


def load_model(path: str | Path, base: Path | None = None) -> PreTrainedModel:
    """Load a causal language model from a folder or the Hub, from safetensors only and without remote code.

    For a folder or a repository with a PEFT adapter, the result is its base model with the adapter merged into it.

    Args:
        path: a folder or an id on the Hub.
        base: the folder of an adapter's base; None for the one that the adapter names.

    Raises:
        UserError: if there is no model, it is pickled, has its own code, its weights are damaged or not finite, or its
            files do not fit together; see :mod:`wine_gpt.modeling.folder_checks`.
    """
    folder = local_folder(path)
    if (folder / ADAPTER_CONFIG).is_file():
        return _load_adapted(folder, local_folder(base or require_base(folder)))
    require_loadable(folder)
    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                # mismatched weights are reported below, with their names
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    # the errors of transformers, safetensors and torch share no class
    except Exception as error:
        raise UserError(f"model: can't load {path}: {reason(error)}") from error
    model: PreTrainedModel = loaded[0]
    require_fit(path, loaded[1])
    require_tied(path, model)
    require_floats(folder, model.state_dict())
    require_finite(path, model)
    return model


def load_model_and_tokenizer(
    path: str | Path, required: tuple[str, ...] = SPECIAL_TOKENS
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a model and its tokenizer; see :func:`load_model` and :func:`wine_gpt.tokenizer.files.load_tokenizer`.

    Raises:
        UserError: as these functions, if the tokenizer has words that the model has no embedding for, and if the
            model's config has no ``max_position_embeddings``, which limits the length of a text.
    """
    path = local_folder(path)
    model, tokenizer = load_model(path), load_tokenizer(path, required)
    if getattr(model.config, "max_position_embeddings", None) is None:
        raise UserError(f"model: {path}: its config has no number of positions (max_position_embeddings)")
    words, embeddings = len(tokenizer), model.config.vocab_size
    highest = max(tokenizer.get_vocab().values(), default=0)
    if highest >= embeddings >= words:
        raise UserError(f"{path}: the tokenizer has a word with the id {highest:,}, the model {embeddings:,} words")
    if words > embeddings:
        raise UserError(
            f"{path}: the tokenizer has {words:,} words, the model {embeddings:,}: they do not fit together"
        )
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        own, of_model = getattr(tokenizer, name), getattr(model.config, name, None)
        # a list of several, or none, in models of other programs
        if isinstance(own, int) and isinstance(of_model, int) and own != of_model:
            raise UserError(
                f"{path}: {name} is {own} in the tokenizer, {of_model} in {MODEL_CONFIG}: they do not fit together"
            )
    if other_words := describe_other_words(path, tokenizer):
        logger.warning("tokenizer: %s", other_words)
    return model, tokenizer


def save_model(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    **settings: Any,  # noqa: ANN401 - arguments of save_pretrained
) -> None:
    """Save model and tokenizer, each file atomically."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-model-") as temporary:
        with quiet_transformers():
            model.save_pretrained(temporary, **settings)
        save_tokenizer(tokenizer, temporary)
        # peft's model card, which has only placeholders
        (Path(temporary) / "README.md").unlink(missing_ok=True)
        mode = (Path(temporary) / TOKENIZER).stat().st_mode
        for file in Path(temporary).iterdir():
            # otherwise only the owner could read the files of safetensors
            file.chmod(mode)
            # because a power loss could otherwise leave the name without its content
            sync(file)
            file.replace(folder / file.name)
    sync(folder)


def _load_adapted(folder: Path, base: Path) -> PreTrainedModel:
    """Load an adapter's base and merge the adapter into it."""
    require_adapter(folder, base)
    require_package("peft", "adapters", f"model: the adapter {folder}")
    from peft import PeftModel, get_peft_model_state_dict

    model = load_model(base)
    try:
        with quiet_peft():
            adapted = PeftModel.from_pretrained(model, str(folder))
            # with the default, "auto", peft requests the base's vocabulary size from the Hub
            required = get_peft_model_state_dict(adapted, save_embedding_layers=False)
            # the adapter's file has no name of the adapter in its names
            parameters = [name.replace(".default", "") for name in adapted.state_dict()]
            require_adapter_fit(folder, parameters, required)
            merged: PreTrainedModel = adapted.merge_and_unload()
    except UserError:
        raise
    # the errors of peft, safetensors and torch share no class
    except Exception as error:
        raise UserError(f"model: the adapter in {folder} doesn't fit its base {base}: {reason(error)}") from error
    require_finite(folder, merged)
    return merged


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' progress bars, loading reports and warnings."""
    verbosity, shows_bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shows_bars:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Hide peft's warnings, and the one about a property that transformers has deprecated and peft reads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        # peft's warnings about missing tensors and unknown fields are errors of require_adapter_fit
        warnings.filterwarnings("ignore", category=UserWarning, module="peft")
        yield
