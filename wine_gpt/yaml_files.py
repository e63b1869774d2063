"""Read a YAML config: each setting's value as its type reads it, and one-line errors that name the file.

The types decide how a value is read, so that a text such as ``2024`` or ``1e5`` stays what the file says. No tag can
create an object, and no alias can make the file larger than it is.
"""

import contextlib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from wine_gpt.config import EMPTY_TEXTS
from wine_gpt.errors import UserError, one_line

# each setting's value by its dotted key, such as training.epochs; Any, because its field determines its type
Settings = dict[str, Any]
# each setting's type annotation by its dotted key
Types = dict[str, object]

TAG = "tag:yaml.org,2002:"
PLAIN_TAGS = tuple(TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "seq", "map", "value"))
# what the parser's message holds, and what to do
HINTS = {
    "'\\t'": "indent with spaces, not tabs",
    "mapping values are not allowed": 'quote a text that has a colon: "a: b"',
    "escape": r"in double quotes \ begins an escape: use single quotes, or / in a path",
    "single document": "a config is one document",
    "#x0000": "save the file as UTF-8",
    "block mapping": "check the indentation, and quote texts with special characters",
}


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - PyYAML's stubs give a wrong type
        """Compose a mapping and check its keys, before merge keys add others."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"line {line}: a key must be text")
            if key.value in lines:
                raise UserError(f"{key.value} stands twice, in lines {lines[key.value]} and {line}")
            lines[key.value] = line
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Resolve merge keys, with each key once, because repeated merges would else multiply the keys."""
        super().flatten_mapping(node)
        node.value = list({key.value: (key, value) for key, value in node.value}.values())


def read_settings(path: Path, types: Types) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each setting of a file; a key that is no setting has a value of ``None``.

    Raises:
        UserError: for a file that can't be read or is not YAML, or a value that can't have the setting's type.
    """
    try:
        yield from _flatten(_compose(path), types, "")
    except UserError as error:
        raise UserError(f"config: {path}: {error}") from None


def _compose(path: Path) -> yaml.MappingNode | None:
    """Return the file's mapping; ``None`` for an empty file."""
    try:
        node = _merged(_Loader(_decode(path.read_bytes())))
    except OSError as error:
        raise UserError(f"can't be read: {error.strerror}") from error
    except RecursionError:
        raise UserError("is not a config: its values are nested too deeply") from None
    except yaml.YAMLError as error:
        raise UserError(f"is not YAML: {_explain(error)}") from error
    if node is None or node.tag == f"{TAG}null":
        return None
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"must hold 'section: {{field: value}}', not {_shape(node)}")
    return node


def _merged(loader: _Loader) -> yaml.Node | None:
    """Return the document with the merge keys of settings and sections resolved."""
    node = loader.get_single_node()
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        for _, value in node.value:
            if isinstance(value, yaml.MappingNode):
                loader.flatten_mapping(value)
    return node


def _decode(content: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"line {line} is not {encoding.removesuffix('-sig')}: save the file as UTF-8") from error


def _explain(error: yaml.YAMLError) -> str:
    """Return what is wrong, its line, and what to do."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        what = f"{error.context}, {error.problem}" if error.context else error.problem
        text = f"line {mark.line + 1}, column {mark.column + 1}: {what}"
    else:
        text = one_line(error).replace(' in "<unicode string>",', " at")
    hints = [hint for part, hint in HINTS.items() if part in text]
    return one_line(ValueError("; ".join([text, *hints[:1]])))


def _flatten(node: yaml.MappingNode | None, types: Types, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values; an empty section has none."""
    for name, value in node.value if node is not None else ():
        key = prefix + name.value
        if key in types:
            yield key, _value(value, key, types[key])
        elif any(known.startswith(f"{key}.") for known in types):
            if isinstance(value, yaml.MappingNode):
                yield from _flatten(value, types, f"{key}.")
            elif value.tag != f"{TAG}null":
                first = next(known for known in types if known.startswith(f"{key}.")).removeprefix(f"{key}.")
                raise UserError(f"{key} is {_shape(value)}: must be a section, {key}: {{{first}: ...}}")
        else:
            yield _first_leaf(key, value), None


def _first_leaf(key: str, value: yaml.Node) -> str:
    """Return the key of an unknown section's first setting, which has more to compare with the known ones."""
    inside = value.value[0][0].value if isinstance(value, yaml.MappingNode) and value.value else None
    return f"{key}.{inside}" if inside is not None else key


def _value(node: yaml.Node, key: str, annotation: object) -> object:
    """Return a setting's value as its type reads it."""
    if typing.get_origin(annotation) is tuple:
        if isinstance(node, yaml.SequenceNode):
            return [_item(item, key) for item in node.value]
        if node.tag != f"{TAG}null":
            raise UserError(f"{key} is {_shape(node)}: must be a list, [a, b]")
    return _scalar(node, key, annotation)


def _item(node: yaml.Node, key: str) -> object:
    """Return an item of a list of texts."""
    if node.tag == f"{TAG}null":
        raise UserError(f'{key} has the item {node.value or "nothing"}: in a list quote it: "{node.value}"')
    return _scalar(node, key, str)


def _scalar(node: yaml.Node, key: str, annotation: object) -> object:
    """Return a text as it is written, and any other value as YAML reads it."""
    if node.tag not in PLAIN_TAGS:
        raise UserError(f"{key} has the tag {node.tag.replace(TAG, '!!')}, which is not supported")
    if not isinstance(node, yaml.ScalarNode):
        raise UserError(f"{key} is {_shape(node)}: must be {type_name(annotation)}")
    if node.tag == f"{TAG}null" or (node.value == "" and annotation is not str):
        _require_nullable(node, key, annotation)
        return None
    if node.tag == f"{TAG}bool" and annotation is not bool:
        value = yaml.safe_load(node.value)
        raise UserError(f"{key} is {value}: YAML reads yes, no, on and off so; use quotes")
    value = from_text(node.value, annotation)
    kinds = _kinds(annotation)
    if type(value) not in kinds and not (float in kinds and type(value) is int):
        raise UserError(f"{key} is {node.value!r}: must be {type_name(annotation)}")
    return value


def _require_nullable(node: yaml.ScalarNode, key: str, annotation: object) -> None:
    if node.value == "" or type(None) not in typing.get_args(annotation):
        raise UserError(f"{key} is {node.value or 'empty'}: {empty_advice(key, annotation)}, or leave the line out")


def empty_advice(key: str, annotation: object) -> str:
    """Return what to write for a setting that has no value."""
    if type(None) in typing.get_args(annotation):
        return "write null"
    if typing.get_origin(annotation) is tuple:
        return "write [] for none"
    return 'write "" for none' if key.split(".")[-1] in EMPTY_TEXTS else f"write a value ({type_name(annotation)})"


def from_text(text: str, annotation: object) -> object:
    """Return the value of a setting's text: the text itself for a field of type str, else the number or the bool.

    Python reads numbers, because YAML takes ``010`` for 8, ``1:30`` for 90 and ``1e-3`` for a text.
    """
    if str in _kinds(annotation):
        return text
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, bool | float) else text


def _kinds(annotation: Any) -> list[Any]:  # noqa: ANN401 - any type that a field may have
    return [kind for kind in typing.get_args(annotation) or (annotation,) if kind not in (type(None), ...)]


def type_name(annotation: object) -> str:
    """Return the name of a setting's type as the help shows it, such as ``int``, ``text`` or ``true|false``."""
    kind = _kinds(annotation)[0]
    name = {str: "text", bool: "true|false"}.get(kind, kind.__name__)
    return f"{name},{name}" if typing.get_origin(annotation) is tuple else name


def _shape(node: yaml.Node) -> str:
    """Return a value for an error message."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
