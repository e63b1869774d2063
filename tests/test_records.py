"""Numbers that can't be read, spellings of missing values, duplicates, Unicode and line breaks."""

import datetime
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.records import Record, csv_text, json_text, lines_text, load, load_error, make_records, write

from wine_gpt.config import DataConfig
from wine_gpt.data.report import DataReport
from wine_gpt.data.reviews import Reviews, load_reviews
from wine_gpt.data.template import COMPOSED

pytestmark = pytest.mark.usefixtures("cache")

RECORDS = make_records(40)
ALL_TRAIN = {"validation_fraction": 0.0, "test_fraction": 0.0}
RECIPES = {"prefix": "recipe", "prompt_fields": ("cuisine", "dish"), "text_field": "method"}


def reviews_of(path: Path, records: list[Record], **settings: object) -> Reviews:
    return load_reviews(DataConfig(path=write(path, lines_text(records)), **{**ALL_TRAIN, **settings}))


def with_values(column: str, values: list[object]) -> list[Record]:
    """Return records whose first ones have the values."""
    return [{**record, column: value} for record, value in zip(RECORDS, values, strict=False)] + RECORDS[len(values) :]


# optional numbers


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(
            ("price", text)
            for text in ("$28.00", "28,00", "1,900", "1.234,56", "N/A", "€12", "5.99 per bottle", "inf")
        ),
        *(("price", text) for text in ("£5", "1e999", "٣", "0x10", "1_000", "12-15", "🍷", "\u200b")),
        *(("points", text) for text in ("87.5", "90/100", "90 pts", "eighty", "1" * 30, 87.5, True, "2020-01-02")),
    ],
)
def test_a_number_that_cannot_be_read_is_null_and_counted(tmp_path: Path, column: str, value: object) -> None:
    reviews = reviews_of(tmp_path / "a.jsonl", with_values(column, [value, value, "88", None, "", " 90 "]))
    rows = {row["title"]: row[column] for row in reviews.splits["train"]}
    assert [rows[record["title"]] for record in RECORDS[:6]] == [None, None, 88, None, None, 90]
    found = reviews.report.unread[column]
    assert found.count == 2
    assert f"{column}: 2 values not read, e.g. {found.example}" in str(reviews.report)
    assert reviews.report.kept == 40


@pytest.mark.parametrize("column", ["designation", "price"])
@pytest.mark.parametrize("value", [[], {"a": {"b": 1}}, [["x" * 9999]]])
@pytest.mark.parametrize("text", [json_text, lines_text])
def test_a_nested_value_of_json_is_null_and_counted(
    tmp_path: Path, column: str, value: object, text: Callable[[list[Record]], str]
) -> None:
    path = write(tmp_path / "a.json", text(with_values(column, ["7", value, 8, value, None])))
    reviews = load_reviews(DataConfig(path=path, **ALL_TRAIN))
    rows = {row["title"]: row[column] for row in reviews.splits["train"]}
    seven, eight = ("7", "8") if column == "designation" else (7, 8)
    assert [rows[record["title"]] for record in RECORDS[:5]] == [seven, None, eight, None, None]
    assert reviews.report.unread[column].count == 2
    assert f"{column}: 2 values not read, e.g. {str(value)[0]}" in str(reviews.report)
    assert reviews.report.kept == 40


def test_numbers_of_any_kind_are_read_as_before(tmp_path: Path) -> None:
    values = ["15", " 15.5 ", "1e2", "+.5", "5.", "NaN", "", None, "-3"]
    reviews = reviews_of(tmp_path / "a.jsonl", with_values("price", values))
    rows = {row["title"]: row["price"] for row in reviews.splits["train"]}
    expected = [15, 15.5, 100, 0.5, 5, None, None, None, -3]
    assert [rows[record["title"]] for record in RECORDS[: len(values)]] == expected
    assert not reviews.report.unread


@pytest.mark.parametrize("value", [datetime.date(2020, 1, 2), [1], {"amount": 1}, True, b"\xff"])
def test_a_parquet_column_that_holds_no_numbers_is_null_and_counted(tmp_path: Path, value: object) -> None:
    columns = {
        name: [record[name] for record in RECORDS] for name in ("country", "province", "variety", "description")
    }
    pq.write_table(pa.table({**columns, "price": [value] * 40}), tmp_path / "a.parquet")
    reviews = load_reviews(DataConfig(path=str(tmp_path / "a.parquet")))
    assert reviews.report.unread["price"].count == 40
    assert reviews.report.kept == 40


@pytest.mark.parametrize("fields", [("country", "price"), ("title", "price", "points")])
def test_a_number_in_a_prompt_is_written_as_the_source_has_it(tmp_path: Path, fields: tuple[str, ...]) -> None:
    records = [{**record, "price": price} for record, price in zip(RECORDS, ("$ 0.99", 15.0, 7.5), strict=False)]
    for name, text in (("a.json", json_text(records)), ("a.csv", csv_text(records))):
        rows = load(write(tmp_path / name, text), prompt_fields=fields, **ALL_TRAIN)
        assert {row["price"] for row in rows} == {"$ 0.99", "15", "7.5"}
        assert {row[COMPOSED].split(" : ")[2] for row in rows} == {"$ 0.99", "15", "7.5"}


def test_a_number_in_a_prompt_that_is_nan_is_missing(tmp_path: Path) -> None:
    prices = pa.array([7.5, float("nan"), None, 15.0], pa.float32())
    pq.write_table(pa.table({"price": prices, "note": list("abcd")}), tmp_path / "a.parquet")
    settings = {"prefix": "", "prompt_fields": ("price",), "text_field": "note"}
    assert [row[COMPOSED] for row in load(tmp_path / "a.parquet", **settings, **ALL_TRAIN)] == ["15 : d", "7.5 : a"]


def test_of_another_corpus_only_the_columns_of_its_texts_are_read(tmp_path: Path) -> None:
    records = [{"app": f"App {n}", "review": f"Good {n}.", "price": "Free", "points": "n/a"} for n in range(30)]
    path = write(tmp_path / "a.jsonl", lines_text(records))
    rows = load(path, prefix="app", prompt_fields=("app",), text_field="review")
    assert {*rows[0]} == {"app", "review", COMPOSED}
    # a prompt's column with the name of one of Kaggle's is text here
    rows = load(path, prefix="app", prompt_fields=("app", "price"), text_field="review")
    assert rows[0][COMPOSED] == "app : App 0 : Free : Good 0."


def test_a_report_keeps_its_counts(tmp_path: Path) -> None:
    records = with_values("price", ["$1", "$2"]) + [{**RECORDS[0], "country": "NA", "description": "x"}] * 2
    report = reviews_of(tmp_path / "a.jsonl", records).report
    report.save(tmp_path / "data_report.json")
    content = json.loads((tmp_path / "data_report.json").read_text(encoding="utf-8"))
    assert content["unread"] == {"price": {"count": 2, "example": "'$1'"}}
    assert DataReport.from_dict(content) == report


# HTML entities


@pytest.mark.parametrize("entity", ["&amp;", "&eacute;", "&#39;", "&#xE9;", "&nbsp;"])
def test_html_entities_stay_and_are_reported(tmp_path: Path, entity: str) -> None:
    records = with_values("description", [f"fruit {entity} oak {number}" for number in range(12)])
    reviews = reviews_of(tmp_path / "a.jsonl", records)
    assert f"description: 12 values with HTML entities, e.g. {entity!r}, which stay as they are" in str(reviews.report)
    assert f"fruit {entity} oak 3" in reviews.splits["train"]["description"]
    assert DataReport.from_dict(reviews.report.to_dict()) == reviews.report


@pytest.mark.parametrize("text", ["AT&T;", "a & b; c", "&x;", "fish&chips", "R&D; it's"])
def test_an_ampersand_is_no_entity(tmp_path: Path, text: str) -> None:
    records = with_values("description", [f"{text} {number}" for number in range(12)])
    assert "HTML" not in str(reviews_of(tmp_path / "a.jsonl", records).report)


# spellings of missing values


@pytest.mark.parametrize("spelling", ["NA", "NULL", "\\N", "nan", "NaN", "None", "-", "n/a", "N/A ", "(null)", "—"])
def test_a_spelled_missing_value_is_reported_and_can_be_made_null(tmp_path: Path, spelling: str) -> None:
    records = with_values("country", [spelling] * 12)
    name = spelling.strip()
    report = reviews_of(tmp_path / "a.jsonl", records).report
    assert f"12 values of country read '{name}': data.missing '{name}' makes them null" in str(report)
    assert report.dropped["country"] == 0
    report = reviews_of(tmp_path / "a.jsonl", records, missing=(name,)).report
    assert report.dropped["country"] == 12
    assert "data.missing" not in str(report)


def test_a_number_may_spell_a_missing_value(tmp_path: Path) -> None:
    reviews = reviews_of(tmp_path / "a.jsonl", with_values("country", [-999] * 3), missing=("-999",))
    assert reviews.report.dropped["country"] == 3


def test_large_whole_numbers_keep_their_digits(tmp_path: Path) -> None:
    values = [4006381333931, 10**12, 2019, 1.5]
    reviews = reviews_of(tmp_path / "a.jsonl", with_values("country", values))
    rows = {row["title"]: row["country"] for row in reviews.splits["train"]}
    assert [rows[record["title"]] for record in RECORDS[:4]] == ["4006381333931", "1000000000000", "2019", "1.5"]


@pytest.mark.parametrize("text", ["\u200b", "\ufeff\u00ad", "\u2060 \u007f", "\u3000"])
def test_a_text_of_invisible_characters_is_blank(tmp_path: Path, text: str) -> None:
    assert reviews_of(tmp_path / "a.jsonl", with_values("description", [text])).report.dropped["description"] == 1


def test_several_spellings_are_one_line(tmp_path: Path) -> None:
    report = reviews_of(tmp_path / "a.jsonl", with_values("country", ["-"] * 3 + ["NA"] * 4)).report
    assert "7 values of country read '-', 'NA': data.missing '-,NA' makes them null" in str(report)


def test_spellings_of_several_columns_are_one_setting(tmp_path: Path) -> None:
    records = [{**record, "province": "None"} for record in with_values("country", ["NA"] * 12)[:12]] + RECORDS[12:]
    report = reviews_of(tmp_path / "a.jsonl", records, missing=("?",)).report
    (advice,) = [line for line in str(report).splitlines() if "data.missing" in line]
    assert "12 values of country read 'NA'" in advice
    assert "12 values of province read 'None'" in advice
    (setting,) = re.findall("data.missing '(.*)' makes them null", advice)
    missing = tuple(setting.split(","))
    assert set(missing) == {"?", "NA", "None"}
    assert "data.missing" not in str(reviews_of(tmp_path / "b.jsonl", records, missing=missing).report)


@pytest.mark.parametrize("word", ["Nan", "none", "Na", "Namibia", "Null Vineyard", "nan bread", "---", "N"])
def test_words_are_no_missing_values(tmp_path: Path, word: str) -> None:
    report = reviews_of(tmp_path / "a.jsonl", with_values("country", [word] * 12)).report
    assert "data.missing" not in str(report)


def test_a_few_spellings_among_many_records_are_not_reported(tmp_path: Path) -> None:
    records = make_records(1000)
    for count, reported in ((9, False), (10, True)):
        changed = [{**record, "variety": "None"} for record in records[:count]] + records[count:]
        assert ("data.missing" in str(reviews_of(tmp_path / f"{count}.jsonl", changed).report)) is reported


def test_missing_values_of_a_number_are_not_counted_as_unread(tmp_path: Path) -> None:
    records = with_values("price", ["N/A", "-", "12", "$5"])
    assert reviews_of(tmp_path / "a.jsonl", records, missing=("N/A", "-")).report.unread["price"].count == 1


# duplicates


def answers(count: int = 400) -> list[Record]:
    return [{"cuisine": "Q", "dish": f"Is {n} odd?", "method": "yes" if n % 2 else "no"} for n in range(count)]


def test_records_with_equal_texts_are_kept_if_the_record_is_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json_text([*answers(), *answers(7)]))
    report = load_reviews(DataConfig(path=path, **RECIPES, deduplicate="record")).report
    assert (report.duplicates, report.kept) == (7, 400)
    assert min(report.splits.values()) > 5
    assert load_reviews(DataConfig(path=path, **RECIPES)).report.kept == 2


def test_compared_records_differ_where_their_fields_end(tmp_path: Path) -> None:
    values = [("a b", "c", "x"), ("a", "b c", "x"), (" A  b", "c ", "X"), ("a b", "c", "y")]
    records = [dict(zip(("cuisine", "dish", "method"), row, strict=True)) for row in values]
    report = reviews_of(tmp_path / "a.jsonl", records, **RECIPES, deduplicate="record").report
    assert (report.duplicates, report.kept) == (1, 3)


def test_the_error_of_an_empty_split_names_the_duplicates(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json_text([{**record, "method": "yes"} for record in answers(200)]))
    message = load_error(path, **RECIPES, validation_fraction=0.0, test_fraction=0.99)
    assert "199 of 200 records are duplicates, with the method of an earlier record" in message
    assert "--data.deduplicate record" in message


def test_texts_are_compared_as_far_as_they_are_kept(tmp_path: Path) -> None:
    records = with_values("description", [f"The same beginning. {end}" for end in ("One", "Two", "Three")])
    report = reviews_of(tmp_path / "a.jsonl", records, max_characters=20).report
    assert (report.duplicates, report.cut_duplicates, report.cut) == (2, 2, 40)
    assert "2 duplicates were cut at data.max_characters before the comparison" in str(report)
    report = reviews_of(tmp_path / "b.jsonl", [*RECORDS, RECORDS[0]]).report
    assert (report.duplicates, report.cut_duplicates) == (1, 0)


# Unicode


def test_decomposed_letters_are_the_same_values_and_duplicates(tmp_path: Path) -> None:
    record = {"country": "México", "province": "Café", "variety": "Rosé", "description": "Añejo, crème brûlée."}
    decomposed = {name: unicodedata.normalize("NFD", value) for name, value in record.items()}
    reviews = reviews_of(tmp_path / "a.jsonl", [decomposed, record], prefix="Cafe\u0301")
    assert (reviews.report.duplicates, reviews.report.kept) == (1, 1)
    row = reviews.splits["train"][0]
    assert {name: row[name] for name in record} == record
    assert row[COMPOSED].startswith("Café : México : Café : Rosé : ")


@pytest.mark.parametrize(
    "text",
    [
        "🍷🧀👩\u200d🍳 with emoji",
        "می\u200cخواهم شراب",
        "…!?",
        "wine review : US : Oregon : Pinot Noir : again",
        "one : two : three",
        "甘い香りと酸味のあるワイン",
    ],
)
def test_texts_of_any_script_are_kept_as_they_are(tmp_path: Path, text: str) -> None:
    (row,) = reviews_of(tmp_path / "a.jsonl", [{**RECORDS[0], "description": text}]).splits["train"]
    assert row["description"] == text
    assert row[COMPOSED].endswith(f" : {text}")
