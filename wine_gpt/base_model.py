"""Find the base of a fine-tuned model, and read what the run that trained a model, or its base, recorded."""

import os
from collections.abc import Iterator
from pathlib import Path

from wine_gpt.config import FinetuneConfig, PretrainConfig
from wine_gpt.config_io import leaf_types, read_yaml
from wine_gpt.errors import UserError
from wine_gpt.files import path_parts, read_json, sha256
from wine_gpt.run_folder import (
    ADAPTER_CONFIG,
    CONFIG,
    FINETUNE_CONFIG,
    METRICS,
    WEIGHTS,
    is_hub_id,
)
from wine_gpt.yaml_files import Settings


def base_of(folder: str | Path) -> Path | None:
    """Return the base that a folder's model was fine-tuned from; none if it names no base, or the base is not found.

    A PEFT adapter names its base in ``adapter_config.json``, a fully fine-tuned model in ``metrics.json``. If that
    folder does not hold the weights that the model was fine-tuned from, they are looked for beside the model, because
    both may have been moved.

    Returns:
        a folder; or an id on the Hub, for a model that was not fine-tuned on this machine.

    Raises:
        UserError: if one of these files is not a JSON object.
    """
    folder = Path(folder)
    named = _named_base(folder)
    if named is None:
        return None
    weights_sha256 = _base_sha256(folder)
    for candidate in _base_candidates(folder, named, moved=weights_sha256 is not None):
        # Path.is_dir raises for a name that is too long
        if os.path.isdir(candidate) and weights_sha256 in (None, _weights_sha256(candidate)):
            return candidate
    is_local = (folder / FINETUNE_CONFIG).is_file() or not is_hub_id(named)
    return None if is_local or os.path.isdir(named) else Path(named)


def require_base(folder: Path) -> Path:
    """Return :func:`base_of` an adapter.

    Raises:
        UserError: if the adapter names no base, or the base is missing or has other weights.
    """
    base = base_of(folder)
    if base is not None:
        return base
    named, file = _named_base(folder), folder / ADAPTER_CONFIG
    if named is None:
        raise UserError(f"model: {file} names no base_model_name_or_path")
    if os.path.isdir(named):
        raise UserError(f"model: {named} was trained again since {folder} was fine-tuned from it: fine-tune again")
    raise UserError(
        f"model: {folder} is an adapter of {named}, which is no folder: "
        f"write the path of its base into base_model_name_or_path of {file}"
    )


def data_settings(run: str | Path) -> Settings:
    """Return the data settings of a run by dotted key, such as ``data.path``.

    They are in ``config.yaml`` in the run's folder or, for a fine-tuned model, in its base's folder. The result is
    empty if there is no such file, as for a model on the Hub.

    Raises:
        UserError: if the file is not a run's config.
    """
    settings = run_settings(run, "data")
    if not settings and (file := _config_of(run)):
        raise UserError(f"config: {file} has no section data")
    return settings


def run_settings(run: str | Path, section: str) -> Settings:
    """Return a section's settings of a run by dotted key, such as ``model.n_layer``; see :func:`data_settings`."""
    file = _config_of(run)
    return {} if file is None else _read_section(file, PretrainConfig, section)


def adapter_settings(folder: Path) -> Settings:
    """Return the settings that an adapter was trained with by dotted key, such as ``lora.rank``.

    The result is empty if the folder was not written by fine-tuning.

    Raises:
        UserError: if the file is not a config of fine-tuning.
    """
    file = folder / FINETUNE_CONFIG
    return _read_section(file, FinetuneConfig, "lora") if file.is_file() else {}


def recorded_vocabulary(run: str | Path) -> str | None:
    """Return the hash of the words that a run or, for a fine-tuned model, its base recorded; none for other models."""
    return _recorded(run, "vocabulary_sha256")


def refit_of(run: str | Path) -> str | None:
    """Return the name of the tested run if the model, or its base, is a refit, which has seen all its reviews."""
    return _recorded(run, "refit", "run")


def _recorded(run: str | Path, *keys: str) -> str | None:
    """Return a text in the metrics of a run or else, for a fine-tuned model, in those of its base."""
    values = (_json_value(folder / METRICS, *keys) for folder in _run_and_base(run))
    return next((value for value in values if isinstance(value, str)), None)


def _config_of(run: str | Path) -> Path | None:
    """Return the config.yaml of a run or, for a fine-tuned model, of its base."""
    # Path.is_file raises for a name that is too long
    return next((folder / CONFIG for folder in _run_and_base(run) if os.path.isfile(folder / CONFIG)), None)


def _run_and_base(run: str | Path) -> list[Path]:
    """Return the folder of a run and, for a fine-tuned model, that of its base."""
    return [folder for folder in (Path(run), base_of(run)) if folder is not None]


def _read_section(file: Path, config_class: type, section: str) -> Settings:
    """Read one section only, because another version of wine_gpt may have written the file."""
    types = {key: type_ for key, type_ in leaf_types(config_class) if key.startswith(f"{section}.")}
    return read_yaml(file, types, sections=(section,))


def _named_base(folder: Path) -> str | None:
    for name, keys in ((ADAPTER_CONFIG, ("base_model_name_or_path",)), (METRICS, ("base", "path"))):
        value = _json_value(folder / name, *keys)
        if isinstance(value, str) and value:
            return value
    return None


def _base_sha256(folder: Path) -> str | None:
    """Return the checksum of the base's weights that fine-tuning recorded; none for a model of other programs."""
    value = _json_value(folder / METRICS, "base", "weights_sha256")
    return value if isinstance(value, str) else None


def _json_value(file: Path, *keys: str) -> object:
    """Return the value of nested keys of a JSON file; none if the file or a key is missing."""
    value: object = read_json(file) if os.path.isfile(file) else None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _base_candidates(folder: Path, named: str, moved: bool) -> Iterator[Path]:
    """Yield where the base may be: as named; if ``moved``, each end of that path in each folder around the model."""
    yield Path(named)
    parts = path_parts(named)
    for parent in folder.resolve().parents if moved else ():
        for start in range(len(parts)):
            yield parent.joinpath(*parts[start:])


def _weights_sha256(folder: Path) -> str | None:
    weights = folder / WEIGHTS
    return sha256(weights) if weights.is_file() else None
