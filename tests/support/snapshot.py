"""What a folder holds, to compare it before and after a command."""

from pathlib import Path


def file_contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file by its path in the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Return the content of each file by its path in the folder, and None for each folder in it."""
    folders = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_dir())
    return {**dict.fromkeys(folders), **file_contents(folder)}
