"""Loading reviews: formats, types, filter, report, cache and tokens."""

import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.records import (
    COLUMNS,
    COLUMNS_150K,
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

from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews, texts
from wine_gpt.data.template import COMPOSED
from wine_gpt.tokenizer import encode_reviews, load_tokenizer, save_tokenizer, tokenize_splits, train_tokenizer

pytestmark = pytest.mark.usefixtures("cache")

RECORDS = make_records(50)
CATEGORICAL = pa.schema([("kind", pa.dictionary(pa.int8(), pa.string())), ("text", pa.large_string())])
ALL_TRAIN = {"validation_fraction": 0.0, "test_fraction": 0.0}
WRITERS: dict[str, Callable[[list[dict]], str]] = {"json": json_text, "jsonl": lines_text, "csv": csv_text}


@pytest.fixture
def expected(tmp_path: Path) -> list[dict]:
    return load(write(tmp_path / "expected.json", json_text(RECORDS)))


def test_columns_are_typed_and_the_text_is_composed(tmp_path: Path) -> None:
    reviews = load_reviews(DataConfig(path=write(tmp_path / "a.json", json_text(RECORDS))))
    features = reviews.splits["train"].features
    assert list(reviews.splits) == ["train", "validation", "test"]
    assert {name: feature.dtype for name, feature in features.items()} == {
        **dict.fromkeys([*COLUMNS, COMPOSED], "string"),
        "points": "int64",
        "price": "float64",
    }
    rows = {row["title"]: row for row in rows_of(reviews)}
    assert len(rows) == 50
    for record in RECORDS:
        text = f"wine review : US : Oregon : Pinot Noir : {record['description']}"
        assert rows[record["title"]] == {**record, "points": int(record["points"]), COMPOSED: text}


def test_every_format_gives_the_same_rows(tmp_path: Path, expected: list[dict]) -> None:
    for suffix, text in WRITERS.items():
        assert load(write(tmp_path / f"a.{suffix}", text(RECORDS))) == expected, suffix
        assert load(write(tmp_path / f"bom.{suffix}", text(RECORDS), "utf-8-sig")) == expected, suffix
    assert load(write(tmp_path / "lines.json", lines_text(RECORDS), "utf-8-sig")) == expected
    assert load(write(tmp_path / "indented.json", json.dumps(RECORDS, indent=1))) == expected
    assert load(write(tmp_path / "windows.csv", csv_text(RECORDS, line_end="\r\n"))) == expected
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet") == expected


def test_the_file_of_150k_has_fewer_columns(tmp_path: Path, expected: list[dict]) -> None:
    rows = load(write(tmp_path / "winemag-data_first150k.csv", csv_text(RECORDS, COLUMNS_150K)))
    assert rows == [{name: row[name] for name in [*COLUMNS_150K, COMPOSED]} for row in expected]


@pytest.mark.parametrize("member", [KAGGLE_JSON, "archive/winemag-data-130k-v2.csv", "mine.jsonl"])
def test_a_zip_is_read_from_the_member_with_reviews(tmp_path: Path, expected: list[dict], member: str) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("read me.txt", "no reviews")
        if member != "mine.jsonl":
            archive.writestr("winemag-data_first150k.csv", "a,b\n1,2\n")
        archive.writestr(member, WRITERS[member.rpartition(".")[2]](RECORDS))
    assert load(tmp_path / "archive.zip") == expected


def test_files_larger_than_a_chunk_are_read_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [load(write(tmp_path / f"a.{suffix}", text(RECORDS))) for suffix, text in WRITERS.items()]
    monkeypatch.setattr("wine_gpt.data.json_format.CHUNK", 37)
    for format_ in ("json", "csv"):
        monkeypatch.setattr(f"wine_gpt.data.{format_}_format.BATCH_ROWS", 7)
    for suffix, text in WRITERS.items():
        reviews = load_reviews(DataConfig(path=write(tmp_path / f"chunks.{suffix}", text(RECORDS))))
        assert rows_of(reviews) == rows[0]
        assert reviews.report.read == 50


@pytest.mark.parametrize("chunk", [64, 700])
def test_a_brace_in_a_text_or_a_nested_object_does_not_end_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("wine_gpt.data.json_format.CHUNK", chunk)
    records = [{**RECORDS[0], "description": f"plum {n} }} of, {{ oak", "extra": {"a": {"b": n}}} for n in range(40)]
    rows = load(write(tmp_path / "a.json", json_text(records)))
    assert sorted(row["description"] for row in rows) == sorted(record["description"] for record in records)


def test_numbers_may_be_strings_and_strings_numbers(tmp_path: Path) -> None:
    points = ["87", 87, " 87 ", 87.0]
    records = [
        {**record, "points": value, "price": price, "province": 7, "winery": float("nan")}
        for record, value, price in zip(RECORDS, points, ["15", 15, None, float("nan")], strict=False)
    ]
    rows = load(write(tmp_path / "a.json", json.dumps(records)))
    assert [row["points"] for row in rows] == [87] * 4
    assert [row["price"] for row in rows] == [15.0, 15.0, None, None]
    assert {row["winery"] for row in rows} == {None}
    assert rows[0][COMPOSED].startswith("wine review : US : 7 : Pinot Noir : ")


def test_the_text_may_be_in_a_column_named_text(tmp_path: Path) -> None:
    records = [{"kind": "note", "text": f"Text {number}"} for number in range(30)]
    pq.write_table(pa.Table.from_pylist(records).cast(CATEGORICAL), tmp_path / "a.parquet")
    rows = load(tmp_path / "a.parquet", prefix="", prompt_fields=("kind",), text_field="text")
    assert {COMPOSED: "note : Text 7", "text": "Text 7", "kind": "note"} in rows


def test_an_empty_prefix_leaves_no_colon_behind(tmp_path: Path) -> None:
    rows = load(write(tmp_path / "a.json", json_text(RECORDS)), prefix="", prompt_fields=("winery",))
    assert rows[0][COMPOSED] == f"Château : {rows[0]['description']}"


def test_the_report_adds_up(tmp_path: Path) -> None:
    first, second, *others = make_records(10)
    records = [
        *[{**first, "country": value} for value in (None, "", " \t\u00a0")],
        {**first, "province": None, "variety": None},
        {**first, "description": "  "},
        {name: None for name in COLUMNS},
        {},
        second,
        {**second, "description": second["description"].upper().replace(" ", " \n "), "country": "France"},
        *others,
    ]
    reviews = load_reviews(DataConfig(path=write(tmp_path / "a.json", json_text(records))))
    report = reviews.report
    assert (report.read, report.blank, report.duplicates, report.kept) == (17, 2, 1, 9)
    assert report.dropped == {"country": 3, "province": 1, "variety": 0, "description": 1}
    assert report.splits == {name: len(split) for name, split in reviews.splits.items()}
    # of two records with the same words the first is kept
    assert {row["country"] for row in rows_of(reviews)} == {"US"}
    report.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == report.to_dict()
    table = [line.rsplit(maxsplit=1) for line in str(report).splitlines()[1:]]
    assert ["  without country", "3"] in table
    assert ["  texts kept", "9"] in table
    *lines, note = str(report).splitlines()[1:]
    assert len({len(line) for line in lines}) == 1
    assert note == "  9 texts lose their line breaks: data.line_breaks true keeps them as words"


def test_blank_rows_are_counted_not_kept(tmp_path: Path) -> None:
    blanks = 128_000
    reviews = load_reviews(DataConfig(path=write(tmp_path / "a.jsonl", "\n" * blanks + lines_text(RECORDS))))
    assert (reviews.report.blank, reviews.report.kept) == (blanks, 50)
    header, *rows = csv_text(RECORDS).splitlines(keepends=True)
    reviews = load_reviews(DataConfig(path=write(tmp_path / "a.csv", header + "\n" * blanks + "".join(rows))))
    assert (reviews.report.blank, reviews.report.kept) == (blanks, 50)
    assert "0 usable rows of 9 read: 9 blank" in load_error(write(tmp_path / "only.jsonl", "\n" * 9))
    assert "0 usable rows of 2 read: 2 blank" in load_error(write(tmp_path / "only.json", "[{}, {}]"))


def test_nul_and_lone_surrogates_are_removed_and_long_texts_cut(tmp_path: Path) -> None:
    description = "a\0b \ud800c " + "word " * 2_000_000
    record = {**RECORDS[0], "description": description, "title": "\udfff"}
    path = write(tmp_path / "a.json", json.dumps([record, *RECORDS[1:]]))
    reviews = load_reviews(DataConfig(path=path, max_characters=20))
    assert reviews.report.characters_removed == 3
    assert reviews.report.cut == 50
    row = next(row for row in rows_of(reviews) if row["description"].startswith("ab"))
    assert row["description"] == "ab c word word word"
    assert row["title"] == ""
    path = write(tmp_path / "a.csv", csv_text([{**record, "title": ""}, *RECORDS[1:]]).replace("\ud800", ""))
    assert load_reviews(DataConfig(path=path)).report.cut == 1
    # an escaped surrogate pair is one character
    rows = load(write(tmp_path / "pair.json", json.dumps([{**RECORDS[0], "description": "\U0001f377"}])), **ALL_TRAIN)
    assert rows[0]["description"] == "\U0001f377"


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view()])
def test_texts_that_parquet_stores_as_bytes_or_views_are_cleaned(tmp_path: Path, type_: pa.DataType) -> None:
    written = pa.array([b"plum\0 &amp; oak", b" - ", b"plum"]).cast(type_)
    pq.write_table(pa.table({"note": written}), tmp_path / "a.parquet")
    settings = {"prefix": "", "prompt_fields": (), "text_field": "note", "missing": ("-",)}
    reviews = load_reviews(DataConfig(path=str(tmp_path / "a.parquet"), **settings, **ALL_TRAIN))
    assert [row["note"] for row in rows_of(reviews)] == ["plum", "plum &amp; oak"]
    assert (reviews.report.characters_removed, reviews.report.blank) == (1, 1)
    assert reviews.report.entities["note"].count == 1


def test_a_text_is_cut_within_a_word_only_if_its_first_word_is_too_long(tmp_path: Path) -> None:
    records = [{**RECORDS[0], "description": text} for text in ("one two three", "onetwothree", "   onetwo", "one")]
    rows = load(write(tmp_path / "a.json", json_text(records)), max_characters=7, **ALL_TRAIN)
    assert [row["description"] for row in rows] == ["one", "one two", "onetwo", "onetwot"]


def test_fractions_of_zero_leave_splits_empty(tmp_path: Path) -> None:
    reviews = load_reviews(DataConfig(path=write(tmp_path / "a.json", json_text(RECORDS)), **ALL_TRAIN))
    assert reviews.report.splits == {"train": 50, "validation": 0, "test": 0}
    tokenizer = train_tokenizer(texts(reviews.splits["train"]))
    assert tokenize_splits(reviews.splits, tokenizer)["test"].column_names == ["input_ids", "length"]


def test_an_empty_train_split_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json_text(RECORDS[:1]))
    assert "none of the 1 texts fell into the train split: use more data" in load_error(path, test_fraction=0.94)


def test_tokenized_splits_match_the_tokenizer_and_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews = load_reviews(DataConfig(path=write(tmp_path / "a.json", json_text(RECORDS))))
    tokenizer = train_tokenizer(texts(reviews.splits["train"]))
    splits = tokenize_splits(reviews.splits, tokenizer)
    for name, split in splits.items():
        assert split["input_ids"][:] == encode_reviews(tokenizer, list(texts(reviews.splits[name])))
        assert split["length"][:] == [len(ids) for ids in split["input_ids"]]
        assert split.features["input_ids"].feature.dtype == "int32"
    files = {file["filename"]: os.stat(file["filename"]).st_mtime_ns for file in splits["train"].cache_files}
    # the length of a model and the folder of a run don't change the ids
    save_tokenizer(tokenizer, tmp_path / "run")
    loaded = load_tokenizer(tmp_path / "run")
    loaded.model_max_length = 99
    for same in (tokenizer, loaded):
        again = tokenize_splits(reviews.splits, same)
        assert {file["filename"] for file in again["train"].cache_files} == set(files)
        assert {file: os.stat(file).st_mtime_ns for file in files} == files
    # a tokenizer with other words or ends does, and so may another version of the code
    loaded.bos_token = "wine"
    assert tokenize_splits(reviews.splits, loaded)["train"]["input_ids"][0][0] == loaded.bos_token_id
    monkeypatch.setattr("wine_gpt.tokenizer.encoding.ENCODING_VERSION", 0)
    older = tokenize_splits(reviews.splits, tokenizer)
    assert not {file["filename"] for file in older["train"].cache_files} & set(files)
    other = train_tokenizer(texts(reviews.splits["train"]), vocab_size=10)
    assert tokenize_splits(reviews.splits, other)["train"]["input_ids"][:] != splits["train"]["input_ids"][:]


def test_a_second_run_reads_the_cache(tmp_path: Path, cache: Path) -> None:
    path = Path(write(tmp_path / "a.json", json_text(RECORDS)))
    config = DataConfig(path=str(path))
    first = load_reviews(config)
    status = path.stat()
    # as long as size and modification time are the same, the file is not read
    path.write_text("x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = load_reviews(config)
    assert (rows_of(second), second.report, second.fingerprint) == (rows_of(first), first.report, first.fingerprint)
    assert second.splits["train"].cache_files
    # with other settings or another modification time the file is read, and it is no longer JSON
    assert "neither a JSON array nor JSON Lines" in refused(load_reviews, dataclasses.replace(config, split_seed=1))
    os.utime(path)
    assert "neither a JSON array nor JSON Lines" in refused(load_reviews, config)


def test_the_fingerprint_depends_on_the_content_alone(tmp_path: Path) -> None:
    def fingerprint(records: list[dict], name: str, **settings: object) -> str:
        return load_reviews(DataConfig(path=write(tmp_path / name, json_text(records)), **settings)).fingerprint

    first = fingerprint(RECORDS, "a.json")
    assert first == fingerprint(RECORDS, "elsewhere.json")
    changed = [
        fingerprint(RECORDS[1:], "fewer.json"),
        fingerprint(RECORDS[::-1], "reversed.json"),
        fingerprint([{**RECORDS[0], "country": "Us"}, *RECORDS[1:]], "letter.json"),
        fingerprint(RECORDS, "a.json", split_seed=7),
        fingerprint(RECORDS, "a.json", prefix="wine"),
    ]
    assert len({first, *changed}) == 6


LOAD = """
import sys
from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews
print(load_reviews(DataConfig(path=sys.argv[1])).fingerprint)
"""


def test_processes_that_start_at_once_share_one_cache(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "a.json", json_text(make_records(5000)))
    environment = {**os.environ, "HF_DATASETS_CACHE": str(cache), "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-c", LOAD, path]
    runs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    fingerprints = {run.communicate()[0].strip() for run in runs}
    assert fingerprints == {load_reviews(DataConfig(path=path)).fingerprint}
    assert len([entry for entry in (cache / "wine_gpt").iterdir() if entry.is_dir()]) == 1


def test_an_incomplete_cache_of_a_killed_run_is_ignored(tmp_path: Path, cache: Path) -> None:
    config = DataConfig(path=write(tmp_path / "a.json", json_text(RECORDS)))
    expected = rows_of(load_reviews(config))
    (entry,) = [entry for entry in (cache / "wine_gpt").iterdir() if entry.is_dir()]
    incomplete = entry.rename(entry.with_suffix(".incomplete"))
    (incomplete / "train.arrow").write_bytes(b"half")
    assert rows_of(load_reviews(config)) == expected
    assert not incomplete.exists()


@pytest.mark.parametrize("lost", ["test.arrow", "report.json"])
def test_a_cache_that_lost_a_file_is_made_again(tmp_path: Path, cache: Path, lost: str) -> None:
    config = DataConfig(path=write(tmp_path / "a.json", json_text(RECORDS)))
    expected = rows_of(load_reviews(config))
    (entry,) = [entry for entry in (cache / "wine_gpt").iterdir() if entry.is_dir()]
    (entry / lost).unlink()
    assert rows_of(load_reviews(config)) == expected


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file in its place")
    message = load_error(write(tmp_path / "a.json", json_text(RECORDS)))
    assert str(cache) in message
    assert "HF_DATASETS_CACHE" in message
