"""The bundled sample: the grammar reproduces it, it has Kaggle's form, and its reviews fit their wines."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.records import COLUMNS
from support.refused import refused_script

from tools.sample_grammar.__main__ import main
from tools.sample_grammar.grammar import Record, generate_records
from tools.sample_grammar.lexicon import STYLES, VARIETIES
from tools.sample_grammar.regions import PROVINCES
from wine_gpt.data.sources import SAMPLE_PATH

NEVER_NULL = ("points", "title", "description", "winery")


@pytest.fixture(scope="module")
def sample() -> list[Record]:
    return json.loads(SAMPLE_PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def many() -> list[Record]:
    """Return enough records for most sentences of each province, grape and rank to occur."""
    return list(generate_records(6_000, seed=1))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["sample", *arguments])
    main()


def test_without_options_the_bundled_file_is_written_bit_for_bit(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "tools.sample_grammar"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=True,
    )
    assert (tmp_path / SAMPLE_PATH.name).read_bytes() == SAMPLE_PATH.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == [SAMPLE_PATH.name]


def test_neither_sample_nor_grammar_imports_torch_or_datasets() -> None:
    code = "import sys, tools.sample_grammar.__main__; print({'torch', 'datasets', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_file_has_kaggles_form(sample: list[Record]) -> None:
    text = SAMPLE_PATH.read_text(encoding="ascii")
    # json.dumps writes as Kaggle's file does: one line, ", " and ": ", other characters escaped
    assert text == json.dumps(sample)
    assert len(sample) == 2000
    for record in sample:
        assert list(record) == COLUMNS
        assert re.fullmatch(r"8\d|9\d|100", str(record["points"]))
        assert record["price"] is None or type(record["price"]) is int
        assert all(type(record[key]) is str for key in NEVER_NULL)
        assert all(type(value) in (str, type(None)) for key, value in record.items() if key != "price")


def test_it_has_some_of_the_real_files_nulls_and_duplicates(sample: list[Record]) -> None:
    nulls = Counter(key for record in sample for key, value in record.items() if value is None)
    assert 2 <= nulls["country"] == nulls["province"] <= 10
    assert 1 <= nulls["variety"] <= 5
    for key, fewest in {
        "price": 80,
        "taster_name": 300,
        "designation": 400,
        "region_1": 200,
        "region_2": 1000,
    }.items():
        assert fewest <= nulls[key] <= 1600
    repeated = len(sample) - len({record["description"] for record in sample})
    whole = len(sample) - len({json.dumps(record) for record in sample})
    assert 10 <= repeated <= 40
    assert 3 <= whole < repeated


@pytest.mark.parametrize(
    "oddity", ["’", "13.5%", '"', "full-bodied", "é", "ñ", "ü", ".  ", " (", ": ", "–", "1,200 cases"]
)
def test_it_has_the_real_files_special_characters(sample: list[Record], oddity: str) -> None:
    assert any(oddity in json.dumps(record, ensure_ascii=False).replace('\\"', '"') for record in sample)
    if oddity not in "ñü":
        assert any(oddity in str(record["description"]) for record in sample)


def test_grapes_grow_in_their_regions(many: list[Record]) -> None:
    grown = {
        (province.country, province.name, region.name, region.region_2, variety)
        for province in PROVINCES
        for region in province.regions
        for variety in region.varieties
    }
    complete = [record for record in many if record["country"] and record["variety"]]
    keys = ("country", "province", "region_1", "region_2", "variety")
    assert {tuple(record[key] for key in keys) for record in complete} <= grown
    by_province = {(record["province"], record["variety"]) for record in complete}
    assert ("Piedmont", "Nebbiolo") in by_province
    assert ("Mosel", "Malbec") not in by_province
    assert {variety for province, variety in by_province if province == "Mosel"} == {"Riesling"}
    assert len({record["country"] for record in complete}) == 12
    assert len({record["province"] for record in complete}) >= 35
    assert len({record["variety"] for record in complete}) >= 40


def test_reviews_describe_their_grape(many: list[Record]) -> None:
    def typical(record: Record, variety: str) -> bool:
        table = VARIETIES[variety].table
        return sum(word in str(record["description"]).lower() for word in {*table["note"], *table["trait"]}) >= 2

    named = [record for record in many if record["variety"] in VARIETIES and record["region_1"] != "Sauternes"]
    assert sum(typical(record, str(record["variety"])) for record in named) >= 0.97 * len(named)
    # common fruit fits any grape, so another grape's words must fit far less often
    others = itertools.cycle(["Nebbiolo", "Riesling", "Gewürztraminer", "Syrah"])
    mismatched = [(record, other) for record, other in zip(named, others, strict=False) if record["variety"] != other]
    assert sum(typical(record, other) for record, other in mismatched) <= 0.4 * len(mismatched)


def test_whites_have_no_tannins_and_reds_do(many: list[Record]) -> None:
    reds = {"light red", "bold red", "fortified"}
    mention = Counter(
        (VARIETIES[str(record["variety"])].style in reds, "tannin" in str(record["description"]))
        for record in many
        if record["variety"]
    )
    assert mention[False, True] == 0
    assert mention[True, True] >= 0.7 * (mention[True, True] + mention[True, False])


def test_reviews_are_of_kaggles_length_and_better_wines_get_more_words(many: list[Record]) -> None:
    lengths = [len(str(record["description"]).split()) for record in many]
    assert 45 <= sum(lengths) / len(lengths) <= 55
    assert min(lengths) >= 20
    assert max(lengths) <= 110

    def mean(fewest: int, most: int) -> float:
        rank = [
            length
            for length, record in zip(lengths, many, strict=True)
            if fewest <= int(str(record["points"])) <= most
        ]
        return sum(rank) / len(rank)

    assert mean(80, 84) < mean(85, 88) < mean(89, 92) < mean(93, 100)


def test_descriptions_differ_and_words_are_many(sample: list[Record], many: list[Record]) -> None:
    assert len({record["description"] for record in many}) >= 0.97 * len(many)
    words = Counter(re.findall(r"[^\W\d_]+", " ".join(str(record["description"]).lower() for record in sample)))
    assert 1200 <= len(words) <= 2500


LEFTOVERS = {
    "a slot": r"[{}]|%s|None",
    "space before punctuation": r" [,.;:]",
    "two spaces within a sentence": r"(?<!\.)  ",
    "doubled punctuation": r"[,.;:][,.;:]",
    "a before a vowel": r"\b[Aa] [aeiouAEIOUé]",
    "an before a consonant": r"\b[Aa]n (?!ho(nest|ur))[^aeiouAEIOUé]",
    "a small letter after a full stop": r"(^|\. +)[a-zé]",
    "no full stop at the end": r"[^.]$",
    "a doubled word": r"(?i)\b(?!walla|\w+, )(\w+) \1\b",
    "the number of a wine without vintage": r"\bNV\b",
}


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_no_text_has_leftovers_of_the_grammar(many: list[Record], leftover: str) -> None:
    found = [
        str(record["description"]) for record in many if re.search(LEFTOVERS[leftover], str(record["description"]))
    ]
    assert not found, found[:3]


def test_no_list_names_a_thing_twice(many: list[Record]) -> None:
    # a redraw fails when the options run out, so a few are allowed
    twice = [
        text for record in many if re.search(r"\b(?!Walla)(\w+),? (?:and )?\1\b", text := str(record["description"]))
    ]
    assert len(twice) <= 0.001 * len(many)


def test_years_in_a_review_agree_with_the_title(many: list[Record]) -> None:
    checked = 0
    for record in many:
        text, harvest = str(record["description"]), re.search(r" (20\d\d|19\d\d) ", str(record["title"]))
        if harvest and (window := re.search(r"(\d{4})–(\d{4})", text)):
            assert int(harvest[1]) < int(window[1]) < int(window[2])
            checked += 1
        if harvest and (year := re.search(r"(?:[Tt]he|even|hot) (\d{4}) (?:vintage|season|harvest)", text)):
            assert year[1] == harvest[1]
            checked += 1
    assert checked > 300


def test_percentages_of_a_blend_do_not_contradict_each_other(many: list[Record]) -> None:
    for record in many:
        blends = re.findall(
            r"(?:blend of|composed of|mix of|blend \() ?([^,.)]*(?:%|\band\b)[^.),]*)", str(record["description"])
        )
        assert len(set(blends)) <= 1, record["description"]


def test_a_smaller_count_is_the_beginning_of_a_larger_one() -> None:
    longer = generate_records(500, seed=7)
    assert list(generate_records(100, seed=7)) == list(itertools.islice(longer, 100))
    assert list(generate_records(100, seed=8)) != list(generate_records(100, seed=7))


def test_changing_a_record_changes_no_later_one() -> None:
    clean = list(generate_records(3000))
    for record, untouched in zip(generate_records(3000), clean, strict=True):
        assert record == untouched
        record.clear()


def test_json_lines_hold_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "--count", "50", "--seed", "3", "--output", str(tmp_path / "x.jsonl"))
    run(monkeypatch, "--count", "50", "--seed", "3", "--output", str(tmp_path / "x.json"))
    lines = (tmp_path / "x.jsonl").read_text(encoding="ascii")
    assert lines.endswith("}\n")
    assert [json.loads(line) for line in lines.splitlines()] == json.loads((tmp_path / "x.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "/dev/null/sample.json"], "can't write /dev/null/sample.json"),
        (["--output", "."], "can't write ."),
        (["--count", "0"], "--count is 0"),
    ],
)
def test_wrong_options_give_a_one_line_error(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused_script(capsys, run, monkeypatch, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(count: int, seed: int) -> Iterator[Record]:
        yield from generate_records(count - 1, seed)
        raise KeyboardInterrupt

    file = tmp_path / "sample.json"
    file.write_text("old")
    monkeypatch.setattr("tools.sample_grammar.__main__.generate_records", interrupted)
    with pytest.raises(SystemExit):
        run(monkeypatch, "--output", str(file))
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_every_style_and_grape_is_used() -> None:
    used = {
        region.style or VARIETIES[variety].style
        for province in PROVINCES
        for region in province.regions
        for variety in region.varieties
    }
    assert used == set(STYLES)
    grown = {variety for province in PROVINCES for region in province.regions for variety in region.varieties}
    assert grown == set(VARIETIES)
