"""Atomic writes and their errors, JSON files, checksums and fsync."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from safetensors import SafetensorError

from wine_gpt.errors import UserError, one_line

# a parsed JSON object; Any, because only the from_dict that reads it knows its values' types
JsonObject = dict[str, Any]

Record = TypeVar("Record")


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, and sync each new name so that a power loss can't take it away."""
    if not folder.is_dir():
        if not folder.parent.exists():
            make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text in UTF-8, so that a reader finds the old or the new content, never a part."""
    # with the process's number, because two processes may save the same table
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        sync(temporary)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn the error of a file that can't be written into a :class:`UserError` with the folder and its free bytes."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        raise UserError(f"can't write {folder}: {one_line(error)}; {free:,} bytes free") from error


def write_json(path: Path, content: JsonObject) -> None:
    """Write a JSON object atomically, indented by two spaces, with non-ASCII letters as they are."""
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> JsonObject:
    """Read a JSON object.

    Raises:
        UserError: if the file is missing, can't be read, or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold an object, not {type(content).__name__}")
    return content


def read_record(path: Path, from_dict: Callable[[JsonObject], Record]) -> Record:
    """Read a JSON object and parse it with a dataclass's ``from_dict``.

    Raises:
        UserError: as :func:`read_json` does, and if a key is missing or a value has another type.
    """
    content = read_json(path)
    try:
        return from_dict(content)
    except KeyError as error:
        raise UserError(f"{path} has no {error.args[0]}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} holds an unexpected value: {one_line(error)}") from error


@dataclasses.dataclass(frozen=True)
class JsonRecord:
    """A dataclass that is a JSON object with the names of its fields as keys, and so is each dataclass in it."""

    def to_dict(self) -> JsonObject:
        """Return the fields for a JSON file, but for those that are None by default."""
        return {
            field.name: _to_json(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None or field.default is not None
        }

    @classmethod
    def from_dict(cls, content: JsonObject) -> Self:
        """Read what :meth:`to_dict` returned. A missing field has its default; keys that are no fields are ignored.

        Raises:
            KeyError: if a field without a default is missing.
        """
        return _from_fields(cls, content)


def _to_json(value: Any) -> Any:  # noqa: ANN401 - the value of any field
    """Return a value with its dataclasses, also those in its lists and dicts, as JSON objects."""
    if isinstance(value, JsonRecord):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    # a config's class is a plain dataclass
    is_config = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return dataclasses.asdict(value) if is_config else value


def _from_fields(record: type[Record], content: JsonObject) -> Record:
    """Build a dataclass; see :meth:`JsonRecord.from_dict`."""
    fields = dataclasses.fields(record)  # type: ignore[arg-type]
    kinds = typing.get_type_hints(record)
    required = {field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING}
    names = [field.name for field in fields if field.name in required | content.keys()]
    return record(**{name: _from_json(kinds[name], content[name]) for name in names})


def _from_json(kind: Any, value: Any) -> Any:  # noqa: ANN401 - any field's type and value
    """Build the dataclasses in the JSON value of a field, also those in lists and dicts, by the type of the field."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _from_fields(kind, value)
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType) and value is not None:
        return _from_json(arguments[0], value)
    if typing.get_origin(kind) is list:
        return [_from_json(arguments[0], item) for item in value]
    if typing.get_origin(kind) is dict:
        return {arguments[0](key): _from_json(arguments[1], item) for key, item in value.items()}
    return value


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk."""
    is_folder = path.is_dir()
    if is_folder and sys.platform == "win32":
        # Windows can't open a folder
        return
    # Windows flushes only files that are open for writing
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(file: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def path_parts(path: str) -> list[str]:
    """Return the components of a path of this system or of Windows, because a run may have been moved between them."""
    return [part for part in re.split(r"[\\/]+", path) if part not in ("", ".", "..")]
