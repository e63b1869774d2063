"""Open data files through decompression and archives: ``reviews.csv.gz``, a member of ``archive.zip`` or of a tar.

Everything is decompressed while it is read. Only formats that need random access, Parquet and an archive in an
archive, are first unpacked to a temporary file.
"""

import fnmatch
import gzip
import io
import itertools
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

import pyarrow as pa

from wine_gpt.data.file_kinds import (
    ARCHIVE_SUFFIXES,
    COMPRESSED_SUFFIXES,
    HEAD_BYTES,
    archive_kind,
    compression_of,
    data_suffix,
    refuse_documents,
    refuse_unreadable,
)
from wine_gpt.data.formats import LINES_SUFFIX, TABLE_SUFFIXES
from wine_gpt.data.kaggle import KAGGLE_FILES
from wine_gpt.errors import UserError, one_line

CHUNK = 1 << 20
# how deep archives and compressed files may be nested in each other
MAX_DEPTH = 4
# files about a dataset that lie beside its data
METADATA = ("dataset-metadata.json", "dataset_info.json", "dataset_infos.json", "croissant.json", "datapackage.json")
OWN_CODECS: dict[str, Callable[[IO[bytes]], object]] = {
    "xz": lzma.LZMAFile,
    # the mode is given, because GzipFile would take that of its file, which is a number for a gzip file within another
    "gzip": lambda compressed: gzip.GzipFile(fileobj=compressed, mode="rb"),
}
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)

# opens a file's bytes and leaves to the stack what must be closed
Opener = Callable[[ExitStack], IO[bytes]]


@dataclass(frozen=True)
class DataFile:
    """A file, or a member of an archive.

    Attributes:
        name: the name in messages.
        file_name: the file's or member's own name, after decompression without a suffix such as ``.gz``.
        opener: opens the bytes, decompressed.
        path: where the bytes are on disk; none if they are decompressed or in an archive.
    """

    name: str
    file_name: str
    opener: Opener
    path: Path | None = None

    @classmethod
    def of_path(cls, path: Path, name: str) -> Self:
        """Return the file at a path."""
        return cls(name, path.name, lambda stack: stack.enter_context(path.open("rb")), path)

    def open(self) -> IO[bytes]:
        """Open the bytes for reading from the beginning to the end."""
        with _readable(self.name):
            stream = self.path.open("rb") if self.path else io.BufferedReader(_Stream(self.opener, self.name), CHUNK)
        return cast(IO[bytes], stream)

    def open_random(self) -> IO[bytes]:
        """Open the bytes for random access, in a temporary file unless they are on disk."""
        if self.path:
            return self.open()
        with ExitStack() as stack:
            try:
                unpacked = stack.enter_context(tempfile.TemporaryFile())
                with self.open() as stream:
                    shutil.copyfileobj(stream, unpacked, CHUNK)
                unpacked.seek(0)
            except OSError as error:
                reason = f"{error.strerror}; set TMPDIR to a folder with more space"
                raise UserError(f"{self.name}: can't be unpacked to {tempfile.gettempdir()}: {reason}") from error
            stack.pop_all()
            return unpacked

    def head(self) -> bytes:
        """Return the first bytes."""
        with self.open() as stream:
            return stream.read(HEAD_BYTES)

    def is_empty(self) -> bool:
        """Return whether there are no bytes, decompressed."""
        head = self.head()
        codec = compression_of(head)
        return not (self._decompressed(codec).head() if codec else head)

    def require_whole(self) -> None:
        """Read compressed bytes to their end.

        Raises:
            UserError: if they are damaged.
        """
        if self.path is None:
            with self.open() as stream:
                while stream.read(CHUNK):
                    pass

    def content(self, member: str | None = None, depth: int = 0) -> Iterator["DataFile"]:
        """Yield the data files in this one: itself, decompressed, or an archive's members.

        Args:
            member: the name of a member of the archive, or a pattern such as ``*.csv``; None takes the archive's only
                data file.
            depth: the number of archives around this file.

        Raises:
            UserError: if this is no file of a readable kind, or its member can't be chosen.
        """
        if depth > MAX_DEPTH:
            raise UserError(f"{self.name}: is nested in more than {MAX_DEPTH} archives: unpack them")
        head = self.head()
        refuse_unreadable(head, self.name, self.file_name)
        if codec := compression_of(head):
            yield from self._decompressed(codec).content(member, depth + 1)
        elif kind := archive_kind(head):
            members = self._members(kind)
            for name in choose_members(list(dict.fromkeys(members)), self.name, member):
                opener = self._member_opener(kind, name, members.count(name))
                yield from DataFile(f"{self.name}:{name}", name, opener).content(None, depth + 1)
        elif member is not None:
            raise UserError(f"{self.name}: is no archive, so it has no member {member}")
        else:
            yield self

    def _decompressed(self, codec: str) -> "DataFile":
        def open_decompressed(stack: ExitStack) -> IO[bytes]:
            compressed = self.opener(stack)
            # pyarrow has no xz, and refuses the zeros with which tapes and some archives pad gzip
            decompress = OWN_CODECS.get(codec, partial(pa.CompressedInputStream, compression=codec))
            return stack.enter_context(cast(IO[bytes], decompress(compressed)))

        file_name = PurePosixPath(self.file_name)
        bare = file_name.stem if file_name.suffix.lower() in COMPRESSED_SUFFIXES else file_name.name
        return DataFile(self.name, bare, open_decompressed)

    def _members(self, kind: str) -> list[str]:
        if kind == "tar":
            with self.open() as stream, _readable(self.name), tarfile.open(fileobj=stream, mode="r|") as tar:
                return [member.name for member in tar if member.isreg()]
        with self.open_random() as file, _readable(self.name), zipfile.ZipFile(file) as archive:
            members = [member.filename for member in archive.infolist() if not member.is_dir()]
        refuse_documents(members, self.name)
        return members

    def _member_opener(self, kind: str, member: str, count: int) -> Opener:
        """Return the opener of a member; of ``count`` members with its name the last, which replaced the others."""

        def open_in_zip(stack: ExitStack) -> IO[bytes]:
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(self.open_random())))
            return stack.enter_context(archive.open(member))

        def open_in_tar(stack: ExitStack) -> IO[bytes]:
            archive = tarfile.open(fileobj=self.opener(stack), mode="r|")  # noqa: SIM115 - the stack closes it
            stack.callback(archive.close)
            named = (entry for entry in archive if entry.name == member)
            return stack.enter_context(
                cast(IO[bytes], archive.extractfile(next(itertools.islice(named, count - 1, None))))
            )

        return open_in_zip if kind == "zip" else open_in_tar


def select_data(names: Iterable[str]) -> list[str]:
    """Return which files of a folder or an archive hold its data, sorted.

    Hidden files, names that begin with an underscore (``__MACOSX/``, ``_SUCCESS``) and metadata are left out. Kaggle's
    reviews come first, then tables, then archives, then texts, because a ``.txt`` beside a table is a read-me.
    """
    visible = sorted(name for name in names if _is_visible(PurePosixPath(name)))
    for file in KAGGLE_FILES:
        for name in visible:
            if PurePosixPath(name).name == file:
                return [name]
    for suffixes in (TABLE_SUFFIXES, ARCHIVE_SUFFIXES, (LINES_SUFFIX,)):
        if found := [name for name in visible if data_suffix(name) in suffixes]:
            return found
    # opening the only file tells its kind, such as an Excel workbook
    return visible if len(visible) == 1 else []


def choose_members(members: list[str], archive: str, asked: str | None) -> list[str]:
    """Return the members of an archive to read: those asked for, or else the only one with data.

    Raises:
        UserError: if none or several could be meant; the message lists them.
    """
    shown = ", ".join(members[:10]) or "nothing"
    if asked is not None:
        found = [name for name in members if name == asked] or select_data(fnmatch.filter(members, asked))
        if not found:
            raise UserError(f"{archive}: has no member {asked}; it holds: {shown}")
        return found
    found = select_data(members)
    if not found:
        raise UserError(f"{archive}: holds neither {KAGGLE_FILES[0]} nor a file of a known format, but: {shown}")
    if len(found) > 1:
        example = f"--data.path {archive}:{found[0]}"
        raise UserError(f"{archive}: holds several files: {', '.join(found[:10])}; name the one to read: {example}")
    return found


class _Stream(io.RawIOBase):
    """Decompressed bytes, or a member's, whose errors name the file."""

    def __init__(self, opener: Opener, name: str) -> None:
        super().__init__()
        self._name = name
        self._stack = ExitStack()
        with ExitStack() as stack:
            self._file = opener(stack)
            self._stack = stack.pop_all()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # io calls it with a memoryview only
        with _readable(self._name):
            read = self._file.read(len(buffer))
        buffer[: len(read)] = read
        return len(read)

    def close(self) -> None:
        self._stack.close()
        super().close()


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Raise a :class:`UserError` for what decompressors, archives and the disk raise."""
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{name}: can't be read: {error.strerror}") from error
        raise UserError(f"{name}: is cut short or damaged: {one_line(error)}; download it again") from error
    except RuntimeError as error:
        # an encrypted member, or a compression that zipfile does not support
        raise UserError(f"{name}: can't be read: {one_line(error)}") from error


def _is_visible(path: PurePosixPath) -> bool:
    return not any(part.startswith((".", "_")) for part in path.parts) and path.name not in METADATA
