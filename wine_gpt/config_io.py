"""Read settings from YAML files and command lines, and write them back."""

import argparse
import dataclasses
import difflib
import inspect
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import draccus
import yaml
from draccus.wrappers.docstring import get_attribute_docstring

from wine_gpt.errors import UserError, one_line
from wine_gpt.files import bundled

# each setting's value by its dotted key, such as training.epochs; Any, because its field determines its type
Settings = dict[str, Any]
# each setting's type annotation by its dotted key
Types = dict[str, object]

# the values of flags without a value; a boolean flag without one is true
BARE_FLAGS = {"resume": "latest"}
USAGE = "[FILE.yaml] [--section.setting value ...]"

ConfigT = TypeVar("ConfigT")


def parse_config(
    config_class: type[ConfigT],
    arguments: Sequence[str],
    default_file: str | None = None,
    defaults: Settings | None = None,
) -> ConfigT:
    """Build a root config from ``[FILE.yaml] [--section.setting value | --section.setting=value] ...``.

    Args:
        config_class: the root dataclass, whose fields are settings or section dataclasses.
        arguments: the command line without the name of the command.
        default_file: the YAML file that is read when the command line names none; see :func:`find_config`.
        defaults: settings that the file and the flags override.

    Raises:
        UserError: for a file that cannot be read, an unknown key, a wrong type or an impossible value.
    """
    arguments = list(arguments)
    named = arguments.pop(0) if arguments and not arguments[0].startswith("-") else default_file
    types = dict(leaf_types(config_class))
    values = (defaults or {}) | (read_yaml(find_config(named), types) if named else {})
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
        settings: sections and fields; a string or path in place of a section is the section's ``path``.
        file: a YAML file; see :func:`find_config`.
        defaults: settings that the file and the keyword arguments override.

    Raises:
        UserError: as :func:`parse_config`.
    """
    types = dict(leaf_types(config_class))
    values = (defaults or {}) | (read_yaml(find_config(os.fspath(file)), types) if file is not None else {})
    for key, value in _flatten(settings, types):
        setting = f"{key}.path" if key not in types and f"{key}.path" in types else key
        _require_known(setting, types, "keyword arguments")
        if isinstance(value, bool) and types[setting] is not bool:
            raise UserError(f"config: {setting} is {value}: must be {_type_name(types[setting])}")
        if typing.get_origin(types[setting]) is tuple and not isinstance(value, list | tuple):
            raise UserError(f"config: {setting} is {value!r}: must be a list, [a, b]")
        values[setting] = os.fspath(value) if isinstance(value, os.PathLike) else value
    return build_config(config_class, values)


def build_config(config_class: type[ConfigT], values: Settings) -> ConfigT:
    """Build a root config from settings; a missing setting has its field's default.

    Raises:
        UserError: for a wrong type or an impossible value.
    """
    nested: Settings = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
    try:
        return typing.cast(ConfigT, draccus.decode(config_class, nested))
    except draccus.utils.DraccusException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(f"config: {one_line(error)}") from error


def find_config(name: str) -> Path:
    """Return the path of a config: a file, or else a config of the package, such as ``base.yaml``.

    Raises:
        UserError: if there is neither; the message names the most similar config.
    """
    path = Path(name)
    if path.exists():
        return path
    folder = bundled("configs")
    installed = folder / name.removeprefix("configs/")
    if installed.is_file():
        return installed
    names = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*.yaml"))]
    nearest = difflib.get_close_matches(name.removeprefix("configs/"), names, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "the package has base.yaml, class.yaml and sample.yaml"
    raise UserError(f"config: can't read {name}: no such file; {hint}")


def config_help(config_class: type, usage: str, description: str) -> str:
    """Return the help of a command: its usage, its description, and every setting with its type and default."""
    parser = argparse.ArgumentParser(
        usage=usage, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_settings(parser, config_class, "")
    return parser.format_help()


def _add_settings(parser: argparse.ArgumentParser, config_class: type, prefix: str) -> None:
    """Add each setting to the help, with the comment above its field as its description."""
    group = parser.add_argument_group(prefix.removesuffix(".") or "settings", inspect.getdoc(config_class))
    types = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        annotation = types[field.name]
        if dataclasses.is_dataclass(annotation):
            _add_settings(parser, typing.cast(type, annotation), f"{prefix}{field.name}.")
        elif field.default is not dataclasses.MISSING:
            comment = get_attribute_docstring(config_class, field.name).comment_above.replace("\n", " ")
            help_text = f"{comment} (default: {_shown(field.default)})".strip().replace("%", "%%")
            group.add_argument(f"--{prefix}{field.name}", metavar=_type_name(annotation), help=help_text)


def _shown(default: object) -> str:
    """Return a default as it is written on the command line."""
    if isinstance(default, tuple):
        return ",".join(default)
    return {"None": "null", "False": "false", "True": "true"}.get(str(default), str(default))


def _type_name(annotation: Any) -> str:  # noqa: ANN401 - any type that a field may have
    """Return the name of a setting's type as the help shows it, such as ``int``, ``text`` or ``true|false``."""
    kinds = [kind for kind in typing.get_args(annotation) or (annotation,) if kind not in (type(None), ...)]
    name = {str: "text", bool: "true|false"}.get(kinds[0], kinds[0].__name__)
    return f"{name},{name}" if typing.get_origin(annotation) is tuple else name


def to_yaml(config: object) -> str:
    """Return the whole config, defaults included, as YAML that :func:`parse_config` reads."""
    return yaml.safe_dump(draccus.encode(config), sort_keys=False, allow_unicode=True)


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
        UserError: for a file that cannot be read, a key that is not in ``types``, or a type that YAML guessed wrongly.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"config: can't read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config: {path} is not YAML: {one_line(error)}") from error
    if not isinstance(content, dict | None):
        raise UserError(f"config: {path} must hold 'section: {{field: value}}', not {type(content).__name__}")
    read = {name: value for name, value in (content or {}).items() if sections is None or name in sections}
    values = dict(_flatten(read, types))
    for key, value in values.items():
        _require_known(key, types, str(path))
        if isinstance(value, bool) and types[key] is not bool:
            raise UserError(f"config: {path}: {key} is {value}: YAML reads yes, no, on and off so; use quotes")
        if typing.get_origin(types[key]) is tuple and not isinstance(value, list):
            raise UserError(f"config: {path}: {key} is {value!r}: must be a list, [a, b]")
    return values


def _flatten(content: Mapping[str, Any], types: Types, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting's dotted key and value; a mapping is a section unless its key is a setting."""
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in types:
            yield from _flatten(value, types, f"{key}.")
        else:
            yield key, value


def _read_flags(arguments: Sequence[str], types: Types) -> Settings:
    """Read ``--key value`` pairs; boolean flags and those in :data:`BARE_FLAGS` need no value."""
    values: Settings = {}
    waiting = list(arguments)
    while waiting:
        flag, equals, text = waiting.pop(0).partition("=")
        if not flag.startswith("--"):
            raise UserError(f"command line: {flag!r} is no flag; a flag reads --section.field value")
        key = flag[2:]
        _require_known(key, types, "command line")
        if not equals:
            bare = "true" if types[key] is bool else BARE_FLAGS.get(key)
            if waiting and not waiting[0].startswith("--"):
                text = waiting.pop(0)
            elif bare is not None:
                text = bare
            else:
                raise UserError(f"command line: {flag} needs a value")
        values[key] = _from_text(text, types[key])
    return values


def _from_text(text: str, annotation: object) -> object:
    """Return the value of a flag's text: the text itself for a field of type str, else what YAML reads."""
    if text == "null" and type(None) in typing.get_args(annotation):
        return None
    if typing.get_origin(annotation) is tuple:
        return [item.strip() for item in text.strip("[]").split(",") if item.strip()]
    if annotation is str or str in typing.get_args(annotation):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _require_known(key: str, types: Types, where: str) -> None:
    if key not in types:
        nearest = difflib.get_close_matches(key, types, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(types)}"
        raise UserError(f"config: {where}: unknown key {key}; {hint}")
