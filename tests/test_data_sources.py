"""What ``data.path`` may name: compressed files, archives, parts, folders, texts, datasets; and what is refused."""

import bz2
import csv
import gzip
import io
import lzma
import os
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from support.records import (
    KAGGLE_JSON,
    csv_text,
    json_text,
    lines_text,
    load,
    load_error,
    make_records,
    rows_of,
    write,
)
from support.refused import refused

from wine_gpt import api
from wine_gpt.config import DataConfig, ReviewsConfig
from wine_gpt.data import archives
from wine_gpt.data.reviews import load_reviews
from wine_gpt.data.sources import is_hub_dataset
from wine_gpt.data.table_object import save_table
from wine_gpt.data.template import COMPOSED

pytestmark = pytest.mark.usefixtures("cache")

RECORDS = make_records(40)
CSV = csv_text(RECORDS).encode()
ALL_TRAIN = {"validation_fraction": 0.0, "test_fraction": 0.0}
TEXTS = {"prefix": "", "prompt_fields": (), **ALL_TRAIN}


def arrow_compressed(codec: str, content: bytes) -> bytes:
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, codec) as file:
        file.write(content)
    return bytes(stream.getvalue())


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda content: arrow_compressed("zstd", content),
    "lz4": lambda content: arrow_compressed("lz4", content),
}


def parquet_bytes(records: list[dict] = RECORDS) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), stream)
    return stream.getvalue()


def zip_bytes(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tar_bytes(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def save(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def expected(tmp_path: Path) -> list[dict]:
    return load(write(tmp_path / "expected.json", json_text(RECORDS)))


# the data beside what macOS, Spark and Kaggle's client add
CLUTTER = {
    "__MACOSX/._reviews.csv": b"\0\5\x16\7",
    ".DS_Store": b"\0",
    "data/.hidden.csv": b"a,b\n",
    "dataset-metadata.json": b"{}",
    "_SUCCESS": b"",
    "README.txt": b"Read me.",
    "LICENSE": b"MIT",
}


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files_are_read(tmp_path: Path, expected: list[dict], suffix: str) -> None:
    texts = {"csv": CSV, "json": json_text(RECORDS).encode(), "jsonl": lines_text(RECORDS).encode()}
    # JSON Lines with the suffix of JSON are read from the beginning again
    texts["lines.json"] = texts["jsonl"]
    for kind, content in {**texts, "parquet": parquet_bytes()}.items():
        assert load(save(tmp_path / f"a.{kind}.{suffix}", COMPRESS[suffix](content))) == expected, kind
    # the first bytes count, whatever the suffix says; and a file may be written in several pieces
    assert load(save(tmp_path / "lying.csv", COMPRESS[suffix](CSV))) == expected
    pieces = COMPRESS[suffix](CSV[:1000]) + COMPRESS[suffix](CSV[1000:])
    assert load(save(tmp_path / f"pieces.CSV.{suffix.upper()}", pieces)) == expected
    assert load(save(tmp_path / f"decompressed.csv.{suffix}", CSV)) == expected


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_damaged_compressed_file_is_named(tmp_path: Path, cache: Path, suffix: str) -> None:
    content = COMPRESS[suffix](lines_text(make_records(300)).encode())
    middle = len(content) // 2
    for damaged in (content[:-1], content[:middle], content[:middle] + b"\xff\0\xff" + content[middle + 3 :]):
        path = save(tmp_path / f"a.jsonl.{suffix}", damaged)
        assert f"{path}: is cut short or damaged: " in load_error(path)
    path = save(tmp_path / f"b.csv.{suffix}", b"\0\1" + content[2:])
    assert f"{path}: is no {suffix} file, or a damaged one" in load_error(path)
    assert not [entry for entry in (cache / "wine_gpt").iterdir() if entry.suffix != ".lock"]


def test_a_compressed_text_in_another_encoding_says_so(tmp_path: Path, expected: list[dict]) -> None:
    path = save(tmp_path / "a.csv.gz", gzip.compress(CSV.decode().encode("cp1252")))
    assert "is not utf-8" in load_error(path)
    assert load(path, encoding="cp1252") == expected


def test_a_large_compressed_file_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    read = archives._Stream.readinto
    monkeypatch.setattr(
        archives._Stream, "readinto", lambda self, buffer: sizes.append(len(buffer)) or read(self, buffer)
    )
    lines = "".join(f"text number {number} of many\n" for number in range(100_000))
    reviews = load_reviews(
        DataConfig(path=str(save(tmp_path / "a.txt.xz", lzma.compress(lines.encode(), preset=0))), **TEXTS)
    )
    assert reviews.report.kept == 100_000
    assert max(sizes) <= archives.CHUNK


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "finder.zip": lambda: zip_bytes({**CLUTTER, "reviews.csv": CSV}),
    "parquet.zip": lambda: zip_bytes({**CLUTTER, "data/reviews.parquet": parquet_bytes()}),
    "compressed.zip": lambda: zip_bytes({**CLUTTER, "reviews.csv.gz": gzip.compress(CSV)}),
    "nested.zip": lambda: zip_bytes(
        {**CLUTTER, "archive/inner.zip": zip_bytes({KAGGLE_JSON: json_text(RECORDS).encode()})}
    ),
    "zip.csv": lambda: zip_bytes({"reviews.csv": CSV}),
    "a.tar": lambda: tar_bytes({**CLUTTER, "reviews.csv": CSV}),
    "twice.csv.gz.gz": lambda: gzip.compress(gzip.compress(CSV)),
    "a.tar.gz": lambda: gzip.compress(tar_bytes({**CLUTTER, "lines.json": lines_text(RECORDS).encode()})),
    "a.tgz": lambda: gzip.compress(tar_bytes({**CLUTTER, "data/reviews.parquet": parquet_bytes()})),
    "a.tar.zst": lambda: COMPRESS["zst"](tar_bytes({"inner.zip": zip_bytes({"reviews.csv": CSV})})),
    "kaggle.tar.xz": lambda: lzma.compress(tar_bytes({"a.json": b"[]", KAGGLE_JSON: json_text(RECORDS).encode()})),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_read(tmp_path: Path, expected: list[dict], name: str) -> None:
    assert load(save(tmp_path / name, ARCHIVES[name]())) == expected


@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes], ids=["zip", "tar"])
def test_a_member_is_named_after_a_colon(tmp_path: Path, expected: list[dict], pack: Callable[..., bytes]) -> None:
    members = {"2024/a.csv": csv_text(RECORDS[:20]).encode(), "2024/b.csv": csv_text(RECORDS[20:]).encode()}
    path = save(tmp_path / "C: wines.zip", pack({**members, "other.csv": CSV, "odd:name.dat": b"x"}))
    assert load(f"{path}:other.csv") == expected
    # a member that is not taken by itself, and the parts of one dataset
    assert load(f"{path}:2024/*.csv") == expected
    assert len(load(f"{path}:2024/a.csv")) == 20
    message = load_error(path)
    assert (
        f"holds several files: 2024/a.csv, 2024/b.csv, other.csv; name the one to read: --data.path {path}:" in message
    )
    assert f"{path}: has no member c.csv; it holds: 2024/a.csv" in load_error(f"{path}:c.csv")
    assert f"{path}:odd:name.dat: the suffix tells no format" in load_error(f"{path}:odd:name.dat")
    table = save(tmp_path / "a.csv", CSV)
    assert f"{table}: is no archive, so it has no member b.csv" in load_error(f"{table}:b.csv")
    assert r"no such file: C:\x.zip" in load_error(r"C:\x.zip")


def test_damaged_and_locked_archives_are_named(tmp_path: Path) -> None:
    content = gzip.compress(tar_bytes({"reviews.csv": os.urandom(5000)}))
    for name, damaged in {"a.tar.gz": content[: len(content) // 2], "b.tgz": content[:-4]}.items():
        assert f"{tmp_path / name}" in (message := load_error(save(tmp_path / name, damaged)))
        assert "is cut short or damaged" in message
    inner = zip_bytes({"reviews.csv": CSV})
    assert "inner.zip: is cut short or damaged" in load_error(
        save(tmp_path / "c.zip", zip_bytes({"inner.zip": inner[:-9]}))
    )
    # bit 0 of a member's flags says that it is encrypted
    locked = bytearray(inner)
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    assert "is encrypted, password required" in load_error(save(tmp_path / "d.zip", bytes(locked)))
    deep = CSV
    for _ in range(7):
        deep = zip_bytes({"reviews.zip": deep})
    assert "is nested in more than 4 archives" in load_error(save(tmp_path / "e.zip", deep))


def split_parts(folder: Path, names: list[str], encode: Callable[[list[dict]], bytes]) -> Path:
    for index, name in enumerate(names):
        save(folder / name, encode(RECORDS[index :: len(names)]))
    return folder


def csv_bytes(records: list[dict]) -> bytes:
    return csv_text(records).encode()


PARTS: dict[str, tuple[list[str], Callable[[list[dict]], bytes]]] = {
    "Parquet": (["part-0000.parquet", "part-0001.parquet", "part-0002.snappy.parquet"], parquet_bytes),
    "the Hub's layout": (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"], parquet_bytes),
    "JSON Lines": (["a.jsonl", "b.jsonl.gz"], lambda records: lines_text(records).encode()),
    "CSV": (["x/1.csv", "y/1.csv"], csv_bytes),
    "zips": (["1.zip", "2.zip"], lambda records: zip_bytes({"reviews.csv": csv_bytes(records)})),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_folder_or_a_glob_of_parts_is_one_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: list[dict], kind: str
) -> None:
    names, encode = PARTS[kind]
    folder = split_parts(tmp_path / "parts", names, encode)
    for name, content in {**CLUTTER, ".part-0000.parquet.crc": b"crc", "part-0000.parquet.crc": b"crc"}.items():
        save(folder / name, content)
    assert load(folder) == expected
    assert load(f"{folder}/") == expected
    assert load(folder / "**" / f"*{Path(names[0]).suffix}*") == expected
    monkeypatch.chdir(folder)
    assert load(".") == expected


def test_parts_are_read_in_the_order_of_their_names_and_columns(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    save(folder / "b.jsonl", b'{"text": "second", "kind": "x"}\n')
    save(folder / "a.jsonl", b'{"kind": "x", "text": "first"}\n')
    settings = {**TEXTS, "prompt_fields": ("kind",), "text_field": "text"}
    reviews = load_reviews(DataConfig(path=str(folder), **settings))
    assert reviews.splits["train"]["text"][:] == ["first", "second"]
    # another part, or another content of one, is read again
    save(folder / "c.jsonl", b'{"kind": "x", "text": "third"}\n')
    save(folder / "a.jsonl", b'{"kind": "x", "text": "new"}\n')
    os.utime(folder / "a.jsonl", (1, 1))
    assert [row["text"] for row in load(folder, **settings)] == ["new", "second", "third"]


def test_a_part_that_differs_is_named(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "parts"
    save(folder / "1.csv", CSV)
    save(folder / "2.csv", b"grape\nPinot\n")
    assert f"{folder / '2.csv'}: no column 'country'" in load_error(folder)
    save(folder / "2.csv", b"")
    assert f"{folder / '2.csv'}: is empty" in load_error(folder)
    save(folder / "2.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert f"{folder / '2.csv'}: is a Git LFS pointer" in load_error(folder)
    save(folder / "3.json", b"[]")
    assert "holds files of several formats: 1.csv, 3.json; name one file, or the parts by a glob" in load_error(folder)
    assert not [entry for entry in (cache / "wine_gpt").iterdir() if entry.suffix != ".lock"]


def test_a_value_that_is_no_text_is_located_in_its_part(tmp_path: Path) -> None:
    folder, settings = tmp_path / "parts", {**TEXTS, "text_field": "note"}
    for name, notes in {"1": ["a", "b"], "2": [None, ["c"]]}.items():
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.table({"note": notes}), folder / name / "a.parquet")
    place = f"{folder / '2' / 'a.parquet'}: record 2: note is ['c'], which is not a text"
    assert place in load_error(folder, **settings)
    archive = zip_bytes({f"{name}.parquet": (folder / name / "a.parquet").read_bytes() for name in "12"})
    path = save(tmp_path / "a.zip", archive)
    assert f"{path}:2.parquet: record 2: note is" in load_error(f"{path}:*.parquet", **settings)


def test_a_part_may_lack_columns_that_no_text_needs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    few, folder = b"country,province,variety,description\nUS,Oregon,Pinot,Dry.\n", tmp_path / "parts"
    save(folder / "1.csv", CSV)
    save(folder / "2.csv", few)
    added = next(row for row in load(folder) if row["description"] == "Dry.")
    assert len(load(folder)) == 41
    assert (added["variety"], added["winery"], added["price"]) == ("Pinot", None, None)
    assert caplog.text == ""
    save(folder / "0.csv", few)
    rows = load(folder)
    assert len(rows) == 41
    assert "winery" not in rows[0]
    assert f"{folder / '1.csv'}: column points, title, taster_name" in caplog.text
    assert f"winery is not read, because {folder / '0.csv'} lacks it" in caplog.text


def test_a_folder_without_data_lists_what_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "is a folder without a file of a known format (.json, " in (message := load_error(folder))
    assert message.endswith("it holds: nothing")
    for name in ("_SUCCESS", ".DS_Store", "a.md", "b.png"):
        save(folder / name, b"x")
    assert load_error(folder).endswith("it holds: .DS_Store, _SUCCESS, a.md, b.png")
    assert f"no file matches {folder}/*.csv" in load_error(f"{folder}/*.csv")


def test_kaggles_folder_is_read_like_its_zip(tmp_path: Path, expected: list[dict]) -> None:
    save(tmp_path / "kaggle" / KAGGLE_JSON, json_text(RECORDS).encode())
    save(tmp_path / "kaggle" / "winemag-data-130k-v2.csv", CSV)
    save(tmp_path / "kaggle" / "winemag-data_first150k.csv", b"a,b\n")
    assert load(tmp_path / "kaggle") == expected


def test_a_path_with_the_characters_of_a_pattern_is_a_file(tmp_path: Path, expected: list[dict]) -> None:
    assert load(save(tmp_path / "reviews [1]*?.csv", CSV)) == expected
    (tmp_path / "[a]").mkdir()
    assert load(save(tmp_path / "[a]" / "b.csv", CSV)) == expected
    for pattern in ("*.csv", "**/b*", "[b].csv"):
        assert load(tmp_path / "[a]" / pattern) == expected


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_folders_may_name_the_value_of_a_column(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "hive"
    for country, province in {"US": "New%20York", "Spain": "Rioja", "__HIVE_DEFAULT_PARTITION__": "x"}.items():
        frame = pd.DataFrame({"variety": ["Red", "White"], "description": [f"{country} red.", f"{country} white."]})
        part = folder / f"country={country}" / f"province={province}" / f"part-0.{suffix}"
        part.parent.mkdir(parents=True)
        frame.to_parquet(part) if suffix == "parquet" else frame.to_csv(part)
    rows = load(folder)
    assert [(row["country"], row["province"]) for row in rows] == [("Spain", "Rioja")] * 2 + [("US", "New York")] * 2
    assert load(folder / "*" / "*" / f"*.{suffix}") == rows
    assert load(folder / "country=Spain" / "province=Rioja" / f"part-0.{suffix}") == rows[:2]
    # a file's own column is kept
    assert len(load(save(tmp_path / "country=all" / "a.csv", CSV))) == 40
    assert {row["country"] for row in load(tmp_path / "country=all")} == {"US"}


def test_a_column_of_the_path_is_no_column_that_the_file_needs(tmp_path: Path) -> None:
    folder, settings = tmp_path / "country=Spain", {"prefix": "", "text_field": "note", **ALL_TRAIN}
    save(folder / "a.txt", b"Dry.\n")
    assert load(folder, prompt_fields=("country",), **settings)[0][COMPOSED] == "Spain : Dry."
    # a space separates columns only if it gives all that the file needs
    save(folder / "b.csv", b'"kind" "note"\n"Red" "Ripe."\n')
    assert load(folder / "b.csv", prompt_fields=("country", "kind"), **settings)[0][COMPOSED] == "Spain : Red : Ripe."
    save(folder / "c.csv", b"kind\nRed\n")
    assert "no column 'note'" in load_error(folder / "c.csv", prompt_fields=("country",), **settings)
    # all records would have the running text of the path
    save(tmp_path / "note=Dry" / "c.csv", b"kind\nRed\n")
    assert "no column 'note'" in load_error(tmp_path / "note=Dry", prompt_fields=("kind",), **settings)


def test_the_columns_of_a_path_are_those_of_the_path_that_is_named(tmp_path: Path) -> None:
    part = save(tmp_path / "country=Spain" / "a.txt", b"Dry.\n")
    settings = {"prefix": "", "prompt_fields": ("country",), "text_field": "note", **ALL_TRAIN}
    for country in ("Italy", "France"):
        (tmp_path / f"country={country}").symlink_to(part.parent)
    for country in ("Spain", "Italy", "France"):
        (row,) = load(tmp_path / f"country={country}" / "a.txt", **settings)
        assert row["country"] == country


@pytest.mark.parametrize("path", ["", "country=Spain", "country=Spain/province=Rioja", "**/*.csv"])
def test_the_only_file_of_a_folder_or_a_glob_has_the_columns_of_its_path(tmp_path: Path, path: str) -> None:
    part = Path("country=Spain", "province=Rioja", "part-0.csv")
    save(tmp_path / "hive" / part, b"variety,description\nRed,Dry.\n")
    assert f"{tmp_path / 'hive' / part}: no column 'note'" in load_error(tmp_path / "hive" / path, text_field="note")
    (row,) = load(tmp_path / "hive" / path)
    assert (row["country"], row["province"]) == ("Spain", "Rioja")


def test_empty_parts_of_spark_are_left_out(tmp_path: Path, expected: list[dict]) -> None:
    for index, content in enumerate([b"", CSV, b""]):
        save(tmp_path / "parts" / f"part-0000{index}.csv", content)
    save(tmp_path / "parts" / "part-00003.csv.gz", gzip.compress(b""))
    assert load(tmp_path / "parts") == expected
    save(tmp_path / "parts" / "part-00001.csv", b"")
    assert "part-00000.csv: is empty" in load_error(tmp_path / "parts")


def test_a_gzip_file_may_be_padded_with_zeros(tmp_path: Path, expected: list[dict]) -> None:
    assert load(save(tmp_path / "a.csv.gz", gzip.compress(CSV) + bytes(512))) == expected
    assert "is cut short or damaged" in load_error(save(tmp_path / "b.csv.gz", gzip.compress(CSV) + b"more"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_members_with_one_name_the_last_is_read(tmp_path: Path, expected: list[dict]) -> None:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive, tarfile.open(fileobj=tarred, mode="w") as tar:
        for content in (b"kind,note\na,b\n", CSV):
            archive.writestr("reviews.csv", content)
            entry = tarfile.TarInfo("reviews.csv")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    assert load(save(tmp_path / "a.zip", zipped.getvalue())) == expected
    assert load(save(tmp_path / "a.tar", tarred.getvalue())) == expected


def test_a_link_to_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    save(tmp_path / "parts" / "a.csv", CSV)
    (tmp_path / "parts" / "b.csv").symlink_to("/nowhere/b.csv")
    for path in (tmp_path / "parts", tmp_path / "parts" / "*.csv", tmp_path / "parts" / "b.csv"):
        assert "b.csv: is a link to /nowhere/b.csv, which is not there" in load_error(path)
    save(tmp_path / "good" / "a.csv", CSV)
    (tmp_path / "good" / "README.md").symlink_to("/nowhere/README.md")
    assert len(load(tmp_path / "good")) == 40


def test_a_folder_of_save_to_disk_is_read(tmp_path: Path, expected: list[dict]) -> None:
    data = datasets.Dataset.from_list(RECORDS)
    data.save_to_disk(tmp_path / "one")
    assert load(tmp_path / "one") == expected
    datasets.DatasetDict(train=data.select(range(30)), test=data.select(range(30, 40))).save_to_disk(tmp_path / "two")
    assert load(tmp_path / "two") == expected
    (tmp_path / "one" / "data-00000-of-00001.arrow").write_bytes(b"")
    assert "can't be loaded as a folder of save_to_disk" in load_error(tmp_path / "one")


@pytest.mark.parametrize("kind", ["saved", "in memory"])
def test_a_class_of_a_dataset_is_read_by_its_name(tmp_path: Path, kind: str) -> None:
    label = datasets.ClassLabel(names=["dry", "sweet"])
    features = datasets.Features(label=label, text=datasets.Value("string"))
    numbers = {"label": [0, 1, -1, None], "text": ["a", "b", "c", "d"]}
    data = datasets.Dataset.from_dict(numbers, features=features)
    settings = {**TEXTS, "prompt_fields": ["label"], "text_field": "text"}
    if kind == "saved":
        data.save_to_disk(tmp_path / "saved")
        rows = load(tmp_path / "saved", **settings)
    else:
        rows = rows_of(api.load_reviews(data, **settings))
    assert [row[COMPOSED] for row in rows] == ["dry : a", "sweet : b"]


def test_a_column_of_a_dataset_that_parquet_lacks_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    data = datasets.Dataset.from_list([{"note": "a b", "more": {}, "tags": ["x"]}])
    assert [row["note"] for row in rows_of(api.load_reviews(data, text_field="note", **TEXTS))] == ["a b"]
    assert "column 'more' of the Dataset is left out: its values are neither texts nor numbers" in caplog.text
    assert "'tags'" not in caplog.text


def test_each_line_of_a_text_file_is_a_text(tmp_path: Path) -> None:
    path = save(tmp_path / "songs.txt", "\ufeffFirst line\r\n\r\n  Zweite Zeile, “so”  \rthird, 3\n".encode())
    reviews = load_reviews(DataConfig(path=str(path), text_field="line", **TEXTS))
    assert reviews.splits["train"]["line"][:] == ["First line", "Zweite Zeile, “so”", "third, 3"]
    assert (reviews.report.read, reviews.report.blank) == (4, 1)
    assert reviews.splits["train"][COMPOSED][0] == "First line"
    message = load_error(path)
    assert "has one text per line and no columns country, province, variety" in message
    assert 'set --data.prompt_fields "[]", and --data.prefix ""' in message


def test_a_long_first_line_of_a_text_file_is_cut_like_any_other(tmp_path: Path) -> None:
    # csv refuses cells of more than 131,072 characters by default, in the search for a header too
    csv.field_size_limit(131_072)
    settings = {"text_field": "line", "max_characters": 1000, **TEXTS}
    path = save(tmp_path / "a.txt", f"{'long, ' * 30_000}\n{'x' * 200_000}\n".encode())
    assert [row["line"] for row in load(path, **settings)] == [("long, " * 166)[:-1], "x" * 1000]
    path = save(tmp_path / "b.txt", f"{'x' * 200_000}\nshort\n".encode())
    assert [row["line"] for row in load(path, **settings)] == ["short", "x" * 1000]


def sqlite_bytes(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x.db") as connection:
        connection.execute("create table wines (a)")
    connection.close()
    return (folder / "x.db").read_bytes()


def written(write_to: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write_to(stream)
    return stream.getvalue()


TABLE = pd.DataFrame({"a": ["x"]})
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 54068762\n"
EXCEL = "is an Excel workbook: save the sheet as CSV UTF-8"
UNREADABLE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "xlsx": (lambda folder: zip_bytes({"[Content_Types].xml": b"x", "xl/workbook.xml": b"x"}), EXCEL),
    "xls": (lambda folder: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), EXCEL),
    "docx": (
        lambda folder: zip_bytes({"[Content_Types].xml": b"x", "word/document.xml": b"x"}),
        "is an office document",
    ),
    "lfs": (lambda folder: LFS, "is a Git LFS pointer, not the data: git lfs pull"),
    "html": (lambda folder: b"\r\n <!doctype HTML>\n<html>", "is an HTML page"),
    "pdf": (lambda folder: b"%PDF-1.7\n", "is a PDF document"),
    "sqlite": (sqlite_bytes, "is an SQLite database"),
    "pickle": (lambda folder: written(TABLE.to_pickle), "is a pickle, which is never loaded"),
    "feather": (lambda folder: written(TABLE.to_feather), "convert it to Parquet, with pandas: read_feather"),
    "orc": (lambda folder: written(lambda stream: pa.orc.write_table(pa.table(TABLE), stream)), "read_orc"),
    "npy": (lambda folder: written(lambda stream: np.save(stream, np.zeros(3))), "is a NumPy file"),
    "npz": (lambda folder: written(lambda stream: np.savez(stream, a=np.zeros(3))), "is a NumPy file"),
    "7z": (lambda folder: b"7z\xbc\xaf\x27\x1c\0\4", "is a 7-Zip archive: unpack it"),
    "rar": (lambda folder: b"Rar!\x1a\x07\1\0", "is a RAR archive: unpack it"),
    "png": (lambda folder: b"\x89PNG\r\n\x1a\n", "is an image"),
    "rtf": (lambda folder: rb"{\rtf1\ansi", "is an RTF document"),
    "xml": (lambda folder: b'<?xml version="1.0"?>\n<a/>', "is an XML file"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_of_another_kind_is_named(tmp_path: Path, kind: str) -> None:
    make, expected = UNREADABLE[kind]
    content = make(tmp_path)
    for suffix in (kind, "csv", "json", "txt", "parquet", "zip", "csv.gz", "tar.gz", "unknown"):
        message = load_error(save(tmp_path / f"a.{suffix}", content))
        assert message.startswith(f"{tmp_path / f'a.{suffix}'}: "), suffix
        assert expected in message, suffix
    assert expected in load_error(save(tmp_path / "compressed.csv.gz", gzip.compress(content)))
    assert expected in load_error(save(tmp_path / "member.zip", zip_bytes({f"a.{kind}": content})))


def test_a_pickle_without_a_mark_is_known_by_its_suffix(tmp_path: Path) -> None:
    assert "is a pickle, which is never loaded" in load_error(save(tmp_path / "a.pkl", b"(dp0\n."))
    assert EXCEL in load_error(save(tmp_path / "a.xls", b"a\tb\n"))


@pytest.mark.parametrize(
    "line", ["ORC wines", "PDF", "BZh is no magic", "Rar! A rare wine", "GIF", "version https", "FEA", "PK", "PK\x03"]
)
def test_texts_that_begin_like_another_kind_are_read(tmp_path: Path, line: str) -> None:
    path = save(tmp_path / "a.txt", f"{line}\nand more\n".encode())
    assert [row["line"] for row in load(path, text_field="line", **TEXTS)] == sorted([line, "and more"])


def test_a_table_may_have_a_column_with_the_initials_of_zip(tmp_path: Path, expected: list[dict]) -> None:
    assert load(save(tmp_path / "a.csv", b"PK" + CSV)) == expected


MISSING = {
    "FILE": "data.path: no such file: FILE; a dataset of the Hub is named owner/name",
    "imdb": "data.path: no such file: imdb; a dataset of the Hub is named owner/name",
    "reviews": "data.path: no such file: reviews; did you mean reviews.csv?",
    "owner/reviews.csv": "no such file: owner/reviews.csv (nor the folder owner)",
    "owner/reviews.xlsx": "no such file: owner/reviews.xlsx",
    "here/typo": "data.path: no such file: here/typo",
    "a/b/c": "data.path: no such file: a/b/c",
    "./a/b": "no such file: ./a/b",
    "~nobody/a": "no such file: ~nobody/a",
    "none.zip:reviews.csv": "no such file: none.zip:reviews.csv",
    r"C:\data\archive.zip": r"no such file: C:\data\archive.zip",
    "no: name": "no such file: no: name",
    "x" * 5000: "no such file: xxx",
    "a\0b/c": "no such file: ",
    "https://huggingface.co/datasets/owner/name": "is an address: name the dataset as owner/name",
    "hf://datasets/owner/name@main/a.csv": "is an address: name the dataset as owner/name",
    "https://example.com/reviews.csv": "is an address: download the file",
    "s3://bucket/reviews.csv": "is an address: download the file",
}


@pytest.mark.parametrize("path", MISSING)
def test_a_path_that_is_not_there_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "reviews.csv", CSV)
    (tmp_path / "here").mkdir()
    # which asks the Hub
    monkeypatch.delattr("wine_gpt.data.sources.load_hub_dataset")
    assert MISSING[path] in load_error(path)


def test_a_named_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is no file that can be read twice" in load_error(tmp_path / "pipe.csv")


@pytest.mark.parametrize("path", ["stanfordnlp/imdb", "owner/wines-1.5", "o/n", "Owner_1/data.v2"])
def test_ids_of_the_hub_are_no_files(path: str) -> None:
    assert is_hub_dataset(path)


def test_revision_and_name_are_for_the_hub(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", CSV)
    assert f"data.revision is for a dataset of the Hub, and data.path is {path}" in load_error(path, revision="v1")
    # the default of scoring is the run's name
    assert load_error("sample", name="english").endswith("data.path is sample: set data.name to null")


def test_reviews_of_the_hub_may_be_moved_to_a_file(tmp_path: Path, expected: list[dict]) -> None:
    moved = ReviewsConfig(path=str(save(tmp_path / "a.csv", CSV)))
    of_run = DataConfig(path="owner/wines", revision="v1", name="english")
    assert rows_of(load_reviews(moved.apply_to(of_run))) == expected
    # without another path the run's dataset is read
    assert ReviewsConfig(encoding="cp1252").apply_to(of_run).revision == "v1"


def test_tables_in_memory_are_read(tmp_path: Path, expected: list[dict]) -> None:
    data = datasets.Dataset.from_list(RECORDS)
    frame = pd.DataFrame(RECORDS, index=range(5, 45))
    splits = datasets.DatasetDict(train=data.select(range(30)), test=data.select(range(30, 40)))
    for table in (data, frame, splits, data.filter(lambda row: True)):
        assert rows_of(api.load_reviews(table)) == expected
    # the config names a file with the content, so that a run can be resumed
    assert save_table(frame) == save_table(frame.copy())
    assert load(save_table(frame)) == expected
    assert refused(api.load_reviews, frame, text_field="x").startswith("DataFrame: no column 'x'")
    assert api.load_reviews(data).report.source == "Dataset"
    settings = api._with_data_path({"data": {"path": frame, "split_seed": 3}, "output_dir": "x"})
    assert settings == {"data": {"path": save_table(frame), "split_seed": 3}, "output_dir": "x"}


# a column, and its texts; none if it has no text form
FRAME_COLUMNS: dict[str, tuple[object, list[str | None] | None]] = {
    "period": (pd.period_range("2020-01", periods=3, freq="M"), ["2020-01", "2020-02", "2020-03"]),
    "interval": (pd.interval_range(0, 3), ["(0, 1]", "(1, 2]", "(2, 3]"]),
    "mixed": ([1, "a", None], ["1", "a", None]),
    "large integers": ([2**70, 1, 2], [str(2**70), "1", "2"]),
    "paths": ([Path("a"), Path("b"), None], ["a", "b", None]),
    "category": (pd.Categorical(["a", "b", None]), ["a", "b", None]),
    "empty objects": ([{}, {}, {}], None),
    "lists and texts": ([[1], "a", None], None),
    "objects": ([object(), object(), object()], None),
}


@pytest.mark.parametrize("name", FRAME_COLUMNS)
def test_a_column_of_a_data_frame_is_converted_if_it_is_needed(caplog: pytest.LogCaptureFixture, name: str) -> None:
    values, expected = FRAME_COLUMNS[name]
    frame = pd.DataFrame({"note": ["one", "two", "three"]}).assign(kind=pd.Series(values))
    assert len(rows_of(api.load_reviews(frame, text_field="note", **TEXTS))) == 3
    settings = {**TEXTS, "prompt_fields": ["kind"], "text_field": "note"}
    if expected is None:
        assert "no column 'kind'" in refused(api.load_reviews, frame, **settings)
        assert "column 'kind' of the DataFrame is left out: its values are neither texts nor numbers" in caplog.text
    else:
        rows = api.load_reviews(frame, **settings).splits["train"]
        assert rows["kind"][:] == [text for text in expected if text is not None]


def test_a_named_index_of_a_data_frame_is_a_column() -> None:
    frame = pd.DataFrame({"kind": ["a", "b"], "note": ["one", "two"], 3: [1, 2]})
    settings = {**TEXTS, "prompt_fields": ["kind"], "text_field": "note"}
    for indexed in (frame.set_index("kind"), frame.set_index("kind", drop=False), frame.set_index(["kind", 3])):
        assert [row[COMPOSED] for row in rows_of(api.load_reviews(indexed, **settings))] == ["a : one", "b : two"]
    doubled = pd.concat([frame, frame[["kind"]]], axis=1)
    assert len(rows_of(api.load_reviews(doubled, text_field="note", **TEXTS))) == 2
    assert "column 'kind' is there more than once" in refused(api.load_reviews, doubled, **settings)
