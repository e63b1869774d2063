"""The review template: render, split and parse texts; save it with a model and load it."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.refused import refused
from transformers import PreTrainedTokenizerFast

from wine_gpt.commands.score import read_config
from wine_gpt.config import PretrainConfig
from wine_gpt.data.template import CLASS_TEMPLATE, COMPOSED, ReviewTemplate, require_template
from wine_gpt.errors import UserError

RECORD = {"country": "US", "province": "Oregon", "variety": "Pinot Noir", "description": "Dry: it's crisp."}
HEADER = "wine review : US : Oregon : Pinot Noir :"
TEXT = f"{HEADER} Dry: it's crisp."

words = st.text(st.characters(categories=["L", "P", "N"]), min_size=1).filter(lambda word: word != ":")
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)


@st.composite
def templates_and_records(draw: st.DrawFn) -> tuple[ReviewTemplate, dict[str, str]]:
    """Return a template and a record whose values hold no colon between spaces."""
    fields = tuple(f"field {number}" for number in range(draw(st.integers(0, 3))))
    template = ReviewTemplate(draw(st.just("") | phrases), fields, "text")
    return template, {column: draw(phrases) for column in template.columns}


@given(templates_and_records())
def test_parse_inverts_render(drawn: tuple[ReviewTemplate, dict[str, str]]) -> None:
    template, record = drawn
    text = template.render(record)
    assert template.parse(text) == record
    assert template.split(text) == (template.header(record), record["text"])
    columns = {column: pa.array([value]) for column, value in record.items()}
    assert template.render_columns(columns).to_pylist() == [text]


def test_the_template_of_the_class() -> None:
    assert CLASS_TEMPLATE.render(RECORD) == TEXT
    assert CLASS_TEMPLATE.header(RECORD) == HEADER
    assert CLASS_TEMPLATE.split(TEXT) == (HEADER, RECORD["description"])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (TEXT, RECORD),
        (TEXT.lower(), {name: value.lower() for name, value in RECORD.items()}),
        ("wine review : US : Oregon : Pinot Noir : dry : crisp", {**RECORD, "description": "dry : crisp"}),
        (HEADER, {**RECORD, "description": ""}),
        # the last value may have been cut
        ("wine review : US : Oreg", {"country": "US"}),
        ("wine review : US :", {"country": "US"}),
        ("wine review", {}),
        ("", {}),
        ("a wine : US : Oregon : Pinot Noir : dry", {}),
    ],
)
def test_a_field_is_parsed_up_to_its_colon(text: str, values: dict[str, str]) -> None:
    assert CLASS_TEMPLATE.parse(text) == values


@pytest.mark.parametrize(
    ("text", "running"),
    [
        (TEXT, RECORD["description"]),
        ("Wine review: US: Oregon: Pinot Noir: Dry: crisp", "Dry: crisp"),
        ("wine review:us:oregon:pinot noir:dry", "dry"),
        ("wine review : US : Napa:Valley : Merlot : Dry : crisp", "Dry : crisp"),
        (HEADER, ""),
        ("wine review : US : Oreg", ""),
        ("wine review: US", ""),
        ("wine review", "wine review"),
        ("Note: a : b : c : d : e", "Note: a : b : c : d : e"),
    ],
)
def test_the_running_text_follows_the_header_as_typed(text: str, running: str) -> None:
    assert CLASS_TEMPLATE.running_text(text) == running


def test_without_a_prefix_only_colons_between_spaces_end_a_value() -> None:
    template = ReviewTemplate("", ("country", "variety"), "text")
    assert template.running_text("Italy : Barolo : Dry.") == "Dry."
    assert template.running_text("Italy : Bar") == ""
    assert template.running_text("Note: dry") == "Note: dry"


def test_a_prompt_ends_before_the_first_missing_field() -> None:
    assert CLASS_TEMPLATE.prompt({}) == "wine review"
    assert CLASS_TEMPLATE.prompt({"country": "italy", "variety": "malbec"}) == "wine review : italy"
    assert CLASS_TEMPLATE.prompt(RECORD) == HEADER
    assert ReviewTemplate("", ("country",), "text").prompt({}) == ""


def test_numbers_are_written_as_in_the_texts_of_arrow_columns() -> None:
    template = ReviewTemplate("", ("points", "price"), "text")
    record = {"points": 90, "price": 15.0, "text": "Dry."}
    columns = {column: pa.array([value]) for column, value in record.items()}
    assert template.render(record) == template.render_columns(columns)[0].as_py() == "90 : 15 : Dry."


def test_the_header_is_measured_in_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    # wine review : us : oregon : pinot noir :
    assert CLASS_TEMPLATE.header_length(RECORD, tokenizer) == 10
    assert CLASS_TEMPLATE.header_length({**RECORD, "province": "A-B : C"}, tokenizer) == 14


def test_no_column_may_have_the_name_of_the_composed_text() -> None:
    assert f"no column can be called {COMPOSED}: rename it" in refused(ReviewTemplate, "", (COMPOSED,), "text")


def test_it_is_saved_as_plain_json(tmp_path: Path) -> None:
    template = ReviewTemplate("pavé", ("topic", "mood"), "text")
    template.save(tmp_path)
    saved = json.loads((tmp_path / "review_template.json").read_text(encoding="utf-8"))
    assert saved == {"prefix": "pavé", "fields": ["topic", "mood"], "text_field": "text"}
    assert ReviewTemplate.load(tmp_path) == template


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("[]", "must hold an object"),
        ('{"prefix": "a", "fields": "b", "text_field": "c"}', "fields a list of texts"),
        ('{"prefix": 1, "fields": [], "text_field": "c"}', "prefix and text_field must be texts"),
        ('{"prefix": "a", "fields": []}', "has no text_field"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "review_template.json").write_text(content)
    error = refused(ReviewTemplate.load, tmp_path)
    assert f"{tmp_path / 'review_template.json'} " in error
    assert message in error


def test_scoring_a_model_without_a_config_reads_the_texts_form_from_the_template(tmp_path: Path) -> None:
    ReviewTemplate("note", ("topic",), "text").save(tmp_path)
    config, _ = read_config([str(tmp_path), "--data.path", "notes.jsonl"])
    assert ReviewTemplate.from_config(config.data) == ReviewTemplate("note", ("topic",), "text")


def test_a_template_that_contradicts_the_config_is_refused(tmp_path: Path) -> None:
    config = PretrainConfig()
    CLASS_TEMPLATE.save(tmp_path)
    require_template(tmp_path, config.data)
    ReviewTemplate("note", ("topic",), "text").save(tmp_path)
    error = refused(require_template, tmp_path, config.data)
    assert "review_template.json and config.yaml describe different texts" in error


def test_a_mistyped_run_is_not_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="no such folder: runs/typo"):
        ReviewTemplate.load("runs/typo")


@pytest.mark.parametrize(
    ("prefix", "fields", "record", "field"),
    [
        ("wine review", ("country", "variety"), {"country": "Italy", "variety": "Riesling"}, "variety"),
        ("wine review", ("country", "variety"), {"country": "Italy", "variety": "Riesling"}, "country"),
        ("", ("country",), {"country": "Côte d'Ivoire"}, "country"),
        ("a : b", ("variety", "country"), {"country": "x", "variety": "Bordeaux-style Red Blend"}, "variety"),
        ("wine", ("variety",), {"variety": "Rosé : brut"}, "variety"),
        ("wine", ("variety",), {"variety": "../../x"}, "variety"),
        ("wine", ("variety",), {"variety": "  two   spaces "}, "variety"),
        ("wine", ("points",), {"points": 15.0}, "points"),
        ("wine", ("variety",), {"variety": "[UNK] [EOS]"}, "variety"),
        ("wine", ("country", "variety"), {"country": "wine", "variety": "wine"}, "variety"),
        ("wine", ("variety",), {"variety": ""}, "variety"),
        ("wine", ("variety",), {"variety": "梅酒"}, "variety"),
    ],
)
def test_the_span_of_a_fields_value(
    tokenizer: PreTrainedTokenizerFast, prefix: str, fields: tuple[str, ...], record: dict[str, object], field: str
) -> None:
    template = ReviewTemplate(prefix, fields, "description")
    text = template.render({**record, "description": "It's dry. wine : wine"})
    start, end = template.value_token_span(record, field, tokenizer)

    def words(text: str) -> list[str]:
        encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        return [text[first:last] for first, last in encoded["offset_mapping"]]

    value = record[field]
    assert words(text)[start:end] == words("15" if value == 15.0 else str(value))
    assert words(text)[end] == ":"
