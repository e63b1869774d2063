"""The cards: whole files, missing figures, licenses, and bad metadata."""

import importlib.metadata
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from support.finished_runs import METRICS, TRAINING, adapt, demo, evaluate, finish

from wine_gpt.errors import UserError
from wine_gpt.publishing.cards import check, fill, license_notice, model_card, space_card, subset_card
from wine_gpt.publishing.corpus import SAMPLE
from wine_gpt.publishing.run_record import RunRecord, SubsetModel, read_run, read_subset_models
from wine_gpt.publishing.staging import SPACE

GOLDEN = Path(__file__).parent / "golden"
NAME = "org/wine-gpt"


@pytest.fixture(scope="module")
def run(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = finish(toy_run, tmp_path_factory.mktemp("cards") / "run", path="kaggle")
    evaluate(folder)
    return read_run(folder, None)


@pytest.fixture(scope="module")
def subset_models(run: RunRecord) -> list[SubsetModel]:
    folder = run.folder.parent / "lora"
    adapt(run.folder, folder, "Pinot Noir")
    adapt(run.folder, folder, "A|B <i>*Syrah*</i>", method="full", seed=1).rename(folder / "syrah")
    return read_subset_models(folder, run, NAME)[0]


def with_metrics(run: RunRecord, tmp_path: Path, metrics: dict[str, Any]) -> RunRecord:
    folder = finish(run.folder, tmp_path / "run", path="sample")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    for name in ("samples.jsonl", "data_report.json", "evaluation/metrics.json", "evaluation/reliability.png"):
        (folder / name).unlink()
    return read_run(folder, None)


@pytest.mark.parametrize("name", ["model_card.md", "subset_card.md", "space_card.md"])
def test_a_whole_card(run: RunRecord, subset_models: list[SubsetModel], tmp_path: Path, name: str) -> None:
    cards = {
        "model_card.md": lambda: model_card(run, NAME, "main", subset_models, "org/wine-gpt-demo", True),
        "subset_card.md": lambda: subset_card(run, subset_models[-1], NAME, "main"),
        "space_card.md": lambda: space_card(run, demo(tmp_path / "space", "") / "README.md", NAME, subset_models),
    }
    card = cards[name]()
    check(card, name)
    assert str(card) == (GOLDEN / name).read_text(encoding="utf-8")


def test_a_missing_figure_drops_its_line_and_an_empty_section_its_heading(run: RunRecord, tmp_path: Path) -> None:
    training = {**TRAINING, "epochs": [], "best_epoch": None, "seconds": 3.0, "tokens_per_second": None}
    bare = {name: METRICS[name] for name in ("test", "parameters", "environment")}
    bare |= {"training": training, "peak_memory_bytes": {}}
    card = model_card(with_metrics(run, tmp_path, bare), NAME, "main", [], None, False)
    check(card, NAME)
    headings = re.findall(r"^##+ (.*)$", card.text, re.MULTILINE)
    assert headings == ["Use", "Training", "Evaluation", "Limitations", "Reproduce", "License", "Citation"]
    assert "| time | 3 s |" in card.text
    for absent in ("| epochs |", "tokens per second", "peak memory", "| validation |"):
        assert absent not in card.text
    for line in card.text.splitlines():
        assert not re.search(r"\| *\||None|nan\b", line) or line == "|  |  |"


def test_a_nan_drops_its_row(run: RunRecord, tmp_path: Path) -> None:
    broken = {**METRICS, "test": {**METRICS["test"], "nats_per_word": float("nan")}}
    card = model_card(with_metrics(run, tmp_path, broken), NAME, "main", [], None, False)
    assert "| test |" not in card.text
    assert "| validation |" in card.text
    assert "model-index" not in card.data.to_dict()


def test_a_run_without_held_out_scores_is_refused(run: RunRecord, tmp_path: Path) -> None:
    scoreless = {name: value for name, value in METRICS.items() if name not in ("test", "validation")}
    with pytest.raises(UserError, match=r"metrics\.json has no figures of a held-out split"):
        with_metrics(run, tmp_path, scoreless)


def test_the_model_index_has_the_figures_of_the_run(run: RunRecord) -> None:
    card = ModelCard(str(model_card(run, NAME, "main", [], None, False)))
    figures = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert figures == {name: METRICS["test"][name] for name in ("perplexity", "nats_per_word")}


def test_the_card_shows_javascript_if_there_is_onnx(run: RunRecord) -> None:
    card = model_card(run, NAME, "v2", [], None, False, onnx=True)
    check(card, NAME)
    assert 'await pipeline("text-generation", "org/wine-gpt", { dtype: "fp32", revision: "v2" });' in card.text
    assert {"onnx", "transformers.js"} <= set(card.data.tags)
    without = model_card(run, NAME, "v2", [], None, False)
    assert "onnx" not in str(without)


def test_the_card_shows_energy_if_it_was_measured(run: RunRecord, tmp_path: Path) -> None:
    measured = {**METRICS, "training": {**METRICS["training"], "energy_kwh": 0.00123}}
    card = model_card(with_metrics(run, tmp_path, measured), NAME, "main", [], None, False)
    assert "| energy | 0.0012 kWh, estimated by codecarbon |" in card.text


def test_the_cards_show_what_is_beyond_the_positions(run: RunRecord, tmp_path: Path) -> None:
    cut = {**METRICS, "training": {**METRICS["training"], "reviews_cut": 1234, "words_cut": 0.0625}}
    text = model_card(with_metrics(run, tmp_path, cut), NAME, "main", [], None, False).text
    assert "| training texts longer than the model's positions | 1,234 |" in text
    assert "| training words not seen because they are beyond these positions | 6.25% |" in text
    assert "positions |" not in model_card(run, NAME, "main", [], None, False).text


def test_the_license_follows_the_data(run: RunRecord, tmp_path: Path) -> None:
    assert model_card(run, NAME, "main", [], None, False).data.license == "cc-by-nc-sa-4.0"
    assert "https://www.kaggle.com/datasets/zynicide/wine-reviews" in license_notice(run)
    for name in ("winemag-data-130k-v2.json", "winemag-data_first150k.csv", "winemag-data-first-8000.json"):
        renamed = finish(run.folder, tmp_path / name, path=f"/home/somebody/{name}")
        assert read_run(renamed, None).corpus == run.corpus
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("winemag-data-130k-v2.json", "[]")
    zipped = finish(run.folder, tmp_path / "zipped", path=str(tmp_path / "archive.zip"))
    assert read_run(zipped, None).corpus == run.corpus
    synthetic = model_card(with_metrics(run, tmp_path, METRICS), NAME, "main", [], None, False)
    assert synthetic.data.license == "apache-2.0"
    assert "synthetic" in synthetic.data.tags
    assert "**Trained on synthetic reviews.**" in synthetic.text


@pytest.mark.skipif(not (SPACE / "README.md").exists(), reason="the demo is not in this tree")
def test_the_space_names_the_gradio_version_that_it_was_tested_with(run: RunRecord) -> None:
    card = space_card(run, SPACE / "README.md", NAME, [])
    check(card, "Space")
    assert card.data.sdk_version == importlib.metadata.version("gradio")
    assert card.data.to_dict()["app_file"] == "app.py"
    assert {"title", "emoji", "short_description", "license", "models", "tags"} <= card.data.to_dict().keys()


@pytest.mark.parametrize(
    ("prefix", "heading", "short"),
    [
        ("recipe", "# A small model writes “recipe” texts", "A small GPT-2 writes “recipe” texts and shows why"),
        ("", "# A small model writes texts", "A small GPT-2 writes texts and shows why"),
        ("x" * 30, f"# A small model writes “{'x' * 30}” texts", "A small GPT-2 writes texts and shows why"),
    ],
)
def test_the_space_of_another_corpus_does_not_mention_wine(
    run: RunRecord, tmp_path: Path, prefix: str, heading: str, short: str
) -> None:
    folder = finish(run.folder, tmp_path / "run", path="breads.jsonl", prefix=prefix, text_field="how")
    card = space_card(read_run(folder, "mit"), SPACE / "README.md", "me/recipe-gpt", [])
    check(card, "Space")
    assert (card.data.title, card.data.to_dict()["short_description"]) == ("recipe-gpt", short)
    assert card.text.strip().splitlines()[0] == heading
    assert "WINE_GPT_MODEL=me/recipe-gpt python" in card.text
    assert not re.search("(?<!WINE_GPT_)wine|review|🍷|org/", str(card).replace("WINE_GPT_MODEL", ""))


def test_the_space_of_wine_names_its_own_model(run: RunRecord) -> None:
    card = space_card(run, SPACE / "README.md", "me/my-wine", [])
    assert card.data.title == "wine_gpt"
    assert "# A small model writes wine reviews" in card.text
    assert "WINE_GPT_MODEL=me/my-wine python" in card.text
    assert "org/wine-gpt" not in str(card)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("license: apache-2.0", "license: Do What You Want", "is no license identifier"),
        ("title: a demo", "title: ''", "the card's title is empty"),
        ("app_file: app.py", f"short_description: {'x' * 61}", "short_description has more than 60 characters"),
        ("It writes.", "It is {{ nothing }}.", "the card's text has a placeholder"),
    ],
)
def test_a_bad_card_is_found_without_the_hub(run: RunRecord, tmp_path: Path, old: str, new: str, message: str) -> None:
    own = demo(tmp_path / "space", "") / "README.md"
    own.write_text(own.read_text().replace(old, new))
    with pytest.raises(UserError, match=re.escape(message)):
        check(space_card(run, own, NAME, []), "Space org/demo")


def test_a_template_without_a_value_is_refused() -> None:
    for nothing in (None, math.nan):
        with pytest.raises(ValueError, match="no text for"):
            fill("space.md", card_data="", text="", model=nothing, corpus=SAMPLE, license="mit", prefix="")


def test_a_corpus_may_contain_any_words(run: RunRecord, tmp_path: Path) -> None:
    """Samples, names and values that look like unfilled placeholders: nan bread, the topping None, a text on Jinja."""
    text = "recipe : None : serve the nan bread with {{ ghee }} {% raw %}"
    folder = finish(run.folder, tmp_path / "run", path="breads.jsonl", prefix="recipe", text_field="how")
    (folder / "samples.jsonl").write_text(json.dumps({"epoch": 2, "step": 40, "text": text}) + "\n")
    breads = read_run(folder, "mit")
    adapt(folder, tmp_path / "lora", "None")
    card = model_card(breads, NAME, "main", [], None, False)
    check(card, NAME)
    assert f"```text\n{text}\n```" in card.text
    ((none,), _) = read_subset_models(tmp_path / "lora", breads, NAME)
    card = subset_card(breads, none, NAME, "main")
    check(card, none.repository)
    assert "the texts whose variety is None." in card.text
