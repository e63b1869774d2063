"""The demo's results are those of transformers, and it validates what visitors send."""

import errno
import html
import json
import math
import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import safetensors.torch
import torch
from safetensors.numpy import load_file, save_file
from support.toy_model import train_toy
from transformers import AutoModelForCausalLM, PreTrainedModel, set_seed

pytest.importorskip("gradio", reason="the demo's packages are not installed")

from support.space_model import write_prompt_tuning

import attention
import field_values
import template
import validation
from attention import View
from backend import Backend, Request, Written
from engine import BASE, Engine, Settings, adapter_name
from field_values import FieldValues
from i18n import UserFacingError, language_of, page_texts
from model_source import ModelSource, choose_adapters, choose_model
from template import Template
from wine_gpt import run_folder
from wine_gpt.data.template import CLASS_TEMPLATE, ReviewTemplate
from wine_gpt.evaluation.ngram_filter import FILE_NAME
from wine_gpt.evaluation.ngram_index import build_index
from wine_gpt.generation.generate import generate_texts
from wine_gpt.generation.prompts import printed_prompt
from wine_gpt.publishing import published_files as run_files
from wine_gpt.publishing.explorer_files import MODEL_FILES, is_model_file
from wine_gpt.publishing.staging import copy_demo
from wine_gpt.tokenizer import class_words

SPACE = Path(__file__).parents[1] / "space"
PROMPT = "Wine review: Italy"
HEADER = "wine review : italy : tuscany : riesling :"
ADAPTERS = ("pinot-noir", "riesling")


@pytest.fixture(scope="module")
def demo(demo_model: Path) -> Backend:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINE_GPT_MODEL", str(demo_model))
        patch.setenv("WINE_GPT_ADAPTERS", ", ".join(f"{demo_model}-{name}" for name in ADAPTERS))
        return Backend()


@pytest.fixture(scope="module")
def lines_demo(lines_model: Path) -> Backend:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINE_GPT_MODEL", str(lines_model))
        return Backend()


@pytest.fixture(scope="module")
def engine(demo: Backend) -> Engine:
    assert demo.engine is not None
    return demo.engine


def alone(demo_model: Path, adapter: str) -> PreTrainedModel:
    """Return the model as transformers and peft load it, with the adapter merged into the weights."""
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(demo_model, attn_implementation="eager").eval()
    if adapter == BASE:
        return model
    return PeftModel.from_pretrained(model, f"{demo_model}-{adapter}").merge_and_unload().eval()


# ---- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [BASE, *ADAPTERS])
@pytest.mark.parametrize(("temperature", "top_p", "length"), [(0.8, 1.0, 60), (1.7, 0.6, 9), (1.0, 0.95, 60)])
def test_it_writes_what_transformers_generates(
    engine: Engine, demo_model: Path, adapter: str, temperature: float, top_p: float, length: int
) -> None:
    ids = engine.encode("prompt", PROMPT).ids
    written = [word for piece in engine.write(ids, Settings(temperature, top_p, length, 7), adapter) for word in piece]
    model = alone(demo_model, adapter)
    set_seed(7)
    expected = model.generate(
        torch.tensor([ids]),
        temperature=temperature,
        top_p=top_p,
        max_length=min(len(ids) + length, engine.positions),
        max_new_tokens=None,
    )
    assert written == expected[0, len(ids) :].tolist()


@pytest.mark.parametrize("adapter", [BASE, "riesling"])
@pytest.mark.parametrize(
    "prompt",
    [
        HEADER,
        "Wine review: Italy: Tus",
        "wine review : italy:tuscany : riesling : sangiovese :",
        "plum and",
        "wine review : : tuscany : gamay : dry",
    ],
)
def test_guided_texts_are_those_of_the_package(demo: Backend, demo_model: Path, adapter: str, prompt: str) -> None:
    *_, written = demo.write(prompt, adapter, temperature=1.0, guidance=5, seed=8)
    settings = {"temperature": 1.0, "top_p": 1.0, "guidance_scale": 5.0}
    tokenizer = demo.engine.tokenizer
    (expected,) = generate_texts(
        alone(demo_model, adapter), tokenizer, [prompt], seed=8, template=CLASS_TEMPLATE, **settings
    )
    assert written.text.split() == expected.split()


@pytest.mark.parametrize("keeps_lines", [False, True], ids=["spaces", "lines"])
def test_a_prompt_is_read_as_by_the_package(demo: Backend, lines_demo: Backend, keeps_lines: bool) -> None:
    app = lines_demo if keeps_lines else demo
    for prompt in (f"{HEADER} ", f" \n{HEADER}", f"{HEADER} plum\r\n", "plum [EOS] [UNK]", " \n", ""):
        *_, written = app.write(prompt, temperature=1.0, top_p=1.0, seed=8)
        model = alone(Path(app.source.name), BASE)
        settings = {"seed": 8, "temperature": 1.0, "top_p": 1.0}
        assert [written.text] == generate_texts(model, app.engine.tokenizer, [prompt], **settings)
        # the explorer shows the linked ids after the linked prompt
        link = dict(parse_qsl(written.explorer_link, keep_blank_values=True))
        assert link["prompt"] == printed_prompt(app.engine.tokenizer, prompt)


def test_a_text_begins_with_bos_also_if_the_tokenizer_adds_none(demo_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "without-bos"
    shutil.copytree(demo_model, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINE_GPT_MODEL", str(folder))
        app = Backend()
    assert app.engine is not None
    settings = {"seed": 8, "temperature": 1.0, "top_p": 1.0}
    for prompt in ("", HEADER):
        *_, written = app.write(prompt, **settings)
        assert [written.text] == generate_texts(alone(folder, BASE), app.engine.tokenizer, [prompt], **settings)
        *_, guided = app.write(prompt, guidance=5, **settings)
        assert [guided.text] == generate_texts(
            alone(folder, BASE),
            app.engine.tokenizer,
            [prompt],
            template=CLASS_TEMPLATE,
            guidance_scale=5.0,
            **settings,
        )
    assert app.attention("plum and oak")["words"] == ["▸", "plum", "and", "oak"]
    with pytest.raises(UserFacingError, match="prompt: 200 words, at most 62 fit"):
        list(app.generate("a " * 200))


def test_the_first_piece_is_one_word(engine: Engine) -> None:
    pieces = engine.write(engine.encode("prompt", PROMPT).ids, Settings(1.0, 1.0, 20, 1), BASE)
    assert len(next(pieces)) == 1


def test_texts_written_at_once_are_those_written_alone(engine: Engine) -> None:
    ids = engine.encode("prompt", PROMPT).ids
    settings = Settings(1.5, 1.0, 40, 3)
    names = [BASE, *ADAPTERS]
    expected = [[word for piece in engine.write(ids, settings, name) for word in piece] for name in names]
    assert expected[0] != expected[1] != expected[2]
    streams = [engine.write(ids, settings, name) for name in names]
    written: list[list[int]] = [next(stream) for stream in streams]
    for own, stream in zip(written, streams, strict=True):
        own += [word for piece in stream for word in piece]
    assert written == expected


# ---- explaining -----------------------------------------------------------------------------------------------------


def test_explaining_leaves_generation_to_the_fast_attention(engine: Engine) -> None:
    ids = engine.encode("text", PROMPT).ids
    attention.attention_weights(engine, ids, BASE, View(None, None))
    with engine.using(BASE) as model:
        # scaled_dot_product_attention returns no weights
        output = model(torch.tensor([ids]), output_attentions=True)
    assert not any(weights is not None for weights in output.attentions)


def test_the_api_returns_what_transformers_computes(demo: Backend, engine: Engine, demo_model: Path) -> None:
    tokenizer = engine.tokenizer
    inputs = tokenizer([HEADER], return_tensors="pt")
    with torch.no_grad():
        output = alone(demo_model, BASE)(inputs["input_ids"], output_attentions=True)
    logits = output.logits[0, -1]
    logits[[tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id]] = -torch.inf
    best = logits.softmax(-1).topk(3)
    found = demo.next_words(HEADER, temperature=0.5, count=3)
    assert [entry["word"] for entry in found] == tokenizer.convert_ids_to_tokens(best.indices.tolist())
    assert [entry["probability"] for entry in found] == pytest.approx(best.values.tolist(), abs=1e-6)
    assert [entry["at_temperature"] for entry in found] == pytest.approx(
        (logits / 0.5).softmax(-1)[best.indices].tolist(), abs=1e-6
    )
    shown = demo.attention(HEADER, layer=1, head=0)
    assert shown["words"] == ["▸", *HEADER.split()]
    for at, row in enumerate(shown["weights"]):
        assert row == pytest.approx(output.attentions[1][0, 0, at, : at + 1].tolist(), abs=1e-6)


def test_a_prompt_that_spells_a_special_token_has_plain_words(engine: Engine) -> None:
    prompt = engine.encode("prompt", "wine [EOS]")
    assert engine.tokenizer.eos_token_id not in prompt.ids
    assert [word.strip() for word in prompt.words] == ["", "wine", "[", "EOS", "]"]
    assert not engine.knows("[EOS]")


# ---- comparing, links, the explorer's files -------------------------------------------------------------------------


def test_compared_texts_are_those_written_alone(demo: Backend) -> None:
    sides = [(HEADER, BASE, 0.9), ("wine review : spain : rioja : tempranillo :", "riesling", 1.4)]
    *_, compared = demo.compare(*sides, 11)
    for (prompt, model, temperature), written in zip(sides, compared, strict=True):
        *_, written_alone = demo.write(prompt, model, temperature, seed=11)
        assert written == written_alone


def test_the_link_of_a_stopped_text_writes_what_was_written(demo: Backend) -> None:
    stopped = next(demo.write(HEADER, "riesling", 1.3, 0.8, 2, 60, 99))
    assert not stopped.complete
    link = dict(parse_qsl(stopped.link))
    assert float(link.pop("temperature")) == 1.3
    assert float(link.pop("top_p")) == 0.8
    assert float(link.pop("guidance")) == 2
    assert link == {"prompt": HEADER, "model": "riesling", "length": str(len(stopped.ids)), "seed": "99"}
    *_, again = demo.write(HEADER, "riesling", 1.3, 0.8, 2, len(stopped.ids), 99)
    assert (again.text, again.complete) == (stopped.text, True)


def test_the_explorer_gets_each_model_with_its_adapter_merged(demo: Backend, demo_model: Path) -> None:
    assert demo.model_file(BASE, "model.safetensors") == demo_model / "model.safetensors"
    assert demo.model_file("riesling", "tokenizer.json") == demo_model / "tokenizer.json"
    for name in ADAPTERS:
        file = demo.model_file(name, "model.safetensors")
        assert file is not None
        assert demo.model_file(name, "config.json") == file.with_name("config.json")
        expected = alone(demo_model, name).state_dict()
        for key, tensor in safetensors.torch.load_file(file).items():
            torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-6)


def test_the_explorer_gets_a_folders_files_as_they_are_now(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from serving import ExplorerRoutes

    folder = tmp_path / "wine-gpt"
    shutil.copytree(demo_model, folder)
    monkeypatch.setenv("WINE_GPT_MODEL", str(folder))
    explorer = TestClient(Starlette(routes=ExplorerRoutes(Backend()).routes()))

    def ask(name: str) -> tuple[int, bytes]:
        answer = explorer.get(f"/explorer/model/base/{name}")
        return answer.status_code, answer.content

    epochs = f"{run_folder.EPOCHS}/{run_folder.EPOCH_INDEX}"
    assert (ask(FILE_NAME)[0], ask(epochs)[0]) == (200, 404)
    (folder / FILE_NAME).unlink()
    (folder / run_folder.EPOCHS).mkdir()
    (folder / epochs).write_bytes(b"[]")
    assert (ask(FILE_NAME)[0], ask(epochs)) == (404, (200, b"[]"))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (BASE, "config.yaml"),
        (BASE, "README.md"),
        (BASE, "../wine-gpt/config.json"),
        (BASE, "epochs/../config.json"),
        (BASE, "epochs/index.json"),
        ("riesling", "adapter_model.safetensors"),
        ("riesling", "epochs/index.json"),
        ("other", "config.json"),
        ("..", "config.json"),
    ],
)
def test_the_explorer_gets_no_other_file(demo: Backend, model: str, name: str) -> None:
    assert demo.model_file(model, name) is None


def test_the_explorers_files_are_those_of_a_run() -> None:
    names = (*run_files.MODEL_FILES, *run_files.TOKENIZER_FILES, run_folder.TEMPLATE, run_files.NGRAM_INDEX)
    assert set(names) == set(MODEL_FILES)
    assert is_model_file(f"{run_folder.EPOCHS}/{run_folder.EPOCH_INDEX}")
    assert is_model_file(f"{run_folder.EPOCHS}/{run_folder.epoch_weights(12)}")


# ---- copy check -----------------------------------------------------------------------------------------------------


def test_copied_words_are_those_that_the_model_wrote(demo: Backend) -> None:
    copied = "It's a full-bodied, bright wine with plum and"
    *_, typed = demo.write(f"{HEADER} {copied} oak", temperature=0.1, length=1, seed=1)
    check = demo.check_copies(typed)
    assert check is not None
    assert (check.run, check.words, check.index.reviews) == ((), 1, 216)
    *_, written = demo.write(HEADER, temperature=0.8, seed=7)
    check = demo.check_copies(written)
    assert check is not None
    assert " ".join(check.run).startswith("it ' s a")
    assert len(check.run) >= check.index.n
    assert check.words == len(written.ids) - 1
    # the header is not running text
    for prompt, header in (("wine review", 4 + 3), ("Wine review:Italy:", 2 + 2)):
        *_, with_header = demo.write(prompt, temperature=0.1, length=12, seed=1)
        check = demo.check_copies(with_header)
        assert check is not None
        assert check.words == 12 - header


def test_a_copied_text_with_lines_is_found(lines_demo: Backend) -> None:
    *_, written = lines_demo.write(HEADER, temperature=0.1, seed=1)
    assert written.text.count("\n") > 1
    check = lines_demo.check_copies(written)
    assert check is not None
    assert " ".join(check.run).startswith("it ' s a")
    assert len(check.run) >= check.index.n


@pytest.mark.parametrize(
    "text",
    [
        r"a\b back\slash [x]\]^_` and {y}|~ of the old, bright wine",
        "ΟΔΟΣ ΣΟΦΟΣ of the old sea İzmir and Cafe\u0301 with ß and \u212b, a\u00a0b \u2028 wine",
    ],
)
def test_copies_are_found_in_any_text_by_the_words_of_the_index(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "bpe"
    train_toy(folder, "bpe", positions=300, epochs=0)
    build_index([text], folder / FILE_NAME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINE_GPT_MODEL", str(folder))
        demo = Backend()
    assert demo.engine is not None
    request = Request(demo.engine.encode("prompt", ""), Settings(1.0, 1.0, 1, 1), BASE)
    ids = tuple(demo.engine.tokenizer(text, add_special_tokens=False)["input_ids"])
    check = demo.check_copies(Written(request, ids, text, True))
    assert check is not None
    assert (check.words, len(check.run)) == (len(class_words(text)), 12)


def test_a_model_that_did_not_learn_unknown_words_is_not_guided(tmp_path: Path) -> None:
    train_toy(tmp_path / "characters", "characters", positions=300, epochs=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINE_GPT_MODEL", str(tmp_path / "characters"))
        demo = Backend()
    assert next(demo.write("wine review : italy :", length=1)).ids
    with pytest.raises(UserFacingError, match="guidance: must be a number from 1 to 1"):
        next(demo.write("wine review : italy :", guidance=2, length=1))


@pytest.mark.parametrize("damage", ["cut", "metadata"])
def test_a_damaged_index_is_named_and_the_demo_works(
    toy_run: Path, demo_model: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(toy_run, tmp_path / "model")
    path, sound = tmp_path / "model" / FILE_NAME, demo_model / FILE_NAME
    if damage == "cut":
        path.write_bytes(sound.read_bytes()[:-10])
    else:
        save_file(load_file(sound), path, {"index": "[]"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINE_GPT_MODEL", str(tmp_path / "model"))
        demo = Backend()
    assert [str(problem) for problem in demo.problems] == [
        f"{FILE_NAME} can't be used: it is damaged or has another format than wine_gpt.ngrams.v2."
    ]
    *_, written = demo.write(HEADER, seed=7)
    assert demo.check_copies(written) is None


def test_a_model_without_an_index_reports_no_copying(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINE_GPT_MODEL", str(toy_run))
    demo = Backend()
    assert demo.problems == []
    *_, written = demo.write(HEADER, seed=7)
    assert demo.check_copies(written) is None


# ---- casing, regions ------------------------------------------------------------------------------------------------


def test_regions_are_the_samples_and_those_that_the_model_knows(demo: Backend) -> None:
    from tools.write_regions import regions as sample_regions

    assert json.loads(field_values.FILE.read_text(encoding="utf-8")) == sample_regions()
    assert demo.field_values.fields == ("country", "province", "variety")
    assert demo.field_values.options() == ["Germany", "Italy"]
    assert demo.field_values.options(["Germany"]) == ["Mosel"]
    assert demo.field_values.options(["Italy", "Tuscany"]) == ["Sangiovese"]
    assert demo.field_values.match(["italy", "TUSCANY", "riesling"]) == ["Italy", "Tuscany"]


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        (("variety", "country"), ("variety", "country")),
        (("country", "winery", "variety"), ("country",)),
        (("winery", "country"), ()),
        ((), ()),
    ],
)
def test_regions_are_offered_for_the_leading_fields_that_have_some(
    engine: Engine, fields: tuple[str, ...], offered: tuple[str, ...]
) -> None:
    found = FieldValues(Template("wine", fields), engine.knows)
    assert found.fields == offered
    if offered[:1] == ("variety",):
        assert found.options() == ["Riesling", "Sangiovese", "Tempranillo"]
        assert found.options(["Riesling"]) == ["Germany"]


# ---- another corpus -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "fields", "text", "header", "values"),
    [
        ("wine review", ("country",), "wine review : italy : dry", "wine review : italy :", ["italy"]),
        ("wine review", ("country",), "Wine Review : Italy", "Wine Review : Italy", ["Italy"]),
        (
            "wine review",
            ("country",),
            "wine  review : italy:tuscany : dry",
            "wine  review : italy:tuscany :",
            ["italy:tuscany"],
        ),
        ("wine review", ("country",), "wine review this one", "", []),
        ("wine review", (), "wine review : dry", "wine review :", []),
        ("", ("country", "variety"), "italy : sangiovese : dry", "italy : sangiovese :", ["italy", "sangiovese"]),
        ("", (), "dry : very", "", []),
    ],
)
def test_a_template_finds_the_header_and_its_values(
    prefix: str, fields: tuple[str, ...], text: str, header: str, values: list[str]
) -> None:
    form = Template(prefix, fields)
    assert form.running_text(text) == text.removeprefix(header).strip()
    assert form.values(text) == values


def test_the_template_is_read_as_the_package_writes_it(tmp_path: Path) -> None:
    saved = ReviewTemplate("Plum jam", ("country", "winery"), "notes")
    saved.save(tmp_path)
    form = Template.load(tmp_path / template.FILE)
    assert form == Template("Plum jam", ("country", "winery"))
    record = {"country": "italy", "winery": "rossi", "notes": "dry"}
    assert form.prompt(record) == saved.header(record).lower()
    assert form.prompt({}) == "plum jam"
    assert form.running_text(saved.render(record)) == "dry"


@pytest.fixture(scope="module")
def other_demo(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    """Return the demo of a model whose texts have another prefix and other fields."""
    folder = tmp_path_factory.mktemp("other") / "plum-gpt"
    shutil.copytree(demo_model, folder)
    content = {"prefix": "Plum and oak", "fields": ["winery"], "text_field": "notes"}
    (folder / template.FILE).write_text(json.dumps(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINE_GPT_MODEL", str(folder))
        patch.setenv("WINE_GPT_ADAPTERS", "")
        return Backend()


def test_a_demo_of_another_corpus_uses_its_prefix_and_header(other_demo: Backend) -> None:
    assert other_demo.problems == []
    assert next(other_demo.generate(seed=1)).startswith("plum and oak")
    *_, written = other_demo.write("plum and oak : tuscany : a", length=4, seed=1)
    check = other_demo.check_copies(written)
    assert check is not None
    assert check.words == 4


def demo_of(model: Path, folder: Path, content: object) -> Backend:
    """Return the demo of a copy of a model with another review_template.json; None is no file."""
    shutil.copytree(model, folder)
    (folder / template.FILE).unlink(missing_ok=True)
    if content is not None:
        (folder / template.FILE).write_text(json.dumps(content), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINE_GPT_MODEL", str(folder))
        patch.setenv("WINE_GPT_ADAPTERS", "")
        return Backend()


@pytest.mark.parametrize(
    ("prefix", "fields", "prompt", "english", "spanish", "info"),
    [
        ("", [], "", "A small model writes texts", "Un modelo pequeño escribe textos", ""),
        ("", ["cuisine"], "", "A small model writes texts", "Un modelo pequeño escribe textos", "cuisine : …"),
        ("Receta", [], "receta", "A small model writes “Receta” texts", "escribe textos de «Receta»", "Receta : …"),
        ("a {b} <i>", [], "a {b} <i>", "A small model writes “a {b} <i>” texts", "«a {b} <i>»", "a {b} <i> : …"),
        ("{form}", ["x"], "{form}", "A small model writes “{form}” texts", "«{form}»", "{form} : x : …"),
    ],
)
def test_another_corpus_names_its_prefix_and_fields(
    demo_model: Path,
    tmp_path: Path,
    prefix: str,
    fields: list[str],
    prompt: str,
    english: str,
    spanish: str,
    info: str,
) -> None:
    from page import build

    content = {"prefix": prefix, "fields": fields, "text_field": "how"}
    demo = demo_of(demo_model, tmp_path / "recipe-gpt", content)
    assert next(demo.generate(seed=1)).startswith(prompt)
    assert demo.attention()["words"][0] == "▸"
    assert len(demo.next_words()) == 10
    assert demo.texts["en"]["heading"] == f"# {html.escape(english)}"
    assert html.escape(spanish) in demo.texts["es"]["heading"]
    assert demo.texts["en"]["prompt_info"].endswith(f" {info}")
    page = build(demo)
    assert page.title == "recipe-gpt"
    config = page.get_config_file()
    parts = {part["props"].get("elem_id"): part["props"] for part in config["components"]}
    assert parts["prompt"]["value"] == prompt
    assert bool(parts["prompt"].get("info")) == bool(info)
    described = demo.document(Backend.generate.__doc__ or "")
    assert described.startswith("Write a text.")
    assert (f'such as "{info}"' in described) == bool(info)
    assert not re.search("wine|review|{text}|{such_as}", described)


def test_values_of_another_corpus_are_those_that_its_model_writes(demo_model: Path, tmp_path: Path) -> None:
    from page import build

    # the toy model writes "wine review : italy : tuscany : ..."
    content = {"prefix": "", "fields": ["kind", "dish", "my_region"], "text_field": "how"}
    demo = demo_of(demo_model, tmp_path / "recipe-gpt", content)
    assert demo.field_values.fields == ("kind", "dish", "my_region")
    assert demo.field_values.options() == ["wine review"]
    assert set(demo.field_values.options(["wine review"])) >= {"germany", "italy"}
    config = build(demo).get_config_file()
    labels = [part["props"].get("label") for part in config["components"] if part["type"] == "dropdown"]
    assert labels[:3] == ["Kind", "Dish", "My region"]
    examples = [part["props"]["value"] for part in config["components"] if part["type"] == "button"]
    assert any(str(value).startswith("wine review · italy · ") for value in examples)


def test_the_page_of_another_corpus_does_not_mention_wine(other_demo: Backend) -> None:
    from page import build

    config = build(other_demo).get_config_file()
    parts = {part["props"].get("elem_id"): part["props"] for part in config["components"]}
    assert parts["prompt"]["value"] == "plum and oak"
    assert not {"country", "province", "variety"} & parts.keys()
    assert not [part for part in config["components"] if part["props"].get("value") == "Sangiovese · Tuscany"]
    shown = [str(part["props"].get("value")) for part in config["components"]]
    assert not [value for value in shown if "wine review" in value.lower()]
    assert config["title"] == "plum-gpt"
    for texts in page_texts(False, "plum and oak", "plum and oak : winery : …").values():
        assert not [
            text
            for text in texts.values()
            if re.search(r"\b(wine|vino|reviews?|reseñas?)s?\b", re.sub(r"{[\w:,]+}", "", text))
        ]


@pytest.mark.parametrize("content", ["{", "[]", '{"prefix": "a"}', '{"prefix": "a", "fields": [1]}'])
def test_a_damaged_template_is_named_and_the_demo_works(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    shutil.copytree(demo_model, tmp_path / "model")
    (tmp_path / "model" / template.FILE).write_text(content)
    monkeypatch.setenv("WINE_GPT_MODEL", str(tmp_path / "model"))
    demo = Backend()
    assert [str(problem) for problem in demo.problems] == [
        "review_template.json can't be used: it can't be reached or is damaged."
    ]
    assert demo.default_prompt == ""


# ---- languages ------------------------------------------------------------------------------------------------------


def test_both_languages_have_every_text() -> None:
    texts = json.loads((SPACE / "i18n.json").read_text(encoding="utf-8"))
    assert texts["en"].keys() == texts["es"].keys()
    for key, english in texts["en"].items():
        assert set(re.findall(r"{(\w+)", english)) == set(re.findall(r"{(\w+)", texts["es"][key])), key
    sources = "".join(path.read_text(encoding="utf-8") for path in SPACE.glob("*.py"))
    assert set(re.findall(r"""\b(?:t|UserFacingError)\("(\w+)\"""", sources)) <= texts["en"].keys()
    used = set(re.findall(r"""["'](\w+)["']""", sources))
    fields = {f"field_{side}{name}" for side in ("", "left_", "right_") for name in used}
    units = {f"{name}_{unit}" for name in ("unit", "units") for unit in ("word", "character", "token")}
    assert {re.sub("_(other|named|no_model)$", "", key) for key in texts["en"]} <= used | fields | units | {
        "left_text",
        "right_text",
    }


@pytest.mark.parametrize(
    ("browser", "language"),
    [("", "en"), ("es-MX,es;q=0.9,en;q=0.8", "es"), ("fr-FR,es;q=0.9", "en"), ("ES", "es"), ("<b>", "en")],
)
def test_a_request_has_the_language_of_its_browser(browser: str, language: str) -> None:
    assert language_of({"accept-language": browser}) == language


def test_an_error_is_reported_in_both_languages(demo: Backend) -> None:
    with pytest.raises(UserFacingError) as caught:
        list(demo.generate("a " * 2_000))
    assert caught.value.message() == "prompt: 2,000 words, at most 62 fit into the model"
    assert caught.value.message("es") == "comienzo: 2000 palabras; en el modelo caben 62 como máximo"
    with pytest.raises(UserFacingError) as caught:
        list(demo.compare(("wine", BASE, None), ("wine", "none", None), 1))
    assert caught.value.message().startswith("right model: must be one of")
    assert caught.value.message("es").startswith("modelo de la derecha: tiene que ser uno de")
    with pytest.raises(UserFacingError) as caught:
        demo.attention("wine\x00")
    assert caught.value.message("es").startswith("texto: el carácter 5 ")


def test_the_settings_of_a_model_of_characters_do_not_mention_words() -> None:
    texts = page_texts(True, unit="character")
    for language, character, word in (("en", "characters", "word"), ("es", "caracteres", "palabra")):
        for key in ("length", "top_p_info"):
            assert character in texts[language][key]
            assert word not in texts[language][key]


# ---- validation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": math.nan}, "temperature: must be a number from 0.1 to 2"),
        ({"temperature": -1}, "temperature: must be a number from 0.1 to 2"),
        ({"temperature": "1"}, "temperature: must be a number from 0.1 to 2"),
        ({"temperature": math.inf}, "temperature: must be a number from 0.1 to 2"),
        ({"temperature": True}, "temperature: must be a number from 0.1 to 2"),
        ({"guidance": 0}, "guidance: must be a number from 1 to 5"),
        ({"guidance": math.nan}, "guidance: must be a number from 1 to 5"),
        ({"guidance": "2"}, "guidance: must be a number from 1 to 5"),
        ({"top_p": 0}, "top_p: must be a number from 0.05 to 1"),
        ({"length": 10**9}, "length: must be a whole number from 1 to 63"),
        ({"length": 2.5}, "length: must be a whole number from 1 to 63"),
        ({"seed": -1}, "seed: must be a whole number from 0 to 4294967295"),
        ({"seed": 10**400}, "seed: must be a whole number from 0 to 4294967295"),
        ({"model": "../../etc/passwd"}, "model: must be one of base, pinot-noir, riesling"),
        ({"model": ["base"]}, "model: must be one of base, pinot-noir, riesling"),
        ({"prompt": 5}, "prompt: must be a text"),
        ({"prompt": "a" * 100_000}, "prompt: 100,000 characters, at most 10,000 are allowed"),
        ({"prompt": "a " * 200}, "prompt: 200 words, at most 62 fit into the model"),
        ({"prompt": "wine\x00"}, "prompt: character 5 is U+0000, which is invisible; remove it"),
        ({"prompt": "\u202eeniw"}, "prompt: character 1 is U+202E, which is invisible; remove it"),
        ({"prompt": "wine\ud800"}, "prompt: character 5 is U+D800, which is invisible; remove it"),
        ({"prompt": "\ufeffwine\u2066"}, "prompt: character 6 is U+2066, which is invisible; remove it"),
        ({"prompt": "wi\u200bne"}, "prompt: character 3 is U+200B, which is invisible; remove it"),
        ({"prompt": "wine\u200f"}, "prompt: character 5 is U+200F, which is invisible; remove it"),
        ({"prompt": "wine\ue000"}, "prompt: character 5 is U+E000, which is invisible; remove it"),
    ],
)
def test_a_setting_out_of_bounds_is_named_with_its_range(
    demo: Backend, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserFacingError) as caught:
        list(demo.generate(**settings))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "prompt",
    [
        "👩\u200d🍳 bakes",
        "❤\ufe0f",
        "می\u200cخواهم",
        "क्\u200dष",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "葛\U000e0100",
        "\u0600 12",
        # unassigned in Unicode 16
        "\U0001facc",
        "\U0001f8ff",
    ],
)
def test_joiners_tags_and_new_emoji_are_written_as_typed(demo: Backend, prompt: str) -> None:
    assert next(demo.generate(prompt, seed=1, length=1)).startswith(prompt)
    assert demo.attention(prompt)["words"][0] == "▸"


@pytest.mark.parametrize("pasted", ["\ufeffwine review", "\u200bwine review", "\ufeff\u200bwine review\u200b"])
def test_a_pasted_byte_order_mark_or_zero_width_space_is_stripped(demo: Backend, pasted: str) -> None:
    (*_, written), (*_, typed) = demo.generate(pasted, seed=1), demo.generate("wine review", seed=1)
    assert written == typed
    assert demo.next_words(pasted) == demo.next_words("wine review")


# ---- choosing the model ---------------------------------------------------------------------------------------------


def test_the_model_is_from_the_variable_else_settings_json_else_the_quickstart(tmp_path: Path) -> None:
    here = tmp_path / "space"
    here.mkdir()
    with pytest.raises(UserFacingError, match=r"scripts/quickstart\.py"):
        choose_model({}, here)
    (tmp_path / "runs/sample").mkdir(parents=True)
    (tmp_path / "runs/sample/config.json").touch()
    assert choose_model({}, here) == ModelSource(str(tmp_path / "runs/sample"))
    (here / "settings.json").write_text('{"model": "org/wine-gpt"}')
    assert choose_model({}, here) == ModelSource("org/wine-gpt", "main")
    assert choose_model({"WINE_GPT_MODEL": "me/other@v2"}, here) == ModelSource("me/other", "v2")
    assert choose_model({"WINE_GPT_MODEL": str(tmp_path)}, here) == ModelSource(str(tmp_path))
    assert str(choose_model({"WINE_GPT_MODEL": "./runs/none"}, here)) == "none"


def test_the_current_folder_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wine-gpt" / "epochs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "wine-gpt" / "epochs")
    assert [str(choose_model({"WINE_GPT_MODEL": name})) for name in (".", "..")] == ["epochs", "wine-gpt"]
    assert adapter_name(ModelSource(".."), ModelSource("org/wine-gpt-malbec", "main")) == "malbec"


def test_adapters_are_from_the_variable_else_the_card(tmp_path: Path) -> None:
    model = ModelSource(str(tmp_path))
    assert choose_adapters(model, {}) == []
    (tmp_path / "README.md").write_text("---\nadapters: [org/wine-gpt-malbec, org/wine-gpt-merlot]\n---\n# A card\n")
    assert choose_adapters(model, {}) == [
        ModelSource("org/wine-gpt-malbec", "main"),
        ModelSource("org/wine-gpt-merlot", "main"),
    ]
    assert choose_adapters(model, {"WINE_GPT_ADAPTERS": "me/mine"}) == [ModelSource("me/mine", "main")]
    assert choose_adapters(model, {"WINE_GPT_ADAPTERS": ""}) == []


def test_the_cards_adapters_are_of_the_models_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nadapters: [org/wine-gpt-malbec]\n---\n# A card\n")
    monkeypatch.setattr("model_source.hf_hub_download", lambda name, file, revision: card)
    assert choose_adapters(ModelSource("org/wine-gpt", "v2"), {}) == [ModelSource("org/wine-gpt-malbec", "v2")]


def broken(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "nan":
        tensors = load_file(weights)
        tensors["transformer.ln_f.weight"][0] = math.nan
        save_file(tensors, weights, {"format": "pt"})
    elif how == "pickle":
        torch.save({}, folder / "pytorch_model.bin")
        weights.unlink()
    elif how == "shape":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "n_inner": 32}))
    elif how == "unknown tensor":
        save_file(
            {**load_file(weights), "x": load_file(weights)["transformer.ln_f.weight"]}, weights, {"format": "pt"}
        )
    elif how == "tokenizer":
        (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize("how", ["cut", "nan", "pickle", "shape", "unknown tensor", "tokenizer"])
def test_with_a_broken_model_the_page_opens_and_names_it(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    shutil.copytree(demo_model, tmp_path / "wine-gpt")
    broken(tmp_path / "wine-gpt", how)
    monkeypatch.setenv("WINE_GPT_MODEL", str(tmp_path / "wine-gpt"))
    assert "The model wine-gpt" in shown_problem()


def test_a_model_without_a_maximum_length_is_named(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    folder = tmp_path / "wine-bloom"
    shutil.copytree(demo_model, folder)
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    BloomForCausalLM(BloomConfig(vocab_size=vocabulary, hidden_size=8, n_layer=1, n_head=2)).save_pretrained(folder)
    monkeypatch.setenv("WINE_GPT_MODEL", str(folder))
    assert shown_problem() == (
        "The model wine-bloom can't be used: unlike GPT-2's, its config.json names no maximum number of positions."
    )


def test_without_the_hub_the_page_names_repository_and_revision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("WINE_GPT_MODEL", "nobody/no-wine-gpt@v3")
    assert "The model nobody/no-wine-gpt (revision v3) could not be loaded" in shown_problem()
    assert "model nobody/no-wine-gpt (revision v3): " in capsys.readouterr().err


def shown_problem() -> str:
    """Return the error on the page of a demo without a model; its API must return the error too."""
    from page import build

    demo = Backend()
    assert demo.engine is None
    config = build(demo).get_config_file()
    shown = [str(part["props"].get("value")) for part in config["components"] if part["type"] == "markdown"]
    assert any("problem_0" in value for value in shown)
    with pytest.raises(UserFacingError) as refused:
        list(demo.generate())
    spanish = refused.value.message("es")
    assert spanish == demo.texts["es"]["problem_0"]
    assert spanish.startswith(("El modelo ", "No se ha podido cargar el modelo "))
    return demo.texts["en"]["problem_0"]


@pytest.mark.parametrize("how", ["missing", "cut", "shape", "pickle", "nan", "unknown tensor", "prompt tuning"])
def test_a_broken_adapter_is_left_out_and_the_others_stay(demo_model: Path, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "wine-gpt-broken"
    if how == "prompt tuning":
        write_prompt_tuning(demo_model, folder)
    elif how != "missing":
        shutil.copytree(f"{demo_model}-riesling", folder)
    weights = folder / "adapter_model.safetensors"
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "pickle":
        torch.save({}, folder / "adapter_model.bin")
        weights.unlink()
    elif how in ("shape", "nan"):
        tensors = load_file(weights)
        for name, tensor in tensors.items():
            tensors[name] = tensor * math.nan if how == "nan" else tensor[:, :1].copy()
        save_file(tensors, weights)
    elif how == "unknown tensor":
        tensors = load_file(weights)
        save_file({**tensors, "x": next(iter(tensors.values()))}, weights)
    other = str(tmp_path / "wine-gpt-none")
    names = [f"{demo_model}-pinot-noir", str(folder), other, f"{demo_model}-riesling"]
    engine = Engine(ModelSource(str(demo_model)), [ModelSource.parse(name) for name in names])
    assert list(engine.adapters) == ["pinot-noir", "riesling"]
    assert len(engine.problems) == 1
    assert "wine-gpt-broken, wine-gpt-none. Each one" in str(engine.problems[0])
    sound = Engine(ModelSource(str(demo_model)), [ModelSource(f"{demo_model}-riesling")])
    ids = engine.encode("prompt", PROMPT).ids
    assert all_words(engine, ids) == all_words(sound, ids)
    assert attention.next_words(engine, ids, "riesling", 1.0, 5) == attention.next_words(
        sound, ids, "riesling", 1.0, 5
    )


def test_an_adapter_that_cannot_be_merged_has_no_files_and_the_others_stay(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("WINE_GPT_MODEL", str(demo_model))
    monkeypatch.setenv("WINE_GPT_ADAPTERS", ",".join(f"{demo_model}-{name}" for name in ADAPTERS))
    demo = Backend()
    # a whole model for each adapter would fill the disk before the first visitor
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    save = PreTrainedModel.save_pretrained

    def fill_disk(model: PreTrainedModel, folder: Path) -> None:
        save(model, folder)
        if folder.name == "riesling":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fill_disk)
    for name in ("config.json", "model.safetensors"):
        assert demo.model_file("riesling", name) is None
        assert demo.model_file("pinot-noir", name) is not None
    *_, written = demo.write(HEADER, "riesling", seed=1)
    assert written.complete


def test_of_two_adapters_with_one_name_the_second_is_reported(demo_model: Path, tmp_path: Path) -> None:
    sources = []
    for folder, adapter in (("a", "riesling"), ("b", "pinot-noir")):
        shutil.copytree(f"{demo_model}-{adapter}", tmp_path / folder / "lora")
        sources.append(ModelSource(str(tmp_path / folder / "lora")))
    shutil.copytree(f"{demo_model}-riesling", tmp_path / BASE)
    engine = Engine(ModelSource(str(demo_model)), [*sources, ModelSource(str(tmp_path / BASE))])
    assert list(engine.adapters) == ["lora"]
    assert [str(problem).partition(". ")[0] for problem in engine.problems] == [
        "Adapters that could not be loaded: lora, base"
    ]
    ids = engine.encode("prompt", PROMPT).ids
    first = Engine(ModelSource(str(demo_model)), sources[:1])
    assert attention.next_words(engine, ids, "lora", 1.0, 5) == attention.next_words(first, ids, "lora", 1.0, 5)


def test_settings_that_are_not_applied_are_named(demo_model: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_model, tmp_path / "model")
    file = tmp_path / "model/generation_config.json"
    settings = {**json.loads(file.read_text()), "use_cache": True, "<b>": 1}
    file.write_text(json.dumps(settings))
    assert Engine(ModelSource(str(tmp_path / "model"))).problems == []
    ignored = {"min_p": 0.2, "repetition_penalty": 1.1, "guidance_scale": 2, "do_sample": False}
    file.write_text(json.dumps(settings | ignored))
    (problem,) = Engine(ModelSource(str(tmp_path / "model"))).problems
    names = "do_sample, guidance_scale, min_p, repetition_penalty"
    assert str(problem) == f"Settings of the model's generation_config.json that are not applied: {names}."


def all_words(engine: Engine, ids: list[int]) -> list[int]:
    return [word for piece in engine.write(ids, Settings(1.5, 1.0, 40, 3), "riesling") for word in piece]


# ---- requirements ---------------------------------------------------------------------------------------------------


def test_the_pinned_packages_are_those_tested_here() -> None:
    """Patch versions are not compared."""
    pinned = dict(line.split("==") for line in (SPACE / "requirements.txt").read_text().split())
    tested = {name: metadata.version(name) for name in pinned}
    assert {name: version.split(".")[:2] for name, version in pinned.items()} == {
        name: version.split(".")[:2] for name, version in tested.items()
    }
    card = (SPACE / "README.md").read_text(encoding="utf-8")
    assert f"sdk_version: {metadata.version('gradio')}\n" in card


def test_the_published_demo_imports_its_own_packages_only(tmp_path: Path) -> None:
    copy_demo(tmp_path)
    pinned = {line.split("==")[0] for line in (tmp_path / "requirements.txt").read_text().split()}
    installed_with_them = {"numpy", "starlette", "tokenizers", "yaml"}
    own = {path.stem for path in tmp_path.glob("*.py")}
    sources = "\n".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("*.py"))
    found = set(re.findall(r"^\s*(?:from|import) (\w+)", sources, re.MULTILINE))
    # a checkout imports sampler.py from the package, and only ZeroGPU has spaces, which others do without
    elsewhere = {"wine_gpt", "spaces"}
    assert found - own - installed_with_them - set(sys.stdlib_module_names) <= pinned | elsewhere


def test_limits_are_those_of_the_documentation() -> None:
    text = (SPACE.parent / "docs/demo.md").read_text(encoding="utf-8")
    assert f"{validation.MAX_CHARACTERS:,} visible characters" in text
