"""Recognize files by their first bytes: compressed files, archives, and the kinds that are not read."""

import re
from pathlib import PurePosixPath

from wine_gpt.errors import UserError

# the number of bytes that tell a kind; a tar archive has its mark at byte 257
HEAD_BYTES = 512

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".lz4")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tzst")

# the codec of a compressed file, as pyarrow names it, by the file's first bytes
COMPRESSIONS = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "bz2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    "lz4": re.compile(rb"\x04\x22\x4d\x18"),
}
# of a zip's first member, of an empty zip, and of one that was split into several files
ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
EXCEL = "an Excel workbook: save the sheet as CSV UTF-8"
OFFICE = "an office document: save its table as CSV UTF-8"
PICKLE = "a pickle, which is never loaded because it can run any code: save the table as JSON Lines or Parquet"
ARROW = "an Arrow or Feather file: convert it to Parquet, with pandas: read_feather(…).to_parquet(…)"
ORC = "an ORC file: convert it to Parquet, with pandas: read_orc(…).to_parquet(…)"
SQLITE = "an SQLite database: export its table as CSV"
NUMPY = "a NumPy file: save the texts as JSON Lines or Parquet"
HDF5 = "an HDF5 file: save the table as JSON Lines or Parquet"
PDF = "a PDF document: save its table as CSV"
UNPACK = "archive: unpack it and name the file in it"

UNREADABLE = {
    rb"version https?://(git-lfs\.github\.com|hawser\.github\.com|git-media\.io)/": (
        "a Git LFS pointer, not the data: git lfs pull"
    ),
    rb"(\.\./)*(\.git)?/annex/objects/": "a git-annex pointer, not the data: git annex get",
    rb"%PDF-": PDF,
    rb"SQLite format 3\0": SQLITE,
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": EXCEL,
    rb"\x80[\x02-\x05]": PICKLE,
    rb"FEA1|ARROW1|\xff\xff\xff\xff": ARROW,
    rb"(?s)ORC.*\0": ORC,
    rb"Obj\x01": "an Avro file: convert it to Parquet",
    rb"\x93NUMPY": NUMPY,
    rb"\x89HDF\r\n": HDF5,
    rb"Rar!\x1a\x07": f"a RAR {UNPACK}",
    rb"7z\xbc\xaf\x27\x1c": f"a 7-Zip {UNPACK}",
    rb"\x1f[\x9d\xa0]": "a file of Unix compress: decompress it with uncompress",
    rb"\x89PNG|\xff\xd8\xff|GIF8": "an image, not text",
    rb"\{\\rtf": "an RTF document: save it as plain text",
    rb"(\xef\xbb\xbf)?\s*<\?xml": "an XML file: convert it to CSV or JSON Lines",
}
UNREADABLE_SUFFIXES = {
    **dict.fromkeys((".xls", ".xlsx", ".xlsm", ".xlsb"), EXCEL),
    **dict.fromkeys((".ods", ".numbers", ".docx", ".doc"), OFFICE),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), PICKLE),
    **dict.fromkeys((".arrow", ".feather"), ARROW),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), SQLITE),
    **dict.fromkeys((".npy", ".npz"), NUMPY),
    **dict.fromkeys((".h5", ".hdf5"), HDF5),
    ".orc": ORC,
    ".pdf": PDF,
    ".rar": f"a RAR {UNPACK}",
    ".7z": f"a 7-Zip {UNPACK}",
}
# the member of a zip that tells which program wrote it
ZIP_MEMBERS = {
    r"xl/": EXCEL,
    r"(word|ppt)/|content\.xml$|Index/Document\.iwa$": OFFICE,
    r"[^/]*\.npy$": NUMPY,
    r"([^/]*/)?data\.pkl$": "a PyTorch file, which is never loaded because it can run any code",
}
HTML = re.compile(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?(<!doctype html|<html)", re.IGNORECASE | re.DOTALL)
# control characters that no text has, in UTF-8 or another encoding of one byte per character
BINARY = re.compile(rb"[\0-\x08\x0e-\x1a]")


def data_suffix(name: str) -> str:
    """Return a file name's suffix in lower case, for ``reviews.csv.gz`` that of the decompressed file, ``.csv``."""
    path = PurePosixPath(name.lower())
    while path.suffix in COMPRESSED_SUFFIXES:
        path = path.with_suffix("")
    return path.suffix


def compression_of(head: bytes) -> str | None:
    """Return the codec that a file's first bytes name."""
    return next((codec for codec, pattern in COMPRESSIONS.items() if pattern.match(head)), None)


def archive_kind(head: bytes) -> str | None:
    """Return ``zip`` or ``tar`` by a file's first bytes, ``None`` for a file that is no archive."""
    if head.startswith(ZIP_SIGNATURES):
        return "zip"
    return "tar" if head[257:262] == b"ustar" else None


def refuse_unreadable(head: bytes, name: str, file_name: str) -> None:
    """Raise a :class:`UserError` that names the kind of a file that holds no records.

    Args:
        head: the file's first :data:`HEAD_BYTES` bytes.
        name: the file, for the message.
        file_name: its suffix counts where the bytes tell nothing.
    """
    if not head:
        raise UserError(f"{name}: is empty")
    suffix = data_suffix(file_name)
    if HTML.match(head):
        advice = "download the file itself, to which a site such as Kaggle may want a login first"
        raise UserError(f"{name}: is an HTML page, not {suffix[1:] or 'data'}: {advice}")
    kind = next((kind for pattern, kind in UNREADABLE.items() if re.match(pattern, head)), None)
    if kind is None and archive_kind(head) is None and compression_of(head) is None:
        kind = UNREADABLE_SUFFIXES.get(suffix)
        compressed = PurePosixPath(file_name.lower()).suffix
        if compressed in COMPRESSED_SUFFIXES and BINARY.search(head):
            raise not_of_suffix(name, compressed, head)
    if kind:
        raise UserError(f"{name}: is {kind}")


def refuse_documents(members: list[str], name: str) -> None:
    """Raise a :class:`UserError` for a zip that is a program's document, such as an Excel workbook."""
    for pattern, kind in ZIP_MEMBERS.items():
        if any(re.match(pattern, member) for member in members):
            raise UserError(f"{name}: is {kind}")


def not_of_suffix(name: str, suffix: str, head: bytes) -> UserError:
    """Return the error for a file whose first bytes contradict its suffix."""
    return UserError(f"{name}: is no {suffix[1:]} file, or a damaged one: it begins with {head[:8]!r}")
