"""Check a model's or an adapter's folder, because transformers and PEFT load much that is damaged or does not fit."""

import math
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, GenerationConfig, PretrainedConfig, PreTrainedModel

from wine_gpt.base_model import run_settings
from wine_gpt.config import PretrainConfig
from wine_gpt.config_io import build_config
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import read_json
from wine_gpt.modeling.gpt2 import count_parameters
from wine_gpt.run_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    GENERATION_CONFIG,
    MODEL_CONFIG,
    SENTENCE_MODULES,
    WEIGHTS,
    has_checkpoint,
)

# a config that describes more parameters than this many times the stored ones would take memory before it fails
MOST_PARAMETERS = 2
# names in an error before the rest is counted
SHOWN_NAMES = 3
# the end of the class names of transformers' classifiers
CLASSIFIER = "ForSequenceClassification"
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "suppress_tokens")


def require_loadable(folder: Path) -> None:
    """Check a model's folder before it is loaded.

    Raises:
        UserError: that names the file, the field or tensor, and what is wrong.
    """
    config = _read_config(folder / MODEL_CONFIG)
    if any(str(name).endswith(CLASSIFIER) for name in config.architectures or ()):
        raise UserError(f"model: {folder} is a classifier, which writes no text: use pipeline('text-classification')")
    if (folder / SENTENCE_MODULES).is_file():
        raise UserError(f"model: {folder} is a model for embeddings, which writes no text: use similar")
    if config.model_type == "gpt2":
        _require_gpt2(folder, config)
    _require_generation_config(folder / GENERATION_CONFIG, getattr(config, "vocab_size", math.inf))
    _require_size(folder, config)


def require_fit(path: str | Path, report: Mapping[str, Collection[object]], file: str = MODEL_CONFIG) -> None:
    """Check what ``from_pretrained`` or PEFT reports of the tensors; ``file`` describes them.

    Raises:
        UserError: for tensors that are missing, left over or of another shape.
    """
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(problem):
            what = problem.removesuffix("_keys")
            names = (str(key if isinstance(key, str) else key[0]) for key in report[problem])  # type: ignore[index]
            raise UserError(f"model: the weights in {path} don't fit its {file}: {what} {listed(names)}")


def require_finite(path: str | Path, model: PreTrainedModel) -> None:
    """Check that no parameter is NaN or infinite.

    Raises:
        UserError: with the name of the first that is.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"model: {path}: tensor {name} holds NaN or infinity")


def require_sound(file: Path) -> int:
    """Read every tensor of a safetensors file; return the number of values.

    Raises:
        UserError: with the name of the first tensor that is damaged or quantized.
    """
    name, count = "its header", 0
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                tensor = tensors.get_tensor(name)
                # weights only, because old files of a GPT-2 also hold its masks
                if name.endswith("weight") and not tensor.is_floating_point():
                    raise UserError(
                        f"model: {file}: tensor {name} is of type {tensor.dtype}, not a float: "
                        "quantized weights are not supported, save the model in float32"
                    )
                count += tensor.numel()
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"model: {file} is damaged at {name}: {one_line(error)}") from error
    return count


def require_adapter(folder: Path, base: Path) -> None:
    """Check an adapter's folder before it is loaded.

    Raises:
        UserError: that names the file, the field or tensor, and what is wrong.
    """
    file = folder / ADAPTER_CONFIG
    config = read_json(file)
    if "peft_type" not in config:
        raise UserError(f"model: {file} is no config of an adapter: it has no peft_type")
    if (base / ADAPTER_CONFIG).is_file():
        raise UserError(f"model: {file}: its base {base} is itself an adapter: name the pretrained model")
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise UserError(f"model: {folder} has no {ADAPTER_WEIGHTS}")
    require_sound(folder / ADAPTER_WEIGHTS)


def reason(error: BaseException) -> str:
    """Return an error's message in one line; a KeyError's is the value alone that a library does not know."""
    return f"unknown value {one_line(error)}" if isinstance(error, KeyError) else one_line(error)


def listed(names: Iterable[str]) -> str:
    """Return the first names and the number of the others, for an error in one line."""
    ordered = sorted(names)
    rest = len(ordered) - SHOWN_NAMES
    return ", ".join(ordered[:SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _read_config(file: Path) -> PretrainedConfig:
    if not file.is_file():
        inside = sorted(
            path.parent for name in (MODEL_CONFIG, ADAPTER_CONFIG) for path in file.parent.glob(f"*/{name}")
        )
        hint = f"; its folder {inside[0].name} holds one: name {inside[0]}" if inside else ""
        if has_checkpoint(file.parent):
            hint = "; its training is not finished: --resume continues it"
        raise UserError(f"model: {file.parent} holds no model: it has no {file.name}{hint}")
    content = read_json(file)
    if "auto_map" in content:
        raise UserError(f"model: {file} asks to run code of its own (auto_map); refused")
    if "quantization_config" in content:
        raise UserError(f"model: {file}: quantization_config: quantized weights are not supported")
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(file.parent, trust_remote_code=False)
    # the errors of transformers, huggingface_hub and torch share no class
    except Exception as error:
        raise UserError(f"model: {file}: {reason(error.__cause__ or error)}") from error
    return config


def _require_gpt2(folder: Path, config: PretrainedConfig) -> None:
    """Check the fields of a GPT-2's config that fit its tensors whatever they say."""
    file, epsilon = folder / MODEL_CONFIG, config.layer_norm_epsilon
    if config.n_head < 1:
        raise UserError(f"model: {file}: n_head is {config.n_head}: must be at least 1")
    if not 0 < epsilon < 1:
        raise UserError(f"model: {file}: layer_norm_epsilon is {epsilon}: must be between 0 and 1")
    settings = run_settings(folder, "model")
    n_head = build_config(PretrainConfig, settings).model.n_head if settings else config.n_head
    if config.n_head != n_head:
        raise UserError(
            f"model: {file}: n_head is {config.n_head}, but by {CONFIG} the weights were trained with {n_head}: "
            "write that value, or train again"
        )


def _count_stored(folder: Path) -> int:
    """Return the number of values in a folder's safetensors, all of which are read."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = sorted(file for suffix in ("bin", "pt", "pth", "ckpt") for file in folder.glob(f"*.{suffix}"))
        found = f"only {pickles[0].name}, a pickle, which could run code; refused" if pickles else f"no {WEIGHTS}"
        raise UserError(f"model: {folder} has {found}")
    return sum(map(require_sound, weights))


def _require_size(folder: Path, config: PretrainedConfig) -> None:
    """Compare the config's number of parameters with the stored one before any of them takes memory."""
    stored, layers = _count_stored(folder), getattr(config, "num_hidden_layers", 0)
    try:
        # each layer stores more than one value, and a meta model of very many layers takes memory too
        count = layers if layers > stored else count_parameters(config)
    # the errors of transformers and torch share no class
    except Exception as error:
        raise UserError(f"model: {folder / MODEL_CONFIG}: {reason(error)}") from error
    if count > MOST_PARAMETERS * stored:
        raise UserError(
            f"model: {folder / MODEL_CONFIG} describes a {config.model_type} of {count:,} parameters, "
            f"but {folder} has weights for {stored:,}: they do not belong together"
        )


def _require_generation_config(file: Path, vocab_size: float) -> None:
    """Check a generation config, because transformers loads a model without it if the file is damaged.

    The numbers that are not checked are refused when a text is generated, or change nothing.
    """
    if not os.path.lexists(file):
        return
    content = read_json(file)
    if not GenerationConfig().to_dict().keys() & content.keys():
        raise UserError(f"model: {file} has no setting of a generation config")
    do_sample, temperature = content.get("do_sample"), content.get("temperature")
    if not isinstance(do_sample, bool | None):
        raise UserError(f"model: {file}: do_sample is {do_sample!r}: must be true or false")
    if not (temperature is None or (isinstance(temperature, int | float) and 1e-6 <= temperature <= 1e6)):
        raise UserError(f"model: {file}: temperature is {temperature!r}: must be a number from 1e-06 to 1e+06")
    for name in TOKEN_IDS:
        value = content.get(name)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(id_) is int and 0 <= id_ < vocab_size for id_ in ids):
            raise UserError(f"model: {file}: {name} is {value!r}: must be ids of tokens, 0 to {vocab_size - 1:,}")
    try:
        GenerationConfig(**content).validate()
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"model: {file}: {one_line(error)}") from error
