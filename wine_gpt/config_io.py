"""Read settings from YAML files and command lines, and write them back."""

import argparse
import dataclasses
import difflib
import inspect
import os
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import draccus
import yaml
from draccus.wrappers.docstring import get_attribute_docstring

from wine_gpt.config import LARGEST, DistillConfig, FinetuneConfig, PretrainConfig, ScoreConfig, require
from wine_gpt.errors import UserError, one_line, require_characters
from wine_gpt.installation import bundled
from wine_gpt.run_folder import LATEST
from wine_gpt.yaml_files import Settings, Types, empty_advice, from_text, read_settings, type_name

# the top-level key of a config that names the config whose settings it overrides
INHERIT = "inherit"
# other tools' keys for the same
NOT_INHERIT = ("base", "extends", "include", "defaults")
# flags that the saved config omits, because repeating a run must not resume or overwrite it
STARTING_FLAGS = ("resume", "overwrite")
# settings that name a file, a folder or a model, which may have another path on another machine
PATHS = ("data.path", "tokenizer.path", "output_dir", "base", "run", "model", "resume")
# the values of flags without a value; a boolean flag without one is true
BARE_FLAGS = {"resume": LATEST}
# the commands whose settings another command may be given
CONFIGS_OF_COMMANDS = {
    "pretrain": PretrainConfig,
    "distill": DistillConfig,
    "finetune": FinetuneConfig,
    "score": ScoreConfig,
}
USAGE = "[FILE.yaml] [--section.setting value ...]"

ConfigT = TypeVar("ConfigT")


def parse_config(
    config_class: type[ConfigT],
    arguments: Sequence[str],
    default_file: str | None = None,
    defaults: Settings | None = None,
    whole_class: type | None = None,
) -> ConfigT:
    """Build a root config from ``[FILE.yaml] [--section.setting value | --section.setting=value] ...``.

    Args:
        config_class: the root dataclass, whose fields are settings or section dataclasses.
        arguments: the command line without the name of the command.
        default_file: the YAML file that is read when the command line names none; see :func:`find_config`.
        defaults: settings that the file and the flags override.
        whole_class: another root dataclass, whose configs the file may be; only its sections that ``config_class``
            has are read.

    Raises:
        UserError: for a file that cannot be read, an unknown key, a wrong type or an impossible value.
    """
    arguments = list(arguments)
    named = arguments.pop(0) if arguments and not arguments[0].startswith("-") else default_file
    types = dict(leaf_types(config_class))
    values = (defaults or {}) | (_read_part(named, types, whole_class) if named is not None else {})
    return build_config(config_class, values | _read_flags(arguments, types))


def config_from_settings(
    config_class: type[ConfigT],
    settings: Mapping[str, object],
    file: str | os.PathLike[str] | None = None,
    defaults: Settings | None = None,
) -> ConfigT:
    """Build a root config from keyword arguments, such as ``{"data": "reviews.csv", "training": {"epochs": 2}}``.

    Args:
        config_class: see :func:`parse_config`.
        settings: sections and fields; a string or path in place of a section is the section's ``path``, and ``True``
            is a flag of :data:`BARE_FLAGS` without its value, ``False`` its default.
        file: a YAML file; see :func:`find_config`.
        defaults: settings that the file and the keyword arguments override.

    Raises:
        UserError: as :func:`parse_config`.
    """
    types = dict(leaf_types(config_class))
    values = (defaults or {}) | (read_config_file(os.fspath(file), types) if file is not None else {})
    for key, value in _flatten(settings, types):
        is_section = key not in types and any(name.startswith(f"{key}.") for name in types)
        if is_section and value is None:
            continue
        if is_section and not (isinstance(value, str | os.PathLike) and f"{key}.path" in types):
            shown = textwrap.shorten(repr(value), 60)
            raise UserError(f"config: {key} is {shown}: must be a dict of the section's settings")
        setting = f"{key}.path" if is_section else key
        _require_known(setting, types, "keyword arguments")
        if isinstance(value, bool) and types[setting] is not bool and setting in BARE_FLAGS:
            value = BARE_FLAGS[setting] if value else None
        values[setting] = os.fspath(value) if isinstance(value, os.PathLike) else value
        _require_type(setting, values[setting], types[setting])
    return build_config(config_class, values)


def _require_type(key: str, value: object, annotation: object) -> None:
    """Check what the decoder of configs does not: it takes anything for a text, and a bool for a number."""
    if value is None:
        if type(None) not in typing.get_args(annotation):
            raise UserError(f"config: {key} is None: {empty_advice(key, annotation)}, or leave it out")
    elif typing.get_origin(annotation) is tuple:
        if not (isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)):
            raise UserError(f"config: {key} is {value!r}: must be a list of texts, [a, b]")
    elif isinstance(value, bool | dict | list | tuple) and not (isinstance(value, bool) and annotation is bool):
        raise UserError(f"config: {key} is {value!r}: must be {type_name(annotation)}")


def build_config(config_class: type[ConfigT], values: Settings) -> ConfigT:
    """Build a root config from settings; a missing setting has its field's default.

    Raises:
        UserError: for a wrong type or an impossible value.
    """
    nested: Settings = {}
    for key, value in values.items():
        _require_storable(key, value)
        # data.path may be something else than a path, and is expanded where it is read
        if is_path(key, value) and key != "data.path":
            value = os.path.expanduser(value)
        *sections, name = key.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
    try:
        config = typing.cast(ConfigT, draccus.decode(config_class, nested))
    except draccus.utils.DraccusException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(f"config: {one_line(error)}") from error
    for key, value in to_flat(config).items():
        require(not isinstance(value, int) or abs(value) <= LARGEST, key, value, f"must be at most {LARGEST:,}")
    return config


def is_path(key: str, value: object) -> TypeGuard[str]:
    """Return whether a setting names a file, a folder or a model."""
    return key in PATHS and isinstance(value, str) and value not in BARE_FLAGS.values()


def _require_storable(key: str, value: object) -> None:
    """Check that no text holds what no file name, or no config, can have."""
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str):
            require_characters(f"config: {key}", item)
            if "\0" in item:
                raise UserError(f"config: {key} is {item!r}: must not hold a NUL character")


def read_config_file(name: str, types: Types) -> Settings:
    """Read the settings in a config and in the configs that it inherits, which it overrides.

    Args:
        name: see :func:`find_config`.
        types: the known settings.

    Raises:
        UserError: for a file that can't be read, an unknown key or a wrong type, or configs that inherit in a circle.
    """
    return _read_inherited([find_config(name)], types)


def _read_part(name: str, types: Types, whole_class: type | None) -> Settings:
    """Read the settings in a config that may be the config of a whole run, with further ones."""
    if whole_class is None:
        return read_config_file(name, types)
    values = read_config_file(name, {**dict(leaf_types(whole_class)), **types})
    # settings outside of the sections, such as output_dir, are those of the run
    return {key: value for key, value in values.items() if key in types and "." in key}


def _read_inherited(chain: list[Path], types: Types) -> Settings:
    """Read the last config of a chain, in which each config inherits the next."""
    path = chain[-1]
    values = read_yaml(path, {**types, INHERIT: str | None})
    parent = values.pop(INHERIT, None)
    if parent is None:
        return values
    try:
        chain = [*chain, find_config(parent, path.parent)]
    except UserError as error:
        raise UserError(f"{error} ({path} inherits it)") from None
    if chain[-1].resolve() in [file.resolve() for file in chain[:-1]]:
        raise UserError(f"config: {' inherits '.join(map(str, chain))}: a circle")
    return _read_inherited(chain, types) | values


def find_config(name: str, folder: Path = Path()) -> Path:
    """Return the path of a config: a file, or else a config of the package, such as ``base.yaml``.

    Args:
        name: a path, or the name of a config of the package.
        folder: what a relative path is relative to.

    Raises:
        UserError: if there is neither; the message names the most similar config.
    """
    if not name.strip():
        raise UserError("config: the name of the config is empty: name a file, or leave it out")
    path = folder / name
    # Path.exists raises for a name that is too long
    if os.path.exists(path):
        return path
    configs = bundled("configs")
    installed = configs / name.removeprefix("configs/")
    if os.path.isfile(installed):
        return installed
    names = [file.relative_to(configs).as_posix() for file in sorted(configs.rglob("*.yaml"))]
    nearest = difflib.get_close_matches(name.removeprefix("configs/"), names, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "the package has base.yaml, class.yaml and sample.yaml"
    raise UserError(f"config: can't read {name}: no such file; {hint}")


def config_help(config_class: type, usage: str, description: str, default_file: str | None = None) -> str:
    """Return the help of a command: its usage, its description, and every setting with its type and default.

    A setting that the config read by default sets otherwise has that value too.
    """
    parser = argparse.ArgumentParser(
        usage=usage, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    in_file = read_config_file(default_file, dict(leaf_types(config_class))) if default_file else {}
    _add_settings(parser, config_class, "", {key: (default_file, value) for key, value in in_file.items()})
    return parser.format_help()


def _add_settings(
    parser: argparse.ArgumentParser,
    config_class: type,
    prefix: str,
    in_file: Mapping[str, tuple[str | None, object]],
    refused: Sequence[str] = (),
) -> None:
    """Add each setting to the help, with the comment above its field as its description.

    Args:
        parser: the parser.
        config_class: the root config or a section.
        prefix: the section's name and a dot.
        in_file: the config read by default, and its value, by the setting's key.
        refused: the settings that the command takes no value for.
    """
    refused = (*refused, *getattr(config_class, "REFUSED", ()))
    group = parser.add_argument_group(prefix.removesuffix(".") or "settings", inspect.getdoc(config_class))
    types = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        annotation = types[field.name]
        if dataclasses.is_dataclass(annotation):
            _add_settings(parser, typing.cast(type, annotation), f"{prefix}{field.name}.", in_file, refused)
        elif field.default is not dataclasses.MISSING and prefix + field.name not in refused:
            comment = get_attribute_docstring(config_class, field.name).comment_above.replace("\n", " ")
            file, value = in_file.get(prefix + field.name, (None, field.default))
            differs = _shown(value) != _shown(field.default)
            default = _shown(field.default) + (f"; {file} has {_shown(value)}" if differs else "")
            help_text = f"{comment} (default: {default})".strip().replace("%", "%%")
            group.add_argument(f"--{prefix}{field.name}", metavar=type_name(annotation), help=help_text)


def _shown(default: object) -> str:
    """Return a default as it is written on the command line."""
    if isinstance(default, tuple | list):
        return ",".join(default)
    return {"None": "null", "False": "false", "True": "true"}.get(str(default), str(default))


def to_yaml(config: object) -> str:
    """Return the config, defaults included, as YAML with which :func:`parse_config` repeats the run."""
    settings = {name: value for name, value in draccus.encode(config).items() if name not in STARTING_FLAGS}
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def to_flat(config: object) -> Settings:
    """Return each setting's dotted key and value."""
    return dict(_flatten(draccus.encode(config), {}))


def leaf_types(config_class: type, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield each setting's dotted key and its type annotation."""
    for name, annotation in typing.get_type_hints(config_class).items():
        if dataclasses.is_dataclass(annotation):
            yield from leaf_types(typing.cast(type, annotation), f"{prefix}{name}.")
        else:
            yield prefix + name, annotation


def read_yaml(path: Path, types: Types, sections: Sequence[str] | None = None) -> Settings:
    """Read the settings in a YAML config, or in some sections of it.

    Raises:
        UserError: for a file that can't be read, a key that is not in ``types``, or a wrong type.
    """
    values = {}
    for key, value in read_settings(path, types):
        if sections is None or key.split(".")[0] in sections:
            _require_known(key, types, str(path))
            if key in values:
                raise UserError(f"config: {path}: {key} stands twice, by itself and in its section")
            values[key] = value
    return values


def _flatten(content: Mapping[str, Any], types: Types, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting's dotted key and value; a mapping is a section unless its key is a setting."""
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in types:
            yield from _flatten(value, types, f"{key}.")
        else:
            yield key, value


def flag_texts(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each flag of ``--key value``, ``--key=value`` or ``--key`` and its value, None without one."""
    waiting = list(arguments)
    while waiting:
        flag, equals, text = waiting.pop(0).partition("=")
        if equals:
            yield flag, text
        else:
            yield flag, waiting.pop(0) if waiting and not waiting[0].startswith("--") else None


def _read_flags(arguments: Sequence[str], types: Types) -> Settings:
    """Read flags; boolean ones and those in :data:`BARE_FLAGS` need no value."""
    values: Settings = {}
    for flag, text in flag_texts(arguments):
        if not flag.startswith("--"):
            raise UserError(f"command line: {flag!r} is no flag; a flag reads --section.field value")
        key = flag[2:]
        _require_known(key, types, "command line")
        given = ("true" if types[key] is bool else BARE_FLAGS.get(key)) if text is None else text
        if given is None:
            raise UserError(f"command line: {flag} needs a value")
        values[key] = _from_flag(key, given, types[key])
    return values


def _from_flag(key: str, text: str, annotation: object) -> object:
    """Return the value of a flag's text."""
    is_nullable = type(None) in typing.get_args(annotation)
    if text == "null" and is_nullable:
        return None
    if typing.get_origin(annotation) is tuple:
        return [item.strip() for item in text.strip("[]").split(",") if item.strip()]
    if text == "" and annotation is not str:
        raise UserError(f"command line: --{key} is empty: {empty_advice(key, annotation)}, or leave the flag out")
    return from_text(text, annotation)


def _require_known(key: str, types: Types, where: str) -> None:
    if key == INHERIT and key not in types:
        raise UserError(f"config: {where}: {INHERIT} stands in a file: name that config as the first argument")
    if key not in types:
        is_inherit = key in NOT_INHERIT and INHERIT in types
        owners = [name for name, config_class in CONFIGS_OF_COMMANDS.items() if key in dict(leaf_types(config_class))]
        if owners and not is_inherit:
            raise UserError(f"config: {where}: {key} is no setting of this command, but of {owners[0]}")
        nearest = [INHERIT] if is_inherit else difflib.get_close_matches(key, types, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(types)}"
        raise UserError(f"config: {where}: unknown key {key}; {hint}")
