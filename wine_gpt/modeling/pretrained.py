"""Load and save models in transformers' format, from safetensors only and without remote code."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from wine_gpt.errors import UserError, one_line
from wine_gpt.run_folder import base_of
from wine_gpt.tokenizer import save_tokenizer


def load_model(path: str | Path) -> PreTrainedModel:
    """Load a causal language model from a folder or the Hub, from safetensors only and without remote code.

    For a folder with a PEFT adapter, the result is its base model with the adapter merged into it.

    Raises:
        UserError: if there is no model, it is pickled, has its own code, or its weights are damaged or not finite.
    """
    folder = Path(path)
    if (folder / "adapter_config.json").is_file():
        return _load_adapted(folder)
    if folder.is_dir():
        _refuse_unsafe(folder)
    elif str(path).startswith((".", "/", "~")) or str(path).count("/") > 1:
        raise UserError(f"model: no such folder: {path}")
    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path,
                use_safetensors=True,
                trust_remote_code=False,
                # mismatched weights are reported below by name
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"model: can't load {path}: {one_line(error)}") from error
    model: PreTrainedModel = loaded[0]
    report: dict[str, Any] = loaded[1]
    for problem in ("missing_keys", "mismatched_keys"):
        if report[problem]:
            names = ", ".join(sorted(str(key) for key in report[problem]))
            what = problem.removesuffix("_keys")
            raise UserError(f"model: the weights in {path} don't fit its config.json: {what} {names}")
    _require_finite(path, model)
    return model


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
        # the model card that peft writes has only placeholders
        (Path(temporary) / "README.md").unlink(missing_ok=True)
        readable = (Path(temporary) / "tokenizer.json").stat().st_mode
        for file in Path(temporary).iterdir():
            # safetensors makes files that only their owner can read
            file.chmod(readable)
            file.replace(folder / file.name)


def _require_finite(path: str | Path, model: PreTrainedModel) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"model: {path}: tensor {name} holds NaN or infinity")


def _load_adapted(folder: Path) -> PreTrainedModel:
    """Load an adapter's base and merge the adapter into it."""
    base = base_of(folder)
    if base is None:
        raise UserError(f"model: {folder / 'adapter_config.json'} names no base_model_name_or_path")
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise UserError(f"model: {folder} has no {weights.name}")
    _require_sound(weights)
    try:
        from peft import PeftModel
    except ImportError:
        raise UserError(f'model: {folder} is an adapter, which needs peft: pip install "wine_gpt[adapters]"') from None
    model = load_model(base)
    try:
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


def _refuse_unsafe(folder: Path) -> None:
    """Check a model folder before it is loaded, so that the error names file and reason."""
    config_file = folder / "config.json"
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"model: {folder} holds no model: it has no config.json") from None
    except ValueError as error:
        raise UserError(f"model: {config_file} is not JSON: {error}") from error
    if "auto_map" in config:
        raise UserError(f"model: {config_file} asks to run code of its own (auto_map); refused")
    weights = sorted(folder.glob("*.safetensors"))
    pickles = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"), *folder.glob("*.ckpt")])
    if not weights:
        found = (
            f"only {pickles[0].name}, a pickle, which could run code; refused" if pickles else "no model.safetensors"
        )
        raise UserError(f"model: {folder} has {found}")
    for file in weights:
        _require_sound(file)


def _require_sound(file: Path) -> None:
    """Read every tensor of a safetensors file, and raise an error that names a damaged one."""
    name = "its header"
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                tensors.get_tensor(name)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"model: {file} is damaged at {name}: {one_line(error)}") from error
