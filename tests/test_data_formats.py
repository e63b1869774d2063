"""Variants of the file formats: separators, headers, spellings of names. Each is read, or named in one line."""

import csv
import io
import json
import re
import tracemalloc
import unicodedata
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.records import COLUMNS, json_text, lines_text, load, load_error, make_records, rows_of, write
from support.refused import refused

from wine_gpt.config import DataConfig
from wine_gpt.data.reviews import load_reviews

pytestmark = pytest.mark.usefixtures("cache")

RECORDS = make_records(50)
NEEDED = ["country", "province", "variety", "description"]
OWN = {"prefix": "note", "prompt_fields": ("kind",), "text_field": "note"}
ALL_TRAIN = {"validation_fraction": 0.0, "test_fraction": 0.0}


@pytest.fixture
def expected(tmp_path: Path) -> list[dict]:
    return load(write(tmp_path / "expected.json", json_text(RECORDS)))


def notes(path: Path, text: str, **settings: object) -> list[str]:
    """Return the texts of an own corpus with the columns kind and note, in the order of the file."""
    reviews = load_reviews(DataConfig(path=write(path, text), **{**OWN, **ALL_TRAIN, **settings}))
    return reviews.splits["train"]["note"][:]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_separator_is_found_in_the_header(tmp_path: Path, separator: str, line_end: str) -> None:
    text = f'"kind"{separator}id{separator}"note"\na{separator}1{separator}"x, y; z|\t"\n'
    assert notes(tmp_path / "a.csv", text.replace("\n", line_end)) == ["x, y; z|\t"]
    for suffix in ("tsv", "tab"):
        assert notes(tmp_path / f"a.{suffix}", text) == ["x, y; z|\t"]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_kaggles_columns_are_read_with_any_separator(tmp_path: Path, expected: list[dict], separator: str) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter=separator)
    writer.writeheader()
    writer.writerows(RECORDS)
    assert load(write(tmp_path / "a.csv", text.getvalue())) == expected


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;", "\ufeffsep=;"])
def test_the_separator_line_of_excel_is_obeyed(tmp_path: Path, first: str) -> None:
    assert notes(tmp_path / "a.csv", f"{first}\r\nkind;note\r\na;b, c\r\n") == ["b, c"]
    assert "line 4 has 1 cell, the header 2" in load_error(
        write(tmp_path / "b.csv", f"{first}\nkind;note\na;b\nc\n"), **OWN
    )


def test_the_separator_can_be_set(tmp_path: Path) -> None:
    text = "kind:note\na:b\n"
    assert "found: kind:note" in load_error(write(tmp_path / "a.csv", text), **OWN)
    assert notes(tmp_path / "a.csv", text, separator=":") == ["b"]
    for name in ("tab", "\\t", "\t"):
        # without the setting the comma would be found
        assert notes(tmp_path / "b.csv", "kind,x\tnote\tkind\na\tb\tc\n", separator=name) == ["b"]
    for wrong in ("", "::", '"', "\n", "comma"):
        assert f"data.separator is {wrong!r}: must be one character" in refused(DataConfig, separator=wrong)


def test_a_header_may_hold_other_separators(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.csv", 'kind,"x; y",note\na,b;c,d;e\n') == ["d;e"]
    assert notes(tmp_path / "b.csv", 'kind;"a,b,c,d";note\na;b;c\n') == ["c"]
    assert notes(tmp_path / "c.csv", 'kind;"line\nbreak";note\na;b;c\n') == ["c"]
    assert notes(tmp_path / "d.csv", "note\none, quoted\n".replace("one, quoted", '"one, two"'), prompt_fields=()) == [
        "one, two"
    ]


def test_spaces_around_names_are_ignored(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.csv", 'kind, "note"\na, "b, c"\n') == ["b, c"]
    assert notes(tmp_path / "b.csv", "\ufeff\ufeffkind,\u00a0note\t\na,b\n") == ["b"]
    assert notes(tmp_path / "a.jsonl", '{" kind": "a", "note ": "b"}\n') == ["b"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("setting", ["NFC", "NFD"])
def test_names_are_compared_after_unicode_normalization(tmp_path: Path, form: str, setting: str) -> None:
    names = {name: unicodedata.normalize(form, name) for name in ("país", "descripción")}
    records = [{names["país"]: "Perú", names["descripción"]: f"Vino {number}"} for number in range(9)]
    settings = {
        "prompt_fields": (unicodedata.normalize(setting, "país"),),
        "text_field": unicodedata.normalize(setting, "descripción"),
    }
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    header, rows = ",".join(names.values()), "".join(f"Perú,Vino {number}\n" for number in range(9))
    for path in (
        tmp_path / "a.parquet",
        write(tmp_path / "a.json", json_text(records)),
        write(tmp_path / "a.jsonl", lines_text(records)),
        write(tmp_path / "a.csv", f"{header}\n{rows}"),
    ):
        loaded = load(path, **settings)
        assert [(row["país"], row["descripción"]) for row in loaded] == [
            ("Perú", f"Vino {number}") for number in range(9)
        ]


def test_a_file_without_a_header_is_named(tmp_path: Path) -> None:
    message = load_error(write(tmp_path / "a.csv", f"Spain,Rioja,Tempranillo,{'Long. ' * 500}\n"))
    assert "the first line is taken for the header: add a line with the columns' names" in message
    assert len(message) < 700
    message = load_error(write(tmp_path / "b.csv", f"My wines\n\n{','.join(NEEDED)}\nSpain,Rioja,Tempranillo,Dry\n"))
    assert "the first line is taken for the header, but line 3 has these names: delete the lines above it" in message
    for first in ("Dry and crisp", "A note of plum"):
        message = load_error(
            write(tmp_path / "c.csv", f"{first}\nRipe\n"), prefix="", prompt_fields=(), text_field="note"
        )
        assert "a file with one text per line and no header is named .txt" in message
        assert "separator" not in message


def test_capitals_and_lookalikes_are_named(tmp_path: Path) -> None:
    message = load_error(write(tmp_path / "a.csv", "country,PROVINCE,Variety,Description\nSpain,Rioja,x,y\n"))
    assert "no column 'province', 'variety', 'description', but with other capital letters" in message
    assert "name them in data.prompt_fields and data.text_field as 'PROVINCE', 'Variety', 'Description'" in message
    # the second letter is Cyrillic
    message = load_error(write(tmp_path / "b.csv", "kind,n\u043ete\na,b\n"), **OWN)
    assert "nearest to 'note': 'n\u043ete', typed 'n\\u043ete'" in message


def test_only_a_column_that_is_read_must_be_unique(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.csv", "id,id,kind,note\n1,2,a,b\n") == ["b"]
    assert "column 'note' is there more than once" in load_error(
        write(tmp_path / "b.csv", "note,kind, note\nb,a,c\n"), **OWN
    )


def test_an_optional_column_that_is_there_twice_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = ",".join([*NEEDED, "price", "points", " price"])
    (row,) = load(write(tmp_path / "a.csv", f"{header}\nUS,Oregon,Pinot,Dry.,12,88,13\n"))
    assert row["points"] == 88
    assert "price" not in row
    assert "column 'price' is there more than once, and no text needs it: it is not read" in caplog.text


def test_records_may_spell_their_keys_differently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"kind": "a", "note": "b"}, {"kind ": "c", "note": "d"}, {" note": "f", "kind": "e", "kind ": None}]
    assert notes(tmp_path / "a.jsonl", lines_text(records)) == ["b", "d", "f"]
    assert notes(tmp_path / "b.jsonl", lines_text(records[::-1])) == ["f", "d", "b"]
    monkeypatch.setattr("wine_gpt.data.json_format.BATCH_ROWS", 1)
    assert notes(tmp_path / "c.jsonl", lines_text(records)) == ["b", "d", "f"]
    path = write(tmp_path / "d.jsonl", lines_text([*records, {"kind": "x", "kind ": "y", "note": "z"}]))
    assert "record 4: column 'kind' is there more than once" in load_error(path, **OWN)


def test_an_optional_column_that_begins_after_the_first_records_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wine_gpt.data.json_format.BATCH_ROWS", 10)
    records = [{name: value for name, value in record.items() if name != "winery"} for record in RECORDS[:10]]
    rows = load(write(tmp_path / "a.jsonl", lines_text(records + RECORDS[10:])))
    assert "winery" not in rows[0]
    (warning,) = caplog.messages
    assert warning.endswith("a.jsonl: column winery is not read, because the first 10 records lack it")


def test_of_an_own_corpus_only_the_named_columns_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"kind": "a", "note": "b", "price": "Free", "points": ["x"]}\n')
    rows = load(path, **OWN, **ALL_TRAIN)
    assert list(rows[0]) == ["kind", "note", "<review>"]
    # one column of the texts is Kaggle's, so Kaggle's others are read too
    path = write(tmp_path / "b.json", json_text([{**record, "vintage": 2000} for record in RECORDS]))
    for fields in (("winery",), ("winery", "vintage")):
        rows = load(path, prompt_fields=fields)
        assert {type(row["points"]) for row in rows} == {int}
        assert {type(row["price"]) for row in rows} == {float, type(None)}


def test_blank_rows_and_separators_at_a_lines_end_are_no_cells(tmp_path: Path) -> None:
    text = "\n  \n,,\nkind,note\n , \n \n\na,b,\n,\nc,d,, \n\n"
    path = write(tmp_path / "a.csv", text)
    reviews = load_reviews(DataConfig(path=path, **OWN, **ALL_TRAIN))
    assert [row["note"] for row in rows_of(reviews)] == ["b", "d"]
    assert reviews.report.blank == reviews.report.read - 2
    assert "0 usable rows of 0 read" in load_error(write(tmp_path / "b.csv", "kind,note\n"), **OWN)


def test_a_ragged_row_gets_advice(tmp_path: Path) -> None:
    assert "line 2 has 1 cell, the header 2" in load_error(write(tmp_path / "a.csv", "kind,note\na\n"), **OWN)
    message = load_error(write(tmp_path / "b.csv", "kind,note\na,b\nc,d, e\n"), **OWN)
    assert "line 3 has 3 cells, the header 2; a cell with the separator or a line break needs double quotes" in message
    message = load_error(write(tmp_path / "c.csv", 'kind,note\na,"the \\"best\\" one"\n'), **OWN)
    assert "the record that starts in line 2 is broken" in message
    assert 'write a quote inside a cell as "", not as \\"' in message


# name of the file, content, the texts, and how many lines are skipped
TABLES: dict[str, tuple[str, str, list[str], int]] = {
    "two files appended": ("a.csv", "kind,note\na,b\nkind,note\nc,d\n", ["b", "d"], 1),
    "a mark between them": ("a.csv", "kind,id,note\na,1,b\n\ufeffkind,id,note\nc,2,d\n", ["b", "d"], 1),
    "spaced": ("a.csv", "note, kind\nb, a\nnote, kind\nd, c\n", ["b", "d"], 1),
    "Markdown": ("a.csv", "| kind | note |\n|:-----|-----:|\n| a | b |\n| c | d--- |\n", ["b", "d---"], 1),
    "psql": ("a.csv", " kind | note\n------+------\n a    | b\n c    | d\n(2 rows)\n\n", ["b", "d"], 2),
    "MySQL": ("a.csv", "+------+------+\n| kind | note |\n+------+------+\n| a    | b    |\n+------+\n", ["b"], 2),
    "a text of dashes": ("a.csv", "kind,note\na,b\n--,---\n", ["b", "---"], 0),
    "a text like a name": ("a.csv", "kind,note\nkind,b\nnote,note\n", ["b", "note"], 0),
    "quotes as letters": (
        "a.tsv",
        'kind\tnote\na\t"Great" wine\nb\t"Never closed\n"c\tnormal\nd\t12" pizza\ne\t"',
        ['"Great" wine', '"Never closed', "normal", '12" pizza', '"'],
        0,
    ),
    "quotes as quotes": (
        "a.tsv",
        'kind\tnote\n"a"\t"b ""q"" c"\nc\t"1\n2"\n"d\n"\t"tab\tin"\ne\t""\n',
        ['b "q" c', "1\n2", "tab\tin"],
        0,
    ),
    "both": ("a.tsv", 'note\tkind\n"1\n2"\tx\n"Open\tx\n"q" open\tx\nz\tz', ["1\n2", '"Open', '"q" open', "z"], 0),
    "psql -A": ("a.csv", 'kind|note\na|"b\nc|d "e"\n(2 rows)\n', ['"b', 'd "e"'], 1),
    "R's row names": ("a.csv", '"kind","note"\n"1","a","b"\n"2","c","d"\n', ["b", "d"], 0),
    "R's row names, tabs": ("a.tsv", '"kind"\t"note"\n"1"\t"a"\t"b"\n"2"\t"c"\t"d"\n', ["b", "d"], 0),
    "R's spaces": ("a.txt", '"kind" "note"\n"1" "a" "b c, d"\n"2" "e" "f ""g"" h"\n', ["b c, d", 'f "g" h'], 0),
    "R's spaces without row names": ("a.csv", "kind id note\na 1 'b'\nc NA d\n", ["'b'", "d"], 0),
    "escaped separators": ("a.csv", "kind,note\na,one\\, two\\, three\nb,c\\\n", ["one, two, three", "c\\"], 0),
    "^Z": ("a.csv", "kind,note\na,b\n\x1a", ["b"], 0),
    "zeros": ("a.csv", "kind,note\na,b\n" + "\0" * 600, ["b"], 0),
    "^Z in JSON": ("a.json", '[{"kind": "a", "note": "b"}]\r\n\x1a', ["b"], 0),
    "zeros in JSON Lines": ("a.jsonl", '{"kind": "a", "note": "b"}\n' + "\0" * 600, ["b"], 0),
    "^Z in JSON Lines": ("a.jsonl", '{"kind": "a", "note": "b"}\x1a', ["b"], 0),
    "CSV as .txt": ("a.txt", "kind,note\na,b\n", ["b"], 0),
    "TSV as .txt": ("a.txt", 'kind\tid\tnote\na\t1\t"b\n', ['"b'], 0),
    "JSON as .txt": ("a.txt", '[{"kind": "a", "note": "b"}]', ["b"], 0),
    "JSON Lines as .txt": ("a.txt", '{"kind": "a", "note": "b"}\n{"kind": "c", "note": "d"}\n', ["b", "d"], 0),
    "JSON as .csv": ("a.csv", '\n[\n  {\n    "kind": "a", "note": "b"\n  }\n]', ["b"], 0),
    "JSON Lines as .tsv": ("a.tsv", '{"kind": "a", "note": "b"}\n', ["b"], 0),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_another_program_or_suffix_is_read(tmp_path: Path, name: str) -> None:
    file, text, expected, skipped = TABLES[name]
    report = load_reviews(DataConfig(path=write(tmp_path / file, text), **OWN, **ALL_TRAIN)).report
    assert notes(tmp_path / file, text) == expected
    assert report.lines_skipped == skipped
    if skipped:
        assert f"{skipped} line" in str(report)
        assert "drawn with dashes: skipped" in str(report)


AMBIGUOUS = {
    "another order": ("kind,note\na,b\nnote,kind\n", "line 3 is a header with another order of columns: make it"),
    "other columns": ("kind,note\na,b\nkind,id,note\n", "line 3 is a header with other columns than the first"),
    "fixed width": (
        "kind      note\na         b c\n",
        "line 2 has 11 cells, the header 7; its cells are separated by spaces",
    ),
    "another separator": ("kind~note\na~b\n", "the header is one cell: name its separator with --data.separator"),
    "single quotes": ("kind,note\n'a','b, c'\n", "needs double quotes around it"),
    "row names": ("kind,note\n1,a,b\n", "if the first cells are R's row names: write.table(..., row.names = FALSE)"),
    "texts in JSON": ('["a, b", "c"]\n', "record 1 is a text, not an object with the columns as keys"),
    "a quote in tabs": ('kind\tnote\na\n"b\tc\td\n', "line 2 has 1 cell, the header 2"),
    "an open quote in tabs": ('kind\tnote\n"b\tc\td\n', "the record that starts in line 2 is broken: a quote is not"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_table_that_could_be_read_in_two_ways_is_named(tmp_path: Path, name: str) -> None:
    text, expected = AMBIGUOUS[name]
    assert expected in load_error(write(tmp_path / "a.csv", text), **OWN)


@pytest.mark.parametrize(
    "text",
    [
        "note, to self\nBuy wine\n",
        "my note one\nmy note two\n",
        "note\n",
        "One, two\nthree, four\n",
        '{x}\n["a" or\n',
        "[sic]\n",
        "kind,note\na\n",
    ],
)
def test_lines_of_text_are_no_table(tmp_path: Path, text: str) -> None:
    assert notes(tmp_path / "a.txt", text, prompt_fields=()) == text.split("\n")[:-1]


def test_one_column_of_a_table_named_txt_is_read(tmp_path: Path) -> None:
    assert notes(tmp_path / "a.txt", "id,note\n1,b\n2,d\n", prompt_fields=()) == ["b", "d"]


def test_quotes_and_line_breaks_within_cells_are_kept(tmp_path: Path) -> None:
    text = 'kind,note\na,"one ""two""\nthree, four"\n'
    assert notes(tmp_path / "a.csv", text) == ['one "two"\nthree, four']
    assert notes(tmp_path / "b.csv", text.replace("\n", "\r\n")) == ['one "two"\r\nthree, four']


RECIPES = [{"kind": f"k{number}", "note": f"note {number}"} for number in range(20)]
TEXTS = [record["note"] for record in RECIPES]
FRAME = pd.DataFrame(RECIPES)
READ_SHAPES: dict[str, str] = {
    "to_json()": FRAME.to_json(),
    "to_json(index)": FRAME.to_json(orient="index"),
    "to_json(table)": FRAME.to_json(orient="table"),
    "to_json(records, lines)": FRAME.to_json(orient="records", lines=True),
    "columns of lists": json.dumps({"id": list(range(20)), **FRAME.to_dict("list")}),
    "wrapped": json.dumps({"version": 1, "data": RECIPES, "tags": ["x"]}),
    "by a key": json.dumps({f"id {number}": record for number, record in enumerate(RECIPES)}),
    "pretty objects": "\n".join(json.dumps(record, indent=2) for record in RECIPES),
    "objects in one line": "".join(map(json.dumps, RECIPES)),
    "indented array": json.dumps(RECIPES, indent=4),
    "one element a line": "[" + ",\n".join(map(json.dumps, RECIPES)) + "]",
    "lines with CR": "\r".join(map(json.dumps, RECIPES)),
}


@pytest.mark.parametrize("shape", READ_SHAPES)
def test_a_shape_of_json_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    assert notes(tmp_path / "a.json", READ_SHAPES[shape]) == TEXTS
    if shape in ("pretty objects", "indented array", "one element a line"):
        assert notes(tmp_path / "a.jsonl", READ_SHAPES[shape]) == TEXTS
    monkeypatch.setattr("wine_gpt.data.json_format.CHUNK", 7)
    assert notes(tmp_path / "chunks.json", READ_SHAPES[shape]) == TEXTS


def test_an_index_that_a_column_lacks_is_a_record_without_it(tmp_path: Path) -> None:
    columns = {"kind": {"0": "a", "2": "c"}, "note": {"0": "x", "1": "y", "2": "z"}}
    (tmp_path / "a.json").write_text(json.dumps(columns))
    report = load_reviews(DataConfig(path=str(tmp_path / "a.json"), **OWN, **ALL_TRAIN)).report
    assert (report.read, report.dropped["kind"], report.kept) == (3, 1, 2)


def test_a_file_of_one_record_is_read(tmp_path: Path) -> None:
    for indent in (None, 2):
        assert notes(tmp_path / f"{indent}.json", json.dumps(RECIPES[0], indent=indent)) == ["note 0"]


REFUSED_SHAPES: dict[str, tuple[str, str]] = {
    "lists": (FRAME.to_json(orient="values"), "is an array of lists, so its values have no columns' names"),
    "split": (FRAME.to_json(orient="split"), "one JSON object with the keys columns, index, data, not an array"),
    "two tables": (
        json.dumps({"train": RECIPES, "test": RECIPES}),
        "keys train, test, not an array of records; write",
    ),
    "nested": (json.dumps([{"review": record} for record in RECIPES]), "inside 'review': write the inner objects"),
    "uneven": (json.dumps({"kind": ["a", "b"], "note": ["x"]}), "different numbers of values: kind 2, note 1"),
    "python": (
        repr(RECIPES),
        "record 1 is no whole JSON object: Expecting property name enclosed in double quotes (Py",
    ),
    "None": (
        json.dumps(RECIPES).replace('"k4"', "None"),
        "record 5 is no whole JSON object: Expecting value (Python's",
    ),
    "comment": (json.dumps(RECIPES).replace("}, {", "}, // x\n{", 1), "Expecting value (JSON has no comments) at"),
    "no brackets": (",\n".join(map(json.dumps, RECIPES)), "objects separated by commas need [ ] around them"),
    "comma": (json.dumps(RECIPES)[:-1] + ",\n]", "delete the comma after record 20, before the ] at character"),
    "comma in a record": (
        '[{"kind": "a", "note": "b",}]',
        "(delete the comma before it) at character",
    ),
    "CSV": ("kind,note\na,b\n", "neither a JSON array nor JSON Lines: it begins with 'kind,note'"),
}


@pytest.mark.parametrize("shape", REFUSED_SHAPES)
def test_another_shape_of_json_is_named(tmp_path: Path, shape: str) -> None:
    text, expected = REFUSED_SHAPES[shape]
    assert expected in load_error(write(tmp_path / "a.json", text), **OWN)


def test_a_fault_is_reported_before_the_rest_is_read(tmp_path: Path) -> None:
    text = json.dumps([{"kind": "a", "note": "b"}] * 5).replace('"b"', "b", 1)
    path = write(tmp_path / "a.json", f"{text[:-1]},{' ' * 50_000_000}]")
    tracemalloc.start()
    try:
        assert "record 1 is no whole JSON object: Expecting value at character 23 (line 1)" in load_error(path, **OWN)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


FRENCH = "kind,note\n" + "".join(f"a,Château {number} “très”\n" for number in range(60))
MIXED = FRENCH.encode().replace("7 “".encode(), b"7 \x93")


def test_one_wrong_byte_in_utf_8_is_located_in_any_encoding(tmp_path: Path) -> None:
    content = FRENCH.encode().replace("Château 9 “".encode(), b"Ch\xe2teau 9 \xe2\x80\x9c")
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    for encoding, advice in {"utf-8": "correct it in a text editor", "cp1252": "and leave data.encoding out"}.items():
        message = load_error(path, encoding=encoding, **OWN)
        offset = content.index(b"\xe2t")
        assert f"is UTF-8 but for 1 byte, in line 11: byte {offset:,} is not utf-8: correct it" in message
        assert advice in message
        assert "--data.encoding" not in message
    path.write_bytes(MIXED)
    assert "is UTF-8 but for 6 bytes, the first in line 9" in load_error(path, **OWN)
    path.write_bytes(FRENCH.encode()[:-6])
    assert "in line 61: byte 1,553 is not utf-8: the file is cut short" in load_error(path, **OWN)


ENCODED = {
    "cp1251": "вино,Красное сухое вино",
    "cp932": "酒,とても おいしい ワインです",
    "gb18030": "酒,这是一种非常好的葡萄酒，味道很好",
    "cp949": "술,이것은 아주 좋은 포도주입니다",
    "cp1252": "vin,Château “très” doux",
    "cp1250": "wino,miód i żółty kwiat",
    "cp1253": "κρασί,Κόκκινο κρασί με αρώματα",
    "koi8_r": "вино,Красное сухое вино",
    "cp866": "вино,Красное сухое вино",
    "cp850": "vin,Château très doux",
    "mac_roman": "vin,Château très doux",
    "iso8859_2": "wino,miód i żółty kwiat i wiśnie",
    "mac_cyrillic": "вино,Красное сухое вино",
    "cp1255": "יין,יין אדום עם ריחות של שזיף ודובדבן גוף מלא",
    "cp1256": "نبيذ,نبيذ أحمر برائحة البرقوق والكرز",
    "cp874": "ไวน์,ไวน์แดงกลิ่นพลัมและเชอร์รี่",
    "euc_jp": "酒,とても おいしい ワインです",
    **dict.fromkeys(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"), "vin,Château “très”"),
}


@pytest.mark.parametrize("text", ["Château Margaux", "Käse und Wein", "São João", "Gewürztraminer", "café crème"])
def test_western_text_is_not_taken_for_another_script(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"name,words\nvin,{text}\n".encode("cp1252"))
    assert "--data.encoding cp1252" in load_error(path, prefix="note", prompt_fields=("name",), text_field="words")


def test_western_text_is_recognized_behind_a_megabyte_of_ascii(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"name,words\n" + b"vin,dry and long\n" * 70_000 + "vin,Château Margaux\n".encode("cp1252"))
    assert "--data.encoding cp1252" in load_error(path, prefix="note", prompt_fields=("name",), text_field="words")


@pytest.mark.parametrize("encoding", ENCODED)
def test_the_advised_encoding_reads_the_file(tmp_path: Path, encoding: str) -> None:
    rows = "".join(f"{ENCODED[encoding]} {number}\n" for number in range(30))
    path = write(tmp_path / "a.csv", f"kind,note\n{rows}", encoding)
    for setting in ("utf-8", "ascii", "utf-16" if encoding != "utf-16" else "utf-32"):
        assert f"e.g. --data.encoding {encoding}" in load_error(path, encoding=setting, **OWN), setting
    assert len(load(path, encoding=encoding, **OWN)) == 30


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp852", "miód i żółty kwiat"),
        ("iso8859_2", "tři švestky a řízná žlutá"),
        ("cp1250", "őszi hangulatú, könnyű"),
        ("cp1254", "Şarap kırmızı, ağızda uzun"),
        ("mac_cyrillic", "Червоне вино, повне тіло"),
        ("big5", "紅酒有李子和櫻桃的香氣"),
    ],
)
def test_the_encoding_is_among_those_whose_reading_is_shown(tmp_path: Path, encoding: str, text: str) -> None:
    message = load_error(write(tmp_path / "a.csv", f"kind;note\na;{text}\n", encoding), separator=";", **OWN)
    readings = [
        *re.findall("--data.encoding (.+), which reads '(.+?)'", message),
        *re.findall(r"(\w+) '(.+?)'", message),
    ]
    assert encoding in dict(readings)
    assert any(reading in text for name, reading in readings if name == encoding)


def test_a_wrong_encoding_names_others_and_how_they_read_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "kind,note\na,miód i żółty kwiat\n", "cp1250")
    message = load_error(path, **OWN)
    assert message.endswith(
        "--data.encoding cp1250, which reads 'żółty' (cp1252 '¿ó³ty', cp850 '┐¾│ty', cp852 '┐ˇ│ty')"
    )
    # the encoding that was refused is not among them
    path = write(tmp_path / "b.csv", "kind,note\na,Ё ž\n", "utf-8")
    assert load_error(path, encoding="cp1252", **OWN).endswith("e.g. --data.encoding utf-8")


def test_a_byte_order_mark_contradicts_another_encoding(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        path = write(tmp_path / f"{encoding}.csv", FRENCH, encoding)
        advised = encoding.removesuffix("-sig")
        assert load_error(path, encoding="latin-1", **OWN).endswith(f"--data.encoding {advised}")
    # the mark is no part of the first name
    path = write(tmp_path / "a.csv", FRENCH, "utf-16")
    assert len(load(path, encoding="utf-16-le", **OWN)) == 60
    Path(path).write_bytes(Path(path).read_bytes()[:-1])
    assert "is not utf-16: the file is cut short" in load_error(path, encoding="utf-16", **OWN)
    assert "no such encoding" in load_error(path, encoding="undefined", **OWN)


@pytest.mark.parametrize(
    ("written", "encoding", "expected"),
    [
        (
            FRENCH.encode(),
            "latin-1",
            "record 1: note has 'Ã¢', which reads like 'â' in UTF-8 decoded as Windows-1252: leave",
        ),
        (
            FRENCH.encode().decode("latin-1").encode(),
            "utf-8",
            "record 1: note has 'Ã¢', which reads like 'â' in UTF-8",
        ),
        (
            FRENCH.encode("cp1252"),
            "latin-1",
            "record 1: note has the control character '\\x93': try data.encoding cp1252",
        ),
        (FRENCH.replace("â", "\ufffd").encode(), "utf-8", "record 1: note has U+FFFD in place of a character"),
        (FRENCH.encode("utf-7"), "utf-8", "which reads 'â' in UTF-7: name the file's encoding, data.encoding utf-7"),
        (
            FRENCH.replace("â", "番").encode("iso2022_jp", "replace"),
            "utf-8",
            "note has '\\x1b$B', as in iso2022_jp: name",
        ),
        (
            FRENCH.replace("â", "号").encode("hz", "replace"),
            "utf-8",
            "~}', as in hz: name the file's encoding, data.enc",
        ),
    ],
)
def test_characters_of_a_wrong_encoding_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, written: bytes, encoding: str, expected: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(written)
    assert len(load(path, encoding=encoding, **OWN)) == 60
    (message,) = caplog.messages
    assert expected in message


def test_surrogates_in_utf_8_are_named(tmp_path: Path) -> None:
    written = FRENCH.replace("â", "🍷").encode("utf-16-le", "surrogatepass")
    units = (written[start : start + 2].decode("utf-16-le", "surrogatepass") for start in range(0, len(written), 2))
    path = tmp_path / "a.csv"
    path.write_bytes("".join(units).encode("utf-8", "surrogatepass"))
    assert "is not utf-8 but a surrogate, as in CESU-8: correct the file: data.decode(" in load_error(str(path), **OWN)


def test_modified_utf_8_is_named_with_a_repair_that_works(tmp_path: Path) -> None:
    """Java writes NUL as two bytes, and each surrogate by itself."""
    wine = "".join(unit.to_bytes(2, "little").decode("utf-16-le", "surrogatepass") for unit in (0xD83C, 0xDF77))
    written = FRENCH.replace("â", wine).encode("utf-8", "surrogatepass").replace(b"e", b"e\xc0\x80")
    path = tmp_path / "a.csv"
    path.write_bytes(written)
    error = load_error(str(path), **OWN)
    assert "is not utf-8 but modified UTF-8, as Java writes it: correct the file: data.replace(" in error
    repaired = eval(error.partition("correct the file: ")[2], {"data": written})
    assert repaired == FRENCH.replace("â", "🍷")
    path.write_bytes(FRENCH.replace("â", "a").encode("ascii", "replace").replace(b"e", b"\xc0\x80"))
    assert "modified UTF-8" in load_error(str(path), **OWN)
    path.write_bytes(written + b"\xc0")
    assert "modified UTF-8" not in load_error(str(path), **OWN)


def test_json_text_sequences_are_read(tmp_path: Path) -> None:
    for suffix in ("json", "jsonl"):
        rows = [f'\x1e{{"kind": "a", "note": "text {number}"}}\n' for number in range(4)]
        assert notes(tmp_path / f"a.{suffix}", "".join(rows)) == [f"text {number}" for number in range(4)]


def test_right_characters_are_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = [
        "«café» … É” à»",
        "SÃO JOÃO … MAÇÃ”",
        "Ça, ñ, ÂME",
        "Ελληνικά",
        "葡萄酒",
        "🍷",
        "Đà Nẵng",
        "+abc-",
        "5+5-",
        "a+AAAA-",
    ]
    rows = "".join(f'a,"{text}"\n' for text in texts)
    assert notes(tmp_path / "a.csv", f"kind,note\n{rows}") == texts
    assert not caplog.messages
