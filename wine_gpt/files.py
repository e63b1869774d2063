"""Files that are whole or not there: atomic writes, syncs, checksums."""

import hashlib
import os
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are not there, so that a power loss does not take them away again."""
    if not folder.is_dir():
        if not folder.parent.exists():
            make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def write_atomically(path: Path, content: str) -> None:
    """Write a text file so that a reader finds the old or the new content, never a part."""
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(content, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(file: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
