"""Sources that can't be read: each gives a one-line error that names the location, and leaves no cache."""

import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.arrow_writer import ArrowWriter
from support.kaggle_server import KaggleServer, kaggle_server
from support.records import KAGGLE_JSON, csv_text, json_text, lines_text, load, load_error, make_records, write

from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews
from wine_gpt.errors import UserError
from wine_gpt.installation import install_command

pytestmark = pytest.mark.usefixtures("cache")

RECORDS = make_records(50)


def cached(cache: Path) -> list[Path]:
    """Return all files of the cache except locks."""
    folder = cache / "wine_gpt"
    return [entry for entry in folder.iterdir() if entry.suffix != ".lock"] if folder.exists() else []


# short records of two columns, so that a file has few positions to cut it at
SHORT = [{"a": f"x{number}", "b": f"é,\n{number}"} for number in range(12)]
SHORT_FIELDS: dict[str, Any] = {
    "prompt_fields": ("a",),
    "text_field": "b",
    "validation_fraction": 0.0,
    "test_fraction": 0.0,
}


def load_cut(path: Path, content: bytes, cache: Path) -> str | list[dict]:
    """Return the rows of the cut file in its order, or the error; check that no cache is left."""
    path.write_bytes(content)
    try:
        reviews = load_reviews(DataConfig(path=str(path), **SHORT_FIELDS))
    except UserError as error:
        message = str(error)
    else:
        rows = [{"a": row["a"], "b": row["b"]} for row in reviews.splits["train"]]
        shutil.rmtree(cache)
        return rows
    assert str(path) in message
    assert "\n" not in message
    assert not cached(cache)
    return message


def test_json_cut_anywhere(tmp_path: Path, cache: Path) -> None:
    content = json_text(SHORT).encode()
    assert load_cut(tmp_path / "a.json", content, cache) == SHORT
    for cut in range(len(content)):
        message = load_cut(tmp_path / "a.json", content[:cut], cache)
        if cut:
            # between two records, either may be reported as incomplete
            begun = content[:cut].count(b"{")
            assert any(f"record {number:,} is no whole" in message for number in (begun, begun + 1)), (cut, message)


def test_lines_cut_anywhere(tmp_path: Path, cache: Path) -> None:
    content = lines_text(SHORT).encode()
    for cut in range(1, len(content) + 1):
        result = load_cut(tmp_path / "a.jsonl", content[:cut], cache)
        whole, begun = content[:cut].count(b"}"), content[:cut].count(b"{")
        if whole == begun:
            # a file cut at the end of a line looks complete
            assert result == SHORT[:whole]
        elif content[:cut].endswith("é".encode()[:1]):
            assert f"byte {cut - 1:,} is not utf-8" in result
        else:
            assert f"line {begun:,} is no whole JSON object" in result


def test_csv_cut_anywhere(tmp_path: Path, cache: Path) -> None:
    content = "".join(f'"{row["b"]}",{row["a"]}\n' for row in [{"a": "a", "b": "b"}, *SHORT]).encode()
    assert load_cut(tmp_path / "a.csv", content, cache) == SHORT
    for cut in range(1, len(content)):
        result = load_cut(tmp_path / "a.csv", content[:cut], cache)
        if isinstance(result, list):
            # a last cell without quotes looks complete wherever it is cut
            assert result[:-1] == SHORT[: len(result) - 1]
            assert SHORT[len(result) - 1]["a"].startswith(result[-1]["a"])
            assert result[-1]["b"] == SHORT[len(result) - 1]["b"]
        elif cut > len('"b",a\n'):
            assert "line " in result or f"byte {cut - 1:,} is not utf-8" in result or "0 usable rows" in result


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize(("suffix", "text"), [("jsonl", lines_text), ("csv", csv_text)])
def test_another_encoding_must_be_named(
    tmp_path: Path, suffix: str, text: Callable[[list[dict]], str], encoding: str
) -> None:
    path = write(tmp_path / f"a.{suffix}", text(RECORDS), encoding)
    message = load_error(path)
    assert path in message
    assert f"--data.encoding {encoding}" in message
    offset = {"cp1252": Path(path).read_bytes().index("â".encode("cp1252")), "utf-16": 0, "utf-16-le": 1}[encoding]
    assert f"byte {offset:,} " in message
    assert load(path, encoding=encoding) == load(write(tmp_path / f"b.{suffix}", text(RECORDS)))


def test_a_wrong_byte_far_inside_a_file_is_located(tmp_path: Path) -> None:
    content = lines_text(make_records(10_000)).encode() + "Château".encode("cp1252")
    (tmp_path / "a.jsonl").write_bytes(content)
    assert f"byte {content.index(b'Ch' + bytes([0xE2])) + 2:,} is not utf-8" in load_error(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_bytes(content[:-2] + b"\xc3")
    (tmp_path / "c.jsonl").write_bytes(lines_text(RECORDS).encode() + b"\xc3")
    assert f"byte {len(lines_text(RECORDS).encode()):,} is not utf-8" in load_error(tmp_path / "c.jsonl")


def test_a_wrong_encoding_setting_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines_text(RECORDS))
    message = load_error(path, encoding="utf-16")
    assert "byte 0 is not utf-16" in message
    assert "--data.encoding utf-8" in message
    assert "data.encoding is 'utf-99'" in load_error(path, encoding="utf-99")
    assert "data.encoding is 'base64'" in load_error(path, encoding="base64")


def wrong_in_record_4(field: str, value: object) -> list[dict]:
    return [*RECORDS[:3], {**RECORDS[3], field: value}]


BROKEN: dict[str, tuple[str, str, str]] = {
    "empty": ("a.json", "", "is empty"),
    "only space": ("a.json", " \n", "holds nothing"),
    "only space in CSV": ("a.csv", "\n\n", "holds nothing"),
    "one text": ("a.json", '"wine"', "neither a JSON array nor JSON Lines"),
    "one object": ("a.json", '{\n"a": 1\n}', "no column 'country'"),
    "one object in a line": ("a.json", '{"reviews": []}', "is one JSON object with the keys reviews"),
    "numbers": ("a.json", "[1, 2]", "record 1 is a number, not an object"),
    "lists in lines": ("a.jsonl", "[]\n", "line 1 is a list, not an object"),
    "null in lines": ("a.jsonl", lines_text(RECORDS) + "null\n", "line 51 is null, not an object"),
    "no comma": ("a.json", json_text(RECORDS[:2]).replace("}, {", "} {"), "record 1 is no whole JSON object"),
    "two commas": ("a.json", json_text(RECORDS[:2]).replace("}, {", "},, {"), "record 2 is no whole JSON object"),
    "comma at the end": (
        "a.json",
        json_text(RECORDS)[:-1] + ",]",
        "delete the comma after record 50, before the ] at",
    ),
    "more after it": ("a.json", json_text(RECORDS) + "[]", "something follows the array at character"),
    "deep": ("a.json", '[{"a": ' * 100_000, "record 1 is no whole JSON object"),
    "deep lists": ("a.json", "[" * 100_000, "is an array of lists"),
    "bad value in line 2": ("a.jsonl", lines_text(RECORDS[:1]) + '{"points": nul}\n', "line 2 is no whole JSON"),
    "nested": ("a.json", json_text(wrong_in_record_4("variety", ["x"])), "record 4: variety is a list, not a text"),
    "open quote": ("a.csv", csv_text(RECORDS[:2]) + '2,"87,x\n', "the record that starts in line 6 is broken"),
    "text after quote": ("a.csv", csv_text(RECORDS[:2]) + '2,"87"x\n', "the record that starts in line 6 is broken"),
    "cells": ("a.csv", csv_text(RECORDS[:2]) + "2,87\n", "line 6 has 2 cells, the header 14"),
    "doubled": ("a.csv", "country,points,country\nUS,1,US\n", "column 'country' is there more than once"),
    "suffix": ("a.dat", "wine", "the suffix tells no format; known are .json"),
    "no zip": ("a.zip", "wine", "is no zip file, or a damaged one"),
    "no Parquet": ("a.parquet", "wine", "is no parquet file, or a damaged one"),
    "page for zip": ("archive.zip", "\n<!DOCTYPE html><html>", "is an HTML page, not zip: download the file itself"),
    "page for JSON": ("a.json", "<html><head>", "is an HTML page, not json: download the file itself"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gives_a_one_line_error(tmp_path: Path, cache: Path, name: str) -> None:
    file, text, expected = BROKEN[name]
    path = write(tmp_path / file, text)
    message = load_error(path)
    assert path in message
    assert expected in message
    assert not cached(cache)


def test_the_position_of_an_error_is_that_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wine_gpt.data.json_format.CHUNK", 100)
    text = json_text(RECORDS).replace("}, {", "},\n{")
    at = text.index('"price"', text.index("Wine 40 "))
    message = load_error(write(tmp_path / "a.json", f"{text[:at]}price{text[at:]}"))
    assert "record 41 is no whole JSON object: Expecting property name enclosed in double quotes" in message
    assert f"at character {at:,} (line 41)" in message
    message = load_error(write(tmp_path / "b.json", text + "\n[]"))
    assert f"something follows the array at character {len(text) + 1:,} (line 51)" in message


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    records = [{"Country": "US", "province": "Oregon", "variety": "Pinot", "descripton": str(n)} for n in range(9)]
    for name, text in {"a.json": json_text(records), "a.jsonl": lines_text(records)}.items():
        message = load_error(write(tmp_path / name, text))
        assert "no column 'country', 'description'; nearest to 'country': 'Country'" in message
        assert "'descripton'" in message
        assert "found: Country, province, variety, descripton" in message
        assert "data.text_field" in message
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    assert "no column 'country', 'description'" in load_error(tmp_path / "a.parquet")


def test_a_path_that_is_not_a_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "winemag.json", json_text(RECORDS))
    assert f"did you mean {tmp_path / 'winemag.json'}?" in load_error(tmp_path / "winmag.json")
    assert "no such file" in load_error(tmp_path / "nowhere" / "winmag.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission_is_named(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.json", json_text(RECORDS)))
    path.chmod(0)
    assert "Permission denied" in load_error(path)


def zip_of(path: Path, **members: str) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path.read_bytes()


def test_a_zip_without_reviews_lists_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    zip_of(path, **{"photo.png": "", "notes.md": ""})
    assert "but: photo.png, notes.md" in load_error(path)
    zip_of(path, **{"a.json": "[]", "b.json": "[]"})
    assert f"holds several files: a.json, b.json; name the one to read: --data.path {path}:a.json" in load_error(path)
    zip_of(path)
    assert "but: nothing" in load_error(path)


def test_a_damaged_zip_is_named(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "archive.zip"
    content = zip_of(path, **{KAGGLE_JSON: json_text(RECORDS)})
    path.write_bytes(content.replace(b"dry", b"wet", 1))
    message = load_error(path)
    assert "CRC" in message
    assert "download it again" in message
    path.write_bytes(content[:-30])
    assert "is cut short or damaged" in load_error(path)
    zip_of(path, **{KAGGLE_JSON: json_text(RECORDS)[:-9]})
    assert f"{path}:{KAGGLE_JSON}: record 50 is no whole JSON object" in load_error(path)
    assert not cached(cache)


def test_damaged_parquet_is_named(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(RECORDS), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert f"{path}: is cut short or damaged" in load_error(path)
    pq.write_table(pa.table({name: [["nested"]] for name in RECORDS[0]}), path)
    assert "record 1: description is ['nested'], which is not a text" in load_error(path)
    latin = pa.Array.from_buffers(pa.string(), 1, pa.array([b"Ch\xe2teau"]).buffers())
    pq.write_table(pa.table({**{name: ["87"] for name in RECORDS[0]}, "winery": latin}), path)
    assert "Invalid UTF8" in load_error(path)
    assert not cached(cache)


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KaggleServer]:
    pytest.importorskip("kagglehub")
    with kaggle_server({KAGGLE_JSON: json_text(RECORDS).encode()}) as server:
        for name, value in server.environment(tmp_path / "kagglehub").items():
            monkeypatch.setenv(name, value)
        yield server


def test_kaggle_is_downloaded_once(tmp_path: Path, kaggle: KaggleServer) -> None:
    expected = load(write(tmp_path / "a.json", json_text(RECORDS)))
    assert load("kaggle") == expected
    assert [(name, request["ownerSlug"], request["datasetSlug"]) for name, request in kaggle.requests] == [
        ("DownloadDataset", "zynicide", "wine-reviews")
    ]
    # the second run needs no network
    kaggle.status = 500
    assert load("kaggle") == expected
    assert len(kaggle.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_an_error_status_of_kaggle_gives_advice(kaggle: KaggleServer, cache: Path, status: int) -> None:
    kaggle.status = status
    message = load_error("kaggle")
    assert "kaggle: the download failed" in message
    assert "download the zip at https://www.kaggle.com/datasets/zynicide/wine-reviews" in message
    assert not cached(cache)


def test_kaggle_without_a_network_gives_advice(kaggle: KaggleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert "kaggle: the download failed" in load_error("kaggle")


def test_without_kagglehub_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # an import of None raises ImportError, as for a package that is not installed
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert install_command("kaggle") in load_error("kaggle")


def test_a_damaged_kagglehub_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kagglehub.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kagglehub", raising=False)
    error = f"kagglehub (No module named 'no_such_package'): {install_command('kaggle')}"
    assert load_error("kaggle") == f"data.path kaggle needs {error}"


def test_a_hub_dataset_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    message = load_error("someone/wines")
    assert "the Hub's dataset 'someone/wines' can't be loaded: Couldn't reach 'someone/wines'" in message
    assert not cached(cache)


def test_a_hub_dataset_gives_the_rows_of_all_its_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    expected = load(write(tmp_path / "a.json", json_text(RECORDS)))
    # the files of an earlier download
    folder = cache / "someone___wines" / "default" / "0.0.0" / ("0" * 40)
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(RECORDS)
    splits = datasets.SplitDict()
    for name, rows in {"first": table.slice(0, 20), "second": table.slice(20)}.items():
        with ArrowWriter(path=str(folder / f"wines-{name}.arrow")) as writer:
            writer.write_table(rows)
            writer.finalize()
        splits[name] = datasets.SplitInfo(name, num_examples=len(rows))
    datasets.DatasetInfo(
        splits=splits, dataset_name="wines", config_name="default", version="0.0.0"
    ).write_to_directory(str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert load("someone/wines") == expected
    assert load_reviews(DataConfig(path="someone/wines")).report.from_hub
    assert "no column 'grape'" in load_error("someone/wines", prompt_fields=("grape",))
