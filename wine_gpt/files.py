"""Atomic writes and their errors, JSON files, checksums and fsync."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
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


def from_fields(record: type[Record], content: JsonObject) -> Record:
    """Build a dataclass whose JSON keys are the names of its fields; further keys are ignored.

    A field that the content lacks has its default.

    Raises:
        KeyError: if a field without a default is missing.
    """
    fields = dataclasses.fields(record)  # type: ignore[arg-type]
    required = {field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING}
    return record(**{field.name: content[field.name] for field in fields if field.name in required | content.keys()})


@dataclasses.dataclass(frozen=True)
class JsonRecord:
    """A dataclass whose JSON keys are the names of its fields."""

    def to_dict(self) -> JsonObject:
        """Return the fields for a JSON file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: JsonObject) -> Self:
        """Read what :meth:`to_dict` returned; see :func:`from_fields`."""
        return from_fields(cls, content)


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
