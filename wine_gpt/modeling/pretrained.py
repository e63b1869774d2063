"""Load and save models in transformers' format, from safetensors only and without remote code."""

import contextlib
import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from wine_gpt.errors import UserError, one_line
from wine_gpt.files import install_command, read_json
from wine_gpt.run_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    GENERATION_CONFIG,
    MODEL_CONFIG,
    TOKENIZER,
    WEIGHTS,
    is_hub_id,
    require_base,
)
from wine_gpt.tokenizer import SPECIAL_TOKENS, load_tokenizer, save_tokenizer


def load_model(path: str | Path) -> PreTrainedModel:
    """Load a causal language model from a folder or the Hub, from safetensors only and without remote code.

    For a folder with a PEFT adapter, the result is its base model with the adapter merged into it.

    Raises:
        UserError: if there is no model, it is pickled, has its own code, or its weights are damaged or not finite.
    """
    folder = Path(path)
    if (folder / ADAPTER_CONFIG).is_file():
        return _load_adapted(folder)
    if folder.is_dir():
        _refuse_unsafe(folder)
    elif not is_hub_id(str(path)):
        raise UserError(f"model: no such folder: {path}")
    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path,
                use_safetensors=True,
                trust_remote_code=False,
                # mismatched weights are reported below, with their names
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"model: can't load {path}: {one_line(error)}") from error
    model: PreTrainedModel = loaded[0]
    report: dict[str, Collection[object]] = loaded[1]
    for problem in ("missing_keys", "mismatched_keys"):
        if report[problem]:
            names = ", ".join(sorted(str(key) for key in report[problem]))
            what = problem.removesuffix("_keys")
            raise UserError(f"model: the weights in {path} don't fit its {MODEL_CONFIG}: {what} {names}")
    _require_finite(path, model)
    return model


def load_model_and_tokenizer(
    path: str | Path, required: tuple[str, ...] = SPECIAL_TOKENS
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load a model and its tokenizer; see :func:`load_model` and :func:`wine_gpt.tokenizer.load_tokenizer`.

    Raises:
        UserError: as these functions, and if the tokenizer has words that the model has no embedding for.
    """
    model, tokenizer = load_model(path), load_tokenizer(path, required)
    words, embeddings = len(tokenizer), model.config.vocab_size
    if words > embeddings:
        raise UserError(
            f"{path}: the tokenizer has {words:,} words, the model {embeddings:,}: they do not fit together"
        )
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
            file.replace(folder / file.name)


def _require_finite(path: str | Path, model: PreTrainedModel) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"model: {path}: tensor {name} holds NaN or infinity")


def _load_adapted(folder: Path) -> PreTrainedModel:
    """Load an adapter's base and merge the adapter into it."""
    base = require_base(folder)
    if "peft_type" not in read_json(folder / ADAPTER_CONFIG):
        raise UserError(f"model: {folder / ADAPTER_CONFIG} is no config of an adapter: it has no peft_type")
    weights = folder / ADAPTER_WEIGHTS
    if not weights.is_file():
        raise UserError(f"model: {folder} has no {weights.name}")
    _require_sound(weights)
    try:
        from peft import PeftModel
    except ImportError:
        raise UserError(f"model: {folder} is an adapter, which needs peft: {install_command('adapters')}") from None
    model = load_model(base)
    try:
        with quiet_peft():
            adapted: PreTrainedModel = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"model: the adapter in {folder} doesn't fit its base {base}: {one_line(error)}") from error
    _require_finite(folder, adapted)
    return adapted


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide transformers' progress bars, loading reports and warnings."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Hide the warning about a property that transformers has deprecated and peft reads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def _refuse_unsafe(folder: Path) -> None:
    """Check a model folder before it is loaded, so that the error names the file and the reason."""
    config_file = folder / MODEL_CONFIG
    if not config_file.is_file():
        raise UserError(f"model: {folder} holds no model: it has no {MODEL_CONFIG}")
    try:
        config = read_json(config_file)
    except UserError as error:
        raise UserError(f"model: {error}") from error
    if "auto_map" in config:
        raise UserError(f"model: {config_file} asks to run code of its own (auto_map); refused")
    _require_generation_config(folder / GENERATION_CONFIG)
    weights = sorted(folder.glob("*.safetensors"))
    pickles = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"), *folder.glob("*.ckpt")])
    if not weights:
        found = f"only {pickles[0].name}, a pickle, which could run code; refused" if pickles else f"no {WEIGHTS}"
        raise UserError(f"model: {folder} has {found}")
    for file in weights:
        _require_sound(file)


def _require_generation_config(file: Path) -> None:
    """Check a generation config, because transformers loads a model without it if the file is damaged."""
    if not file.is_file():
        return
    try:
        content = read_json(file)
        if not GenerationConfig().to_dict().keys() & content.keys():
            raise UserError(f"{file} has no setting of a generation config")
        GenerationConfig(**content).validate()
    except UserError as error:
        raise UserError(f"model: {error}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"model: {file}: {one_line(error)}") from error


def _require_sound(file: Path) -> None:
    """Read every tensor of a safetensors file; raise an error with the name of the first damaged one."""
    name = "its header"
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                tensors.get_tensor(name)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"model: {file} is damaged at {name}: {one_line(error)}") from error
