"""The cards: whole files, and what becomes of a figure that is missing."""

import importlib.metadata
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from support.finished_runs import METRICS, adapt, demo, evaluate, finish

from wine_gpt.errors import UserError
from wine_gpt.publishing.cards import check, license_notice, model_card, space_card, subset_card
from wine_gpt.publishing.run_record import Run, SubsetModel, read_run, read_subset_models
from wine_gpt.publishing.staging import SPACE

GOLDEN = Path(__file__).parent / "golden"
NAME = "org/wine-gpt"


@pytest.fixture(scope="module")
def run(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = finish(toy_run, tmp_path_factory.mktemp("cards") / "run", path="kaggle")
    evaluate(folder)
    return read_run(folder, None)


@pytest.fixture(scope="module")
def subset_models(run: Run) -> list[SubsetModel]:
    folder = run.folder.parent / "varieties"
    adapt(run.folder, folder, "Pinot Noir")
    adapt(run.folder, folder, "A|B <i>*Syrah*</i>", method="full", seed=1).rename(folder / "syrah")
    return read_subset_models(folder, run, NAME)[0]


def with_metrics(run: Run, tmp_path: Path, metrics: dict[str, Any]) -> Run:
    folder = finish(run.folder, tmp_path / "run", path="sample")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    for name in ("samples.jsonl", "data_report.json", "evaluation/metrics.json", "evaluation/reliability.png"):
        (folder / name).unlink()
    return read_run(folder, None)


@pytest.mark.parametrize("name", ["model_card.md", "subset_card.md", "space_card.md"])
def test_a_whole_card(run: Run, subset_models: list[SubsetModel], tmp_path: Path, name: str) -> None:
    cards = {
        "model_card.md": lambda: model_card(run, NAME, "main", subset_models, "org/wine-gpt-demo", True),
        "subset_card.md": lambda: subset_card(run, subset_models[-1], NAME, "main"),
        "space_card.md": lambda: space_card(run, demo(tmp_path / "space", "") / "README.md", NAME, subset_models),
    }
    card = cards[name]()
    check(card, name)
    assert str(card) == (GOLDEN / name).read_text(encoding="utf-8")


def test_a_missing_figure_drops_its_line_and_an_empty_section_its_heading(run: Run, tmp_path: Path) -> None:
    bare = {"test": {"nats_per_word": 1.25}, "training": {"seconds": 3.0, "tokens_per_second": None}}
    card = model_card(with_metrics(run, tmp_path, bare), NAME, "main", [], None, False)
    check(card, NAME)
    headings = re.findall(r"^##+ (.*)$", card.text, re.MULTILINE)
    assert headings == ["Use", "Training", "What it is not for", "Repeat it", "Licence", "Citation"]
    assert "| time | 3 s |" in card.text
    assert "tokens per second" not in card.text
    assert card.data.to_dict()["model-index"][0]["results"][0]["metrics"] == [
        {"type": "nats_per_word", "value": 1.25, "name": "Nats per word"}
    ]
    for line in card.text.splitlines():
        assert not re.search(r"\| *\||None|nan\b", line) or line == "|  |  |"


def test_figures_that_are_no_numbers_are_missing(run: Run, tmp_path: Path) -> None:
    broken = {**METRICS, "test": {**METRICS["test"], "perplexity": float("nan")}, "parameters": True}
    card = model_card(with_metrics(run, tmp_path, broken), NAME, "main", [], None, False)
    assert "| test |" not in card.text
    assert "| validation |" in card.text
    assert "parameters" not in card.text


def test_the_index_has_the_figures_of_the_run(run: Run) -> None:
    card = ModelCard(str(model_card(run, NAME, "main", [], None, False)))
    figures = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert figures == {name: METRICS["test"][name] for name in ("perplexity", "nats_per_word")}


def test_javascript_is_told_where_there_is_onnx(run: Run) -> None:
    card = model_card(run, NAME, "v2", [], None, False, onnx=True)
    check(card, NAME)
    assert 'await pipeline("text-generation", "org/wine-gpt", { dtype: "fp32", revision: "v2" });' in card.text
    assert {"onnx", "transformers.js"} <= set(card.data.tags)
    without = model_card(run, NAME, "v2", [], None, False)
    assert "onnx" not in str(without)


def test_energy_is_told_where_it_was_measured(run: Run, tmp_path: Path) -> None:
    measured = {**METRICS, "training": {**METRICS["training"], "energy_kwh": 0.00123}}
    card = model_card(with_metrics(run, tmp_path, measured), NAME, "main", [], None, False)
    assert "| energy | 0.0012 kWh, as codecarbon estimates |" in card.text


def test_the_licence_follows_the_data(run: Run, tmp_path: Path) -> None:
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
def test_the_demo_runs_on_what_it_was_tested_with(run: Run) -> None:
    card = space_card(run, SPACE / "README.md", NAME, [])
    check(card, "Space")
    assert card.data.sdk_version == importlib.metadata.version("gradio")
    assert card.data.to_dict()["app_file"] == "app.py"
    assert {"title", "emoji", "short_description", "license", "models", "tags"} <= card.data.to_dict().keys()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("license: apache-2.0", "license: Do What You Want", "is no licence's identifier"),
        ("title: a demo", "title: ''", "the card's title is empty"),
        ("app_file: app.py", f"short_description: {'x' * 61}", "short_description has more than 60 characters"),
        ("It writes.", "It is {{ nothing }}.", "the card's text has a hole"),
        ("It writes.", "Perplexity: None", "the card's text has a hole"),
    ],
)
def test_a_bad_card_is_found_without_the_hub(run: Run, tmp_path: Path, old: str, new: str, message: str) -> None:
    own = demo(tmp_path / "space", "") / "README.md"
    own.write_text(own.read_text().replace(old, new))
    with pytest.raises(UserError, match=re.escape(message)):
        check(space_card(run, own, NAME, []), "Space org/demo")
