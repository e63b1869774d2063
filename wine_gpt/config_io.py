"""Read settings from YAML files and command lines, and write them back."""

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import draccus
import yaml

from wine_gpt.errors import UserError, one_line

# what a text flag means when no value follows it; that of a yes or no means yes
BARE_FLAGS = {"resume": "latest"}


ConfigT = TypeVar("ConfigT")


def parse_config(
    config_class: type[ConfigT],
    arguments: Sequence[str],
    default_file: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> ConfigT:
    """Build a root config from ``[FILE.yaml] [--section.field value | --section.field=value] …``.

    Args:
        config_class: the root dataclass, whose fields are values or section dataclasses.
        arguments: the command line without the script's name.
        default_file: YAML file that is read when the command line names none.
        defaults: dotted keys and values that file and flags override.

    Raises:
        UserError: for a file that can't be read, an unknown key, a wrong type or an impossible value.
    """
    if {"-h", "--help"} & set(arguments):
        draccus.parse(config_class, args=["--help"], preferred_help="above")
    arguments = list(arguments)
    named = Path(arguments.pop(0)) if arguments and not arguments[0].startswith("-") else default_file
    types = dict(leaf_types(config_class))
    values = dict(defaults or {}) | (read_yaml(named, types) if named else {})
    values |= _read_flags(arguments, types)
    nested: dict[str, Any] = {}
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
        raise UserError(f"config: {error}") from error


def to_yaml(config: object) -> str:
    """Return the whole config, defaults included, as YAML that :func:`parse_config` reads."""
    return yaml.safe_dump(draccus.encode(config), sort_keys=False, allow_unicode=True)


def to_flat(config: object) -> dict[str, Any]:
    """Return each setting's dotted key and value."""
    return dict(_flatten(draccus.encode(config), {}))


def leaf_types(config_class: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value's dotted key and its type."""
    for name, annotation in typing.get_type_hints(config_class).items():
        if dataclasses.is_dataclass(annotation):
            yield from leaf_types(typing.cast(type, annotation), f"{prefix}{name}.")
        else:
            yield prefix + name, annotation


def read_yaml(path: Path, types: dict[str, Any], sections: Sequence[str] | None = None) -> dict[str, Any]:
    """Read a YAML config, or some sections of it, as dotted keys and values, of known keys and plausible types."""
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


def _flatten(content: dict[Any, Any], types: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in types:
            yield from _flatten(value, types, f"{key}.")
        else:
            yield key, value


def _read_flags(arguments: Sequence[str], types: dict[str, Any]) -> dict[str, Any]:
    """Read ``--key value`` pairs; a bare ``--resume`` or bool flag stands for its usual value."""
    values: dict[str, Any] = {}
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


def _from_text(text: str, annotation: Any) -> Any:  # noqa: ANN401 - any type that a field may have
    """Take a flag's text literally where text is wanted, else as YAML, so that numbers read as in a file."""
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


def _require_known(key: str, types: dict[str, Any], where: str) -> None:
    if key not in types:
        nearest = difflib.get_close_matches(key, types, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(types)}"
        raise UserError(f"config: {where}: unknown key {key}; {hint}")
