"""Check a model's or an adapter's folder, because transformers and PEFT load much that is damaged or does not fit.

A folder of :func:`wine_gpt.training.pretrain` or of fine-tuning is also compared with its own config.yaml or
finetune.yaml, because a changed ``n_head`` or ``lora_alpha`` fits all tensors and changes what they compute.
"""

import math
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, GenerationConfig, PretrainedConfig, PreTrainedModel

from wine_gpt.base_model import adapter_settings, run_settings
from wine_gpt.config import FinetuneConfig, PretrainConfig
from wine_gpt.config_io import build_config
from wine_gpt.errors import UserError, one_line
from wine_gpt.files import JsonObject, read_json
from wine_gpt.modeling.gpt2 import count_parameters, gpt2_config
from wine_gpt.run_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    FINETUNE_CONFIG,
    GENERATION_CONFIG,
    METRICS,
    MODEL_CONFIG,
    SENTENCE_MODULES,
    WEIGHTS,
    has_checkpoint,
)

# safetensors' names of the types that weights may have; the others are quantized or no weights
FLOATS = ("F64", "F32", "F16", "BF16")
# a config that describes more parameters than this many times the stored ones would take memory before it fails
MOST_PARAMETERS = 2
# names in an error before the rest is counted
SHOWN_NAMES = 3
# the ranges of a GPT-2's numbers that its tensors do not check
GPT2_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("n_layer", "n_head", "n_embd", "n_positions", "vocab_size"), (1, math.inf)),
    "layer_norm_epsilon": (1e-12, 0.1),
}
# the fields of a GPT-2's config.json that decide what its tensors compute
GPT2_DECISIVE = (
    *("n_layer", "n_head", "n_embd", "n_inner", "n_positions", "activation_function", "layer_norm_epsilon"),
    *("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "add_cross_attention", "tie_word_embeddings"),
)
# the types and ranges of a generation config's numbers, which transformers checks at the first text, if at all
GENERATION_RANGES: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 1e-6, 1e6),
    "top_p": (float, 1e-6, 1),
    "top_k": (int, 0, math.inf),
    "repetition_penalty": (float, 1e-6, 1e6),
    **{name: (int, 1, math.inf) for name in ("max_length", "max_new_tokens")},
    # each one is a row of the batch, so a large number takes all memory
    **{name: (int, 1, 1000) for name in ("num_beams", "num_return_sequences")},
    **{name: (int, 0, math.inf) for name in ("min_length", "min_new_tokens", "no_repeat_ngram_size")},
}
ADAPTER_RANGES: dict[str, tuple[type, float, float]] = {"r": (int, 1, math.inf), "lora_alpha": (float, 1e-6, 1e6)}
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
        _require_gpt2(folder / MODEL_CONFIG, config)
    _require_generation_config(folder / GENERATION_CONFIG, getattr(config, "vocab_size", math.inf))
    _require_size(folder, config)
    _require_results(folder)
    if config.model_type == "gpt2":
        _require_recorded(folder, config)


def require_fit(path: str | Path, report: Mapping[str, Collection[object]]) -> None:
    """Check what ``from_pretrained`` reports of the tensors.

    Raises:
        UserError: for tensors that are missing, left over or of another shape.
    """
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            what = problem.removesuffix("_keys")
            names = (str(key if isinstance(key, str) else key[0]) for key in report[problem])  # type: ignore[index]
            raise UserError(f"model: the weights in {path} don't fit its {MODEL_CONFIG}: {what} {listed(names)}")


def require_tied(path: str | Path, model: PreTrainedModel) -> None:
    """Check that the embeddings are tied if the config says so, because transformers unties stored ones that differ.

    Raises:
        UserError: if they are not.
    """
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if model.config.tie_word_embeddings and head is not None and head.weight is not embeddings.weight:
        names = {id(parameter): name for name, parameter in model.named_parameters(remove_duplicate=False)}
        raise UserError(
            f"model: {path}: tie_word_embeddings of {MODEL_CONFIG} is true, but the weights have another "
            f"{names[id(head.weight)]} than {names[id(embeddings.weight)]}: restore the file, or write false"
        )


def require_floats(folder: Path, names: Iterable[str]) -> None:
    """Check that the stored tensors of these parameters are floats, because others are quantized or damaged.

    Raises:
        UserError: with the first tensor that is not.
    """
    parameters = tuple(names)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                dtype = tensors.get_slice(name).get_dtype()
                # a file may leave out the prefix of the names
                if dtype not in FLOATS and any(full == name or full.endswith(f".{name}") for full in parameters):
                    raise UserError(
                        f"model: {file}: tensor {name} is of type {dtype}, not a float: "
                        "quantized weights are not supported, save the model in float32"
                    )


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
        UserError: with the name of the first damaged tensor.
    """
    name, count = "its header", 0
    try:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                count += tensors.get_tensor(name).numel()
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
    _require_numbers(file, config, ADAPTER_RANGES)
    _require_results(folder)
    for name, value in _recorded_adapter(folder).items():
        if config.get(name) != value and (config.get(name) or value):
            raise _differs(file, name, config.get(name), value, FINETUNE_CONFIG)


def require_adapter_fit(folder: Path, parameters: Iterable[str], required: Iterable[str]) -> None:
    """Check an adapter's tensors against the adapted model.

    Args:
        folder: the adapter's.
        parameters: the names of all of the adapted model's parameters, as in the adapter's file.
        required: the names of the adapter's own.

    Raises:
        UserError: for tensors that are missing, left over or no floats.
    """
    names = set(parameters) | set(required)
    require_floats(folder, names)
    with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as tensors:
        stored = set(tensors.keys())
    for what, wrong in (("missing", set(required) - stored), ("unexpected", stored - names)):
        if wrong:
            raise UserError(
                f"model: the weights in {folder} don't fit its {ADAPTER_CONFIG} and its base: {what} {listed(wrong)}"
            )


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
    try:
        content = read_json(file)
    except UserError as error:
        raise UserError(f"model: {error}") from error
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


def _require_gpt2(file: Path, config: PretrainedConfig) -> None:
    for name, (low, high) in GPT2_RANGES.items():
        value = getattr(config, name)
        if not low <= value <= high:
            raise UserError(f"model: {file}: {name} is {value}: must be {_range(low, high)}")
    for name in TOKEN_IDS:
        _require_ids(file, name, getattr(config, name, None), config.vocab_size)


def _require_recorded(folder: Path, config: PretrainedConfig) -> None:
    """Compare a GPT-2 with the config of the run that trained it or its base."""
    settings = run_settings(folder, "model")
    if not settings:
        return
    expected = gpt2_config(build_config(PretrainConfig, settings).model)
    for name in GPT2_DECISIVE:
        value, then = getattr(config, name), getattr(expected, name)
        if value != then:
            raise _differs(folder / MODEL_CONFIG, name, value, then, CONFIG)


def _recorded_adapter(folder: Path) -> JsonObject:
    """Return the fields of adapter_config.json that decide what an adapter of fine-tuning computes."""
    settings = adapter_settings(folder)
    if not settings:
        return {}
    # a value, because a config of fine-tuning needs one
    lora = build_config(FinetuneConfig, {"value": "all", **settings}).lora
    unused = ("use_rslora", "use_dora", "alpha_pattern", "rank_pattern", "layers_to_transform")
    return {"peft_type": "LORA", "r": lora.rank, "lora_alpha": lora.alpha, **dict.fromkeys(unused)}


def _differs(file: Path, name: str, value: object, then: object, record: str) -> UserError:
    return UserError(
        f"model: {file}: {name} is {value!r}, but by {record} the weights were trained with {then!r}: "
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
    """Check a generation config, because transformers loads a model without it if the file is damaged."""
    if not os.path.lexists(file):
        return
    try:
        content = read_json(file)
        if not GenerationConfig().to_dict().keys() & content.keys():
            raise UserError(f"{file} has no setting of a generation config")
    except UserError as error:
        raise UserError(f"model: {error}") from error
    _require_numbers(file, content, GENERATION_RANGES)
    for name in TOKEN_IDS:
        _require_ids(file, name, content.get(name), vocab_size)
    if not isinstance(content.get("do_sample"), bool | None):
        raise UserError(f"model: {file}: do_sample is {content['do_sample']!r}: must be true or false")
    try:
        GenerationConfig(**content).validate()
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"model: {file}: {one_line(error)}") from error


def _require_numbers(file: Path, content: JsonObject, ranges: Mapping[str, tuple[type, float, float]]) -> None:
    """Check the type and the range of fields that may be missing or null."""
    for name, (kind, low, high) in ranges.items():
        value = content.get(name)
        kinds = (int, float) if kind is float else (int,)
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        if value is not None and not (is_number and low <= value <= high):
            what = "a number" if kind is float else "an integer"
            raise UserError(f"model: {file}: {name} is {value!r}: must be {what} {_range(low, high)}")


def _require_ids(file: Path, name: str, value: object, vocab_size: float) -> None:
    """Check token ids: one, a list of several, or none."""
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(id_, int) and not isinstance(id_, bool) and 0 <= id_ < vocab_size for id_ in ids):
        raise UserError(f"model: {file}: {name} is {value!r}: must be ids of tokens, 0 to {vocab_size - 1:,}")


def _require_results(folder: Path) -> None:
    """Check that the metrics file of a run of this package holds its results."""
    is_run = any((folder / name).is_file() for name in (CONFIG, FINETUNE_CONFIG))
    if is_run and (folder / METRICS).is_file() and "training" not in read_json(folder / METRICS):
        raise UserError(f"model: {folder / METRICS} has no training: restore it, or train again")


def _range(low: float, high: float) -> str:
    return f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
