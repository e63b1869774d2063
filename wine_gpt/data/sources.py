"""Find the source of the reviews: the bundled sample, Kaggle, files, or a dataset on the Hub."""

import dataclasses
import difflib
import glob
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from wine_gpt.config import DataConfig
from wine_gpt.data.archives import DataFile, select_data
from wine_gpt.data.columns import PART, RECORDS_BEFORE, Batches, RequestedColumns, path_values
from wine_gpt.data.file_kinds import (
    ARCHIVE_SUFFIXES,
    COMPRESSED_SUFFIXES,
    UNREADABLE_SUFFIXES,
    data_suffix,
    not_of_suffix,
)
from wine_gpt.data.formats import LINES_SUFFIX, TABLE_SUFFIXES, TEXT_FORMATS, read_parquet
from wine_gpt.data.hub_dataset import is_saved_dataset, load_hub_dataset, load_saved_dataset, read_dataset
from wine_gpt.data.kaggle import KAGGLE_FILES, download_from_kaggle
from wine_gpt.data.table_object import table_name
from wine_gpt.data.text_file import TextFile
from wine_gpt.errors import UserError
from wine_gpt.run_folder import is_hub_id

logger = logging.getLogger(__name__)

FORMATS = ", ".join((*TABLE_SUFFIXES, LINES_SUFFIX))
SUFFIXES = (*TABLE_SUFFIXES, LINES_SUFFIX, *ARCHIVE_SUFFIXES, *COMPRESSED_SUFFIXES, *UNREADABLE_SUFFIXES)

SAMPLE_PATH = Path(__file__).parent / "sample" / "winemag-sample.json"

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
URL = re.compile(r"[a-z][a-z0-9+]+://", re.IGNORECASE)
HUB_URL = re.compile(r"(?:https://huggingface\.co/|hf://)datasets/([^/]+/[^/@?#]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """A source of records.

    Attributes:
        name: the name in messages and in the report.
        cache_key: changes whenever the content may have changed.
        read: yields batches of the requested columns.
        from_hub: whether it is a dataset of the Hub.
    """

    name: str
    cache_key: tuple[str | int, ...]
    read: Callable[[RequestedColumns], Batches]
    from_hub: bool = False


def find_source(config: DataConfig) -> Source:
    """Return the source that ``config.path`` names.

    Raises:
        UserError: if there is no such file or dataset.
    """
    if is_hub_dataset(config.path):
        return dataclasses.replace(_dataset_source(load_hub_dataset(config), config.path), from_hub=True)
    for setting in ("revision", "name"):
        if getattr(config, setting) is not None:
            problem = f"data.{setting} is for a dataset of the Hub, and data.path is {config.path}"
            raise UserError(f"config: {problem}: set data.{setting} to null")
    if config.path == "sample":
        return _file_source([SAMPLE_PATH], config, "the bundled sample (synthetic)")
    if config.path == "kaggle":
        return _file_source([download_from_kaggle()], config, f"kaggle, {KAGGLE_FILES[0]}")
    return _local_source(config)


def is_hub_dataset(path: str) -> bool:
    """Return whether ``data.path`` names a dataset of the Hub, ``owner/name``, and no file."""
    return (
        HUB_ID.fullmatch(path) is not None
        and data_suffix(path) not in SUFFIXES
        and not os.path.lexists(path)
        and is_hub_id(path)
    )


def _local_source(config: DataConfig) -> Source:
    """Return the file, folder, glob or member of an archive that ``config.path`` names."""
    path = Path(os.path.expanduser(config.path))
    if os.path.isdir(path):
        if is_saved_dataset(path):
            source = _dataset_source(load_saved_dataset(path, config.path), config.path)
        else:
            source = _file_source(_files_in(path, config.path), config)
        # a path such as . means another folder in another working folder
        return source if path.name not in ("", "..") else dataclasses.replace(source, name=path.resolve().name)
    if os.path.lexists(path):
        return _file_source([path], config, table_name(path))
    if named := _split_member(str(path)):
        archive, member = named
        return _file_source([Path(archive)], config, member=member)
    if glob.has_magic(str(path)):
        return _file_source(_matching_files(path, config.path), config)
    raise _missing(config.path, path)


def _dataset_source(data: Dataset, name: str) -> Source:
    return Source(name, (name, data._fingerprint), partial(read_dataset, data, name))


def _file_source(
    paths: Sequence[Path], config: DataConfig, name: str | None = None, member: str | None = None
) -> Source:
    """Return the source of one file, or of the parts of one dataset in their order.

    Args:
        paths: the files.
        config: its path is the source's name, its encoding is that of the files.
        name: the name of a source and of its file, in place of the paths.
        member: of the archive that the file is.
    """
    key: list[str | int] = [member or ""]
    for path in paths:
        try:
            status = path.stat()
            if not path.is_file():
                raise UserError(f"{path}: is no file that can be read twice; save its content to a file")
            path.open("rb").close()
        except OSError as error:
            if path.is_symlink() and not path.exists():
                raise UserError(f"{path}: is a link to {os.readlink(path)}, which is not there") from error
            raise UserError(f"{path}: can't be read: {error.strerror}") from error
        # links to one file may name other values of columns
        key += [str(path.resolve()), status.st_size, status.st_mtime_ns, repr(path_values(name or str(path)))]
    files = [DataFile.of_path(path, name or str(path)) for path in paths]
    return Source(name or config.path, tuple(key), partial(_read_parts, files, member, config.encoding))


def _read_parts(files: Sequence[DataFile], member: str | None, encoding: str, columns: RequestedColumns) -> Batches:
    """Read the parts of a dataset one after another.

    The columns are those of the first part. An optional one that a later part lacks is null there.

    Raises:
        UserError: if a part can't be read, or lacks a required column.
    """
    first: tuple[str, list[str]] | None = None
    for part in (content for file in _without_empty_parts(files) for content in file.content(member)):
        named = columns.with_path_values(part.name)
        unread: list[str] = []
        read = 0
        for batch in map(named.add_constants, _read_file(part, encoding, named)):
            first = first or (part.name, batch.schema.names)
            if not unread and (unread := [name for name in batch.schema.names if name not in first[1]]):
                shown = ", ".join(unread)
                logger.warning("%s: column %s is not read, because %s lacks it", part.name, shown, first[0])
            for column in first[1]:
                if column not in batch.schema.names:
                    batch = batch.append_column(column, pa.nulls(batch.num_rows, pa.string()))
            place = {PART: part.name, RECORDS_BEFORE: str(read)}
            read += batch.num_rows
            yield batch.select(first[1]).replace_schema_metadata({**(batch.schema.metadata or {}), **place})


def _without_empty_parts(files: Sequence[DataFile]) -> Sequence[DataFile]:
    """Leave out the empty files that Spark and Hadoop write for partitions without records."""
    return [file for file in files if not (file.file_name.startswith("part-") and file.is_empty())] or files


def _read_file(file: DataFile, encoding: str, columns: RequestedColumns) -> Batches:
    """Choose the reader by the file's first bytes, and for text formats by its suffix."""
    suffix = data_suffix(file.file_name)
    head = file.head()
    if head.startswith(b"PAR1"):
        with file.open_random() as binary:
            yield from read_parquet(binary, file.name, columns)
    elif suffix in TEXT_FORMATS:
        try:
            yield from TextFile(file.name, file.open, encoding).read(TEXT_FORMATS[suffix], columns)
        except UserError:
            # what damage does to the decompressed text is no fault of its format or encoding
            file.require_whole()
            raise
    elif suffix in SUFFIXES:
        raise not_of_suffix(file.name, suffix, head)
    else:
        raise UserError(f"{file.name}: the suffix tells no format; known are {FORMATS}")


def _files_in(folder: Path, name: str) -> list[Path]:
    """Return the data files of a folder and its subfolders."""
    try:
        # a link to a file that is not there is an error too
        files = (file for file in folder.rglob("*") if file.is_file() or not file.exists())
        names = [file.relative_to(folder).as_posix() for file in files]
    except OSError as error:
        raise UserError(f"{name}: can't be read: {error.strerror}") from error
    found = select_data(names)
    if not found:
        shown = ", ".join(sorted(names)[:10]) or "nothing"
        raise UserError(f"{name}: is a folder without a file of a known format ({FORMATS}); it holds: {shown}")
    return [folder / file for file in _of_one_format(found, name)]


def _matching_files(path: Path, name: str) -> list[Path]:
    """Return the data files that a glob matches."""
    # a folder that is there may have the characters of a pattern in its name
    base = next(parent for parent in path.parents if os.path.isdir(parent))
    found_paths = glob.glob(str(path.relative_to(base)), root_dir=base, recursive=True)
    names = [match for match in found_paths if not os.path.isdir(base / match)]
    found = select_data(names)
    if not found:
        raise UserError(f"data.path: no file matches {name}" + (f" but {', '.join(names[:10])}" if names else ""))
    return [base / file for file in _of_one_format(found, name)]


def _of_one_format(files: list[str], name: str) -> list[str]:
    suffixes = {data_suffix(file): file for file in reversed(files)}
    if len(suffixes) > 1:
        shown = ", ".join(suffixes[suffix] for suffix in sorted(suffixes))
        raise UserError(f"{name}: holds files of several formats: {shown}; name one file, or the parts by a glob")
    return files


def _split_member(path: str) -> tuple[str, str] | None:
    """Split ``archive.zip:member``; the archive must exist, because a Windows path has a colon too."""
    for colon in re.finditer(":", path):
        archive, member = path[: colon.start()], path[colon.end() :]
        if member and os.path.isfile(archive):
            return archive, member
    return None


def _missing(setting: str, path: Path) -> UserError:
    if match := HUB_URL.match(setting):
        return UserError(f"data.path: {setting} is an address: name the dataset as {match[1]}")
    if URL.match(setting):
        return UserError(f"data.path: {setting} is an address: download the file and name its path")
    hint = _nearest_file(path)
    if "/" not in setting and not hint and not path.suffix:
        hint = "; a dataset of the Hub is named owner/name"
    return UserError(f"data.path: no such file: {setting}{hint}")


def _nearest_file(path: Path) -> str:
    try:
        names = os.listdir(path.parent)
    except (OSError, ValueError):
        return f" (nor the folder {path.parent})"
    nearest = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / nearest[0]}?" if nearest else ""
