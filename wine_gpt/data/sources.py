"""Find the source of the reviews: the bundled sample, Kaggle, a file, or a dataset on the Hub."""

import difflib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import datasets

from wine_gpt.config import DataConfig
from wine_gpt.data.columns import BATCH_ROWS, Batches, RequestedColumns
from wine_gpt.data.csv_format import parse_csv
from wine_gpt.data.json_format import parse_json, parse_json_lines
from wine_gpt.data.parquet_format import read_parquet
from wine_gpt.data.text_file import TextFile
from wine_gpt.errors import UserError, one_line

TEXT_FORMATS = {
    ".json": parse_json,
    ".jsonl": parse_json_lines,
    ".ndjson": parse_json_lines,
    **dict.fromkeys((".csv", ".tsv", ".tab"), parse_csv),
}
SUFFIXES = (*TEXT_FORMATS, ".parquet", ".zip")

SAMPLE_PATH = Path(__file__).parent / "sample" / "winemag-sample.json"

# names the version, so that kagglehub finds an earlier download without a request to Kaggle
KAGGLE_HANDLE = "zynicide/wine-reviews/versions/4"
KAGGLE_PAGE = "https://www.kaggle.com/datasets/zynicide/wine-reviews"
KAGGLE_FILES = ("winemag-data-130k-v2.json", "winemag-data-130k-v2.csv")


@dataclass(frozen=True)
class Source:
    """A source of records.

    Attributes:
        name: the name in messages and in the report.
        cache_key: changes whenever the content may have changed.
        read: yields batches of the requested columns.
    """

    name: str
    cache_key: tuple[str | int, ...]
    read: Callable[[RequestedColumns], Batches]


def find_source(config: DataConfig) -> Source:
    """Return the source that ``config.path`` names.

    Raises:
        UserError: if there is no such file or dataset, or its format is not supported.
    """
    if config.path == "sample":
        return _file_source(SAMPLE_PATH, config, "the bundled sample (synthetic)")
    if config.path == "kaggle":
        return _file_source(download_from_kaggle(), config, f"kaggle, {KAGGLE_FILES[0]}")
    path = Path(config.path).expanduser()
    if path.exists():
        return _file_source(path, config, config.path)
    if config.path.startswith((".", "/", "~")) or path.suffix.lower() in SUFFIXES:
        raise UserError(f"data.path: no such file: {config.path}{_nearest_file(path)}")
    return _hub_source(config.path)


def download_from_kaggle() -> Path:
    """Download the JSON file of the class's dataset with kagglehub, or find it in kagglehub's cache.

    Raises:
        UserError: if kagglehub is not installed, or Kaggle can't be reached or refuses.
    """
    try:
        import kagglehub
        import requests
        from kagglehub.exceptions import DataCorruptionError
    except ImportError:
        raise UserError('data.path kaggle needs kagglehub: pip install "wine_gpt[kaggle]"') from None
    by_hand = f"or download the zip at {KAGGLE_PAGE} and give its path as data.path"
    try:
        return Path(kagglehub.dataset_download(KAGGLE_HANDLE, path=KAGGLE_FILES[0]))
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        advice = {
            401: "check the credentials in KAGGLE_API_TOKEN or ~/.kaggle/kaggle.json",
            403: f"accept the dataset's terms at {KAGGLE_PAGE} and check the credentials in KAGGLE_API_TOKEN",
            404: "the dataset is not there any more",
        }.get(status, "try again later")
        raise UserError(f"kaggle: answered with status {status}: {advice}, {by_hand}") from error
    except (OSError, ValueError, DataCorruptionError) as error:
        # network errors of requests are OSErrors
        raise UserError(f"kaggle: the download failed: {one_line(error)}; try again, {by_hand}") from error


def _file_source(path: Path, config: DataConfig, name: str) -> Source:
    try:
        status = path.stat()
        reader = _file_reader(path, config, name)
    except OSError as error:
        raise UserError(f"{name}: can't be read: {error.strerror}") from error
    return Source(name, (str(path.resolve()), status.st_size, status.st_mtime_ns), reader)


def _file_reader(path: Path, config: DataConfig, name: str) -> Callable[[RequestedColumns], Batches]:
    """Choose the reader by the file's first bytes, and for text formats by its suffix."""
    if path.is_dir():
        raise UserError(f"{name}: is a folder; name a file in it, one of {', '.join(SUFFIXES)}")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise UserError(f"{name}: is empty")
    suffix = path.suffix.lower()
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        raise UserError(f"{name}: is an HTML page, not {suffix[1:] or 'data'}: log in to Kaggle and download again")
    if head.startswith(b"PAR1"):
        return partial(read_parquet, path, name)
    if head.startswith(b"PK"):
        return partial(_read_zip, path, config.encoding, name)
    if suffix in TEXT_FORMATS:
        return partial(TextFile(name, lambda: path.open("rb"), config.encoding).read, TEXT_FORMATS[suffix])
    if suffix in SUFFIXES:
        raise UserError(f"{name}: is no {suffix[1:]} file, or a damaged one: it begins with {head[:8]!r}")
    raise UserError(f"{name}: the suffix tells no format; known are {', '.join(SUFFIXES)}")


def _read_zip(path: Path, encoding: str, name: str, columns: RequestedColumns) -> Batches:
    """Stream the member that holds the reviews, without unpacking the archive.

    Raises:
        UserError: if no member can be chosen, or the archive is damaged or encrypted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = _choose_member(archive, name)
            text = TextFile(f"{name}:{member}", lambda: archive.open(member), encoding)
            yield from text.read(TEXT_FORMATS[PurePosixPath(member).suffix.lower()], columns)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{name}: is cut short or damaged: {one_line(error)}; download it again") from error
    except RuntimeError as error:
        # an encrypted member, or a compression that zipfile does not support
        raise UserError(f"{name}: can't be read: {one_line(error)}") from error


def _choose_member(archive: zipfile.ZipFile, name: str) -> str:
    """Return Kaggle's JSON, else its CSV, else the only member of a known format."""
    members = [member.filename for member in archive.infolist() if not member.is_dir()]
    for file in KAGGLE_FILES:
        for member in members:
            if PurePosixPath(member).name == file:
                return member
    readable = [member for member in members if PurePosixPath(member).suffix.lower() in TEXT_FORMATS]
    if len(readable) != 1:
        held = ", ".join(members[:10]) or "nothing"
        raise UserError(f"{name}: holds neither {KAGGLE_FILES[0]} nor one single other file of reviews, but: {held}")
    return readable[0]


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (nor the folder {path.parent})"
    nearest = difflib.get_close_matches(path.name, [file.name for file in path.parent.iterdir()], n=1)
    return f"; did you mean {path.parent / nearest[0]}?" if nearest else ""


def _hub_source(repository: str) -> Source:
    """Load all splits of a dataset on the Hub as one, because reviews are split by their content."""
    try:
        loaded = datasets.load_dataset(repository)
        data = datasets.concatenate_datasets([loaded[split] for split in loaded])
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"data.path: {repository!r} is no file here, and as a dataset of the Hub it can't be loaded: "
            f"{one_line(error)}"
        ) from error

    def read(columns: RequestedColumns) -> Batches:
        chosen = columns.choose(data.column_names, repository)
        for table in data.select_columns(list(chosen.values())).with_format("arrow").iter(BATCH_ROWS):
            yield from table.rename_columns(list(chosen)).combine_chunks().to_batches()

    return Source(repository, (repository, data._fingerprint), read)
