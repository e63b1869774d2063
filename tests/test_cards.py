"""The cards: whole files, missing figures, licenses, and bad metadata."""

import ast
import dataclasses
import importlib.metadata
import json
import math
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from support.finished_runs import METRICS, TRAINING, adapt, demo, evaluate, finish
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.config import DataConfig, FinetuneConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.errors import UserError
from wine_gpt.evaluation.results import ConditioningResult
from wine_gpt.modeling.scoring import Score
from wine_gpt.publishing import source
from wine_gpt.publishing.card_parts import check, fill, license_notice
from wine_gpt.publishing.card_tables import change_after_header, compare_spans, conditioning_section, score_table
from wine_gpt.publishing.corpus import SAMPLE, OwnCorpus, corpus_of
from wine_gpt.publishing.data_source import DataSource
from wine_gpt.publishing.model_card import model_card
from wine_gpt.publishing.published_files import EPOCH_FILES, NGRAM_INDEX, ONNX, ONNX_QUANTIZED
from wine_gpt.publishing.run_record import RunRecord, SubsetModel, read_run, read_subset_models
from wine_gpt.publishing.samples import Sample, example_prompt, sample_texts
from wine_gpt.publishing.space_cards import explorer_card, space_card
from wine_gpt.publishing.staging import SPACE
from wine_gpt.publishing.subset_card import subset_card
from wine_gpt.run_folder import LOSS_BY_FIELD_PLOT

GOLDEN = Path(__file__).parent / "golden"
NAME, DEMO = "org/wine-gpt", "org/wine-gpt-demo"
MIT = OwnCorpus("mit")
BREADS: dict[str, Any] = {"prompt_fields": (), "text_field": "how", "validation_fraction": 0.0, "test_fraction": 0.0}
SAMPLES = [
    Sample("wine review", "wine review : spain : rioja : riesling : it's a light-bodied, crisp wine."),
    Sample("wine review", "wine review : it's ``` <b>bold</b>. drink now."),
    Sample("wine review : spain", "wine review : spain : rioja : tempranillo : it's a dull wine."),
]


@pytest.fixture(scope="module")
def run(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = finish(toy_run, tmp_path_factory.mktemp("cards") / "run", path="kaggle")
    evaluate(folder)
    return read_run(folder)


@pytest.fixture(scope="module")
def subset_models(run: RunRecord) -> list[SubsetModel]:
    folder = run.folder.parent / "lora"
    adapt(run.folder, folder, "Pinot Noir")
    adapt(run.folder, folder, "A|B <i>*Syrah*</i>", method="full", seed=1).rename(folder / "syrah")
    return read_subset_models(folder, run, NAME)[0]


def with_metrics(run: RunRecord, tmp_path: Path, metrics: dict[str, Any]) -> RunRecord:
    folder = finish(run.folder, tmp_path / "run", path="sample")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    for name in ("data_report.json", "evaluation/metrics.json", "evaluation/reliability.png"):
        (folder / name).unlink()
    return read_run(folder)


def save_breads(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("how,id\nBake it.,1\nKnead it.,2\n")


@pytest.mark.parametrize("name", ["model_card.md", "subset_card.md", "space_card.md"])
def test_a_whole_card(run: RunRecord, subset_models: list[SubsetModel], tmp_path: Path, name: str) -> None:
    readme = demo(tmp_path / "space", "") / "README.md"
    cards = {
        "model_card.md": lambda: model_card(
            run, NAME, samples=SAMPLES, space=DEMO, subset_models=subset_models, optional_files=[NGRAM_INDEX]
        ),
        "subset_card.md": lambda: subset_card(run, subset_models[-1], NAME, "main", SAMPLES[2:]),
        "space_card.md": lambda: space_card(
            run, readme, DEMO, [NAME, *(model.repository for model in subset_models)], has_adapters=True
        ),
    }
    card = cards[name]()
    check(card, name)
    assert str(card) == (GOLDEN / name).read_text(encoding="utf-8")


def test_texts_of_one_prompt_stand_together(run: RunRecord) -> None:
    card = model_card(run, NAME, samples=SAMPLES)
    labels = re.findall(r"^Prompt `(.*)`:$", card.text, re.MULTILINE)
    assert labels == ["wine review", "wine review : spain"]
    assert card.text.count("```text\n") == len(SAMPLES)


def test_blank_lines_of_samples_are_kept(run: RunRecord) -> None:
    text = "wine review : spain :\n\n\n\nit's dry.\n\n\nDrink now."
    card = str(model_card(run, NAME, samples=[Sample("wine review", text)]))
    assert f"```text\n{text}\n```" in card
    assert ModelCard(card).data.widget[0]["output"]["text"] == text
    assert "\n\n\n" not in card.split("---\n", 2)[2].replace(text, "")


def test_names_of_columns_are_shown_as_they_are(run: RunRecord, tmp_path: Path) -> None:
    folder = finish(run.folder, tmp_path / "run", prompt_fields=("a*b", "price|usd"))
    report = json.loads((folder / "data_report.json").read_text())
    (folder / "data_report.json").write_text(json.dumps({**report, "dropped": {"price|usd": 4}}))
    (folder / "evaluation" / LOSS_BY_FIELD_PLOT).write_bytes(b"a plot")
    card = model_card(read_run(folder), NAME)
    assert "| without price\\|usd | 4 |" in card.text
    assert "![Loss by price\\|usd](" in card.text
    assert run.evaluation is not None
    rates = {kind: dict.fromkeys(("a*b", "price|usd"), 0.5) for kind in ("generated", "real", "commonest")}
    found = dataclasses.replace(run.evaluation, conditioning=ConditioningResult(rates, None))
    assert "| texts | a\\*b | price\\|usd |" in conditioning_section(("a*b", "price|usd"), found).table


def test_another_packages_words_may_have_capitals(run: RunRecord, tmp_path: Path) -> None:
    folder = shutil.copytree(run.folder, tmp_path / "run")
    content = json.loads((folder / "tokenizer.json").read_text())
    cased = {**content, "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}}
    (folder / "tokenizer.json").write_text(json.dumps(cased))
    text = model_card(read_run(folder), NAME).text
    assert "| tokenizer | word-level: a token is a word or a punctuation mark, capitals included |" in text
    assert "with the capitals of the training texts" in text
    assert "lower case" not in text


def test_code_without_a_sample_begins_with_the_prefix(run: RunRecord) -> None:
    assert example_prompt([], run.template) == "wine review"


def test_a_missing_figure_drops_its_line_and_an_empty_section_its_heading(run: RunRecord, tmp_path: Path) -> None:
    training = {**TRAINING, "epochs": [], "best_epoch": None, "seconds": 3.0, "tokens_per_second": None}
    bare = {name: METRICS[name] for name in ("test", "data_fingerprint", "parameters", "environment")}
    bare |= {"training": training, "peak_memory_bytes": {}}
    card = model_card(with_metrics(run, tmp_path, bare), NAME)
    check(card, NAME)
    headings = re.findall(r"^##+ (.*)$", card.text, re.MULTILINE)
    assert headings == [
        *("Uses and limits", "How to use", "Evaluation", "Training data", "Training"),
        *("Reproduce", "License", "Citation"),
    ]
    assert "| time | 3 s |" in card.text
    assert "![Training loss over the optimizer steps](loss.png)" in card.text
    for absent in ("| epochs |", "tokens per second", "peak memory", "| validation |"):
        assert absent not in card.text
    for line in card.text.splitlines():
        assert not re.search(r"\| *\||None|nan\b", line)


def test_a_nan_drops_its_row(run: RunRecord, tmp_path: Path) -> None:
    broken = {**METRICS, "test": {**METRICS["test"], "nats_per_word": float("nan")}}
    card = model_card(with_metrics(run, tmp_path, broken), NAME)
    assert "| test |" not in card.text
    assert "| validation |" in card.text
    assert "model-index" not in card.data.to_dict()


def test_a_run_without_held_out_scores_is_refused(run: RunRecord, tmp_path: Path) -> None:
    scoreless = {name: value for name, value in METRICS.items() if name not in ("test", "validation")}
    with pytest.raises(UserError, match=r"metrics\.json has no figures of a held-out split"):
        with_metrics(run, tmp_path, scoreless)


def test_the_model_index_has_the_figures_of_the_run(run: RunRecord) -> None:
    card = ModelCard(str(model_card(run, NAME)))
    figures = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert figures == {"perplexity": 3.49, "nats_per_word": 1.25}


def test_the_card_shows_javascript_if_there_is_onnx(run: RunRecord) -> None:
    card = model_card(run, NAME, "v2", optional_files=[ONNX, ONNX_QUANTIZED])
    check(card, NAME)
    assert '"org/wine-gpt");' in model_card(run, NAME, optional_files=[ONNX]).text
    assert 'await pipeline("text-generation", "org/wine-gpt", { revision: "v2", dtype: "q8" });' in card.text
    assert {"onnx", "transformers.js"} <= set(card.data.tags)
    without = model_card(run, NAME, "v2")
    assert "onnx" not in str(without)


def test_the_card_says_that_the_weights_of_the_epochs_are_there(run: RunRecord) -> None:
    sentence = "The folder `epochs` has the weights after each epoch"
    assert sentence in model_card(run, NAME, optional_files=[EPOCH_FILES[0]]).text
    assert sentence not in model_card(run, NAME).text


def test_the_card_says_how_embeddings_were_learned(run: RunRecord) -> None:
    training = dataclasses.replace(run.config.training, character_ngrams=True)
    learned = dataclasses.replace(run, config=dataclasses.replace(run.config, training=training))
    row = "| embeddings | learned with character n-grams |"
    assert row in model_card(learned, NAME).text
    assert row not in model_card(run, NAME).text


def test_the_card_shows_energy_if_it_was_measured(run: RunRecord, tmp_path: Path) -> None:
    measured = {**METRICS, "training": {**METRICS["training"], "energy_kwh": 0.00123}}
    card = model_card(with_metrics(run, tmp_path, measured), NAME)
    check(card, NAME)
    assert "| energy | 0.0012 kWh, estimated by codecarbon; 0.58 g of CO2 at 475 g per kWh |" in card.text
    assert card.data.co2_eq_emissions["emissions"] == 0.58
    assert card.data.co2_eq_emissions["training_type"] == "pre-training"
    assert "co2_eq_emissions" not in model_card(run, NAME).data.to_dict()


def test_the_card_says_what_a_model_was_distilled_from(run: RunRecord, tmp_path: Path) -> None:
    distillation = {
        "members": [{"name": f"seed_{seed}", "validation": 3.0, "test": seed / 10} for seed in (31, 30)],
        "ensemble": {"name": "ensemble", "validation": 2.9, "test": 2.951},
        "synthetic_reviews": 7113,
        "settings": {
            "members": 2,
            "member_epochs": 16,
            "synthetic_ratio": 1.0,
            "synthetic_sets": 1,
            # a setting that an earlier version wrote
            "teacher_weight": 0.0,
        },
    }
    card = str(model_card(with_metrics(run, tmp_path, {**METRICS, "distillation": distillation}), NAME))
    assert "It was distilled from 2 models of its size, trained for 16 epochs with other seeds" in card
    assert "on 7,113 synthetic texts that they wrote, beside the training texts." in card
    assert "have 3.000 to 3.100 nats per word each, and 2.951 together" in card
    assert "scripts/distill.py downloads/wine-gpt/config.yaml --distillation.members 2 " in card
    assert "teacher_weight" not in card


def test_the_cards_show_what_is_beyond_the_positions(run: RunRecord, tmp_path: Path) -> None:
    cut = {**METRICS, "training": {**METRICS["training"], "reviews_cut": 1234, "words_cut": 0.0625}}
    text = model_card(with_metrics(run, tmp_path, cut), NAME).text
    assert "| training texts longer than the model's positions | 1,234 |" in text
    assert "| training words not seen because they are beyond these positions | 6.25% |" in text
    assert "positions |" not in model_card(run, NAME).text


def test_the_license_follows_the_data(run: RunRecord, tmp_path: Path) -> None:
    assert model_card(run, NAME).data.license == "cc-by-nc-sa-4.0"
    assert "https://www.kaggle.com/datasets/zynicide/wine-reviews" in license_notice(run)
    for name in ("winemag-data-130k-v2.json", "winemag-data_first150k.csv", "winemag-data-first-8000.json"):
        renamed = finish(run.folder, tmp_path / name, path=f"/home/somebody/{name}")
        assert read_run(renamed).corpus == run.corpus
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("winemag-data-130k-v2.json", "[]")
    zipped = finish(run.folder, tmp_path / "zipped", path=str(tmp_path / "archive.zip"))
    assert read_run(zipped).corpus == run.corpus
    synthetic = model_card(with_metrics(run, tmp_path, METRICS), NAME)
    assert synthetic.data.license == "apache-2.0"
    assert "synthetic" in synthetic.data.tags
    assert "**Trained on synthetic reviews.**" in synthetic.text


@pytest.mark.skipif(not (SPACE / "README.md").exists(), reason="the demo is not in this tree")
def test_the_space_names_the_gradio_version_that_it_was_tested_with(run: RunRecord) -> None:
    card = space_card(run, SPACE / "README.md", DEMO, [NAME])
    check(card, "Space")
    assert card.data.sdk_version == importlib.metadata.version("gradio")
    assert card.data.to_dict()["app_file"] == "app.py"
    assert card.data.thumbnail == "https://huggingface.co/spaces/org/wine-gpt-demo/resolve/main/thumbnail.png"
    assert {"title", "emoji", "short_description", "license", "models", "tags"} <= card.data.to_dict().keys()


@pytest.mark.parametrize(
    ("prefix", "heading", "short"),
    [
        (
            "recipe",
            "# A small model writes “recipe” texts",
            "A small GPT-2 writes “recipe” texts and shows its attention",
        ),
        ("", "# A small model writes texts", "A small GPT-2 writes texts and shows its attention"),
        ("x" * 30, f"# A small model writes “{'x' * 30}” texts", "A small GPT-2 writes texts and shows its attention"),
    ],
)
def test_the_space_of_another_corpus_does_not_mention_wine(
    run: RunRecord, tmp_path: Path, prefix: str, heading: str, short: str
) -> None:
    folder = finish(run.folder, tmp_path / "run", path="breads.jsonl", prefix=prefix, text_field="how")
    card = space_card(read_run(folder, MIT), SPACE / "README.md", "me/demo", ["me/recipe-gpt"])
    check(card, "Space")
    assert (card.data.title, card.data.to_dict()["short_description"]) == ("recipe-gpt", short)
    assert card.text.strip().splitlines()[0] == heading
    assert "hf download me/demo --repo-type space --local-dir demo\ncd demo\n" in card.text
    assert not re.search(
        r"(?<!WINE_GPT_)wine|review|🍷|(?<!opensource\.)org/", str(card).replace("WINE_GPT_MODEL", "")
    )


def test_the_space_of_wine_names_its_own_model(run: RunRecord) -> None:
    card = space_card(run, SPACE / "README.md", "me/demo", ["me/my-wine"])
    assert card.data.title == "my-wine"
    assert "# A small model writes wine reviews" in card.text
    assert "The demo loads [me/my-wine]" in card.text
    assert "LoRA adapters" not in card.text
    assert "org/wine-gpt" not in str(card)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("app_file: app.py", "app_file: ''", "the card's app_file is empty"),
        ("app_file: app.py", f"short_description: {'x' * 61}", "short_description has more than 60 characters"),
    ],
)
def test_a_bad_card_is_found_without_the_hub(run: RunRecord, tmp_path: Path, old: str, new: str, message: str) -> None:
    own = demo(tmp_path / "space", "") / "README.md"
    own.write_text(own.read_text().replace(old, new))
    with pytest.raises(UserError, match=re.escape(message)):
        check(space_card(run, own, DEMO, [NAME]), "Space org/demo")


def test_a_template_without_a_value_is_refused() -> None:
    values = {"card_data": "", "name": "me/demo", "corpus": SAMPLE, "source": "", "prefix": "", "has_adapters": False}
    for nothing in (None, math.nan):
        with pytest.raises(ValueError, match="no text for"):
            fill("space.md", model=nothing, **values)


def test_a_corpus_may_contain_any_words(run: RunRecord, tmp_path: Path) -> None:
    """Samples, names and values that look like unfilled placeholders: nan bread, the topping None, a text on Jinja."""
    text = "recipe : None : serve the nan bread with {{ ghee }} {% raw %}"
    folder = finish(run.folder, tmp_path / "run", path="breads.jsonl", prefix="recipe", text_field="how")
    breads = read_run(folder, MIT)
    adapt(folder, tmp_path / "lora", "None")
    card = model_card(breads, NAME, samples=[Sample("recipe : None", text)])
    check(card, NAME)
    assert f"```text\n{text}\n```" in card.text
    ((none,), _) = read_subset_models(tmp_path / "lora", breads, NAME)
    card = subset_card(breads, none, NAME, "main")
    check(card, none.repository)
    assert "the texts whose variety is None." in card.text


# what the publisher says of a corpus of their own


def own_run(run: RunRecord, tmp_path: Path, own: OwnCorpus = MIT, **data: str) -> RunRecord:
    settings = {"path": "breads.jsonl", "prefix": "recipe", "text_field": "how", **data}
    return read_run(finish(run.folder, tmp_path / "own", **settings), own)


def test_the_card_of_another_corpus_has_its_name_and_language(
    run: RunRecord, subset_models: list[SubsetModel], tmp_path: Path
) -> None:
    own = own_run(run, tmp_path, OwnCorpus("cc-by-nc-4.0", language="es, ca", dataset_name="Recetas de pan"))
    model = model_card(own, NAME, samples=[Sample("recipe", "recipe : pan : amasar.")])
    for card in (model, subset_card(own, subset_models[-1], NAME, "main")):
        check(card, NAME)
        assert card.data.language == ["es", "ca"]
        assert not re.search("wine(?!.gpt)|tasting|review", card.text.replace(r"wine\_gpt", ""))
        assert "They may be used for non-commercial purposes only. Whoever shares them must credit the" in card.text
    assert model.data.eval_results[0].dataset_name == "Recetas de pan"
    assert model.data.eval_results[0].dataset_type == "recetas-de-pan"
    assert "writes texts that begin with `recipe`, word by word. It was trained from scratch on\nRecetas de pan" in (
        model.text
    )
    assert model.data.widget == [{"text": "recipe", "output": {"text": "recipe : pan : amasar."}}]
    assert "non-commercial" in license_notice(own)
    assert "--data.path FILE" in model.text


def test_a_dataset_of_the_hub_is_linked(run: RunRecord, tmp_path: Path) -> None:
    own = own_run(run, tmp_path, path="me/recipes", name="breads", revision="v2")
    card = model_card(own, NAME)
    assert card.data.datasets == ["me/recipes"]
    assert (card.data.eval_results[0].dataset_type, card.data.eval_results[0].dataset_config) == (
        "me/recipes",
        "breads",
    )
    assert (
        "\n[me/recipes](https://huggingface.co/datasets/me/recipes), configuration `breads`, revision `v2`.\n"
        in card.text
    )
    assert "--data.path" not in card.text
    # nothing is known of the dataset's license
    assert "The weights are licensed under [MIT]" in card.text


def test_a_license_that_the_hub_does_not_list_has_name_and_link(run: RunRecord, tmp_path: Path) -> None:
    own = own_run(run, tmp_path, OwnCorpus("other", "bread-1.0", "https://bread.net/license"))
    card = model_card(own, NAME)
    check(card, NAME)
    metadata = card.data.to_dict()
    assert [metadata[key] for key in ("license", "license_name", "license_link")] == [
        *("other", "bread-1.0", "https://bread.net/license")
    ]
    assert "[bread-1.0](https://bread.net/license)" in card.text


def test_an_unknown_license_permits_nothing(run: RunRecord, tmp_path: Path) -> None:
    own = own_run(run, tmp_path, OwnCorpus("unknown"))
    nothing = "The license of the training texts is unknown, so nobody is permitted to reuse the weights."
    cards = (
        model_card(own, NAME),
        space_card(own, SPACE / "README.md", DEMO, [NAME]),
        explorer_card(own, DEMO, [NAME]),
    )
    for text in (*(card.text for card in cards), license_notice(own)):
        assert nothing in text
        assert "licensed under unknown" not in text
    family = own_run(run, tmp_path / "family", OwnCorpus("bsd"))
    assert "The weights are licensed under a BSD license.\n" in model_card(family, NAME).text


@pytest.mark.parametrize(
    ("path", "own", "message"),
    [
        ("a.csv", OwnCorpus(), "ask the texts' owner, or use --license unknown, which lets nobody reuse the model"),
        ("a.csv", OwnCorpus("Apache 2.0"), "did you mean apache-2.0?"),
        ("a.csv", OwnCorpus("MIT"), "did you mean mit?"),
        ("a.csv", OwnCorpus("my-own-terms"), "--license other --license_name NAME --license_link URL"),
        ("a.csv", OwnCorpus("other"), "--license_name is missing"),
        ("a.csv", OwnCorpus("other", "My terms", "https://a.b/c"), "--license_name My terms: use a-z"),
        ("a.csv", OwnCorpus("other", "my-terms", "LICENSE"), "--license_link LICENSE: name the https address"),
        ("a.csv", OwnCorpus("mit", "mit", "https://a.b/c"), "are for --license other"),
        ("a.csv", OwnCorpus("mit", language="Spanish"), "--language Spanish: is no ISO 639 code"),
        ("a.csv", OwnCorpus("mit", language="es,"), None),
        ("a.csv", OwnCorpus("openrail++"), None),
        ("sample", OwnCorpus("mit"), "--license mit: a model trained on synthetic wine reviews is under apache-2.0"),
        ("sample", OwnCorpus(language="fr"), "--language is for your own corpus"),
        ("kaggle", OwnCorpus("cc-by-nc-sa-4.0", dataset_name="Wines"), "--dataset_name is for your own corpus"),
        ("kaggle", OwnCorpus("cc-by-nc-sa-4.0"), None),
    ],
)
def test_what_is_said_of_a_corpus_is_checked(path: str, own: OwnCorpus, message: str | None) -> None:
    if message is None:
        corpus_of(DataSource(DataConfig(path=path)), own)
        return
    with pytest.raises(UserError, match=re.escape(message)):
        corpus_of(DataSource(DataConfig(path=path)), own)


def test_a_blank_name_and_a_repeated_language_are_left_out() -> None:
    corpus = corpus_of(DataSource(DataConfig(path="a.csv")), OwnCorpus("mit", language="es, en,es", dataset_name=" "))
    assert (corpus.name, corpus.languages) == ("a.csv", ("es", "en"))


def test_the_working_folder_has_its_own_name(run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_breads(tmp_path / "breads" / "a.csv")
    (tmp_path / "other").mkdir()
    folder = finish(run.folder, tmp_path / "run", path=".")
    monkeypatch.chdir(tmp_path / "breads")
    load_reviews(DataConfig(path=".", **BREADS)).report.save(folder / "data_report.json")
    monkeypatch.chdir(tmp_path / "other")
    found = read_run(folder, MIT)
    assert found.published_config(NAME).data.path == found.corpus.name == "breads"
    assert "were learned from breads." in license_notice(found)


@pytest.mark.parametrize("name", ["reviews", "winemag-data"])
def test_a_folder_is_not_published_as_a_dataset_of_the_hub(
    run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = f"data/{name}"
    save_breads(tmp_path / path / "a.csv")
    folder = finish(run.folder, tmp_path / "run", path=path)
    monkeypatch.chdir(tmp_path)
    load_reviews(DataConfig(path=path, **BREADS)).report.save(folder / "data_report.json")
    (tmp_path / "data").rename(tmp_path / "moved")
    found = read_run(folder, OwnCorpus("cc-by-nc-sa-4.0"))
    card = model_card(found, NAME)
    assert "datasets" not in card.data.to_dict()
    assert f"huggingface.co/datasets/{path}" not in str(card)
    assert "config.yaml --data.path FILE" in str(card)
    assert found.published_config(NAME).data.path == name
    # files that can no longer be read are recognized by their names
    assert (found.corpus.name == "Wine Reviews") == (name == "winemag-data")


def test_a_dataset_of_the_hub_is_published_as_one_beside_a_folder_of_its_name(
    run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finish(run.folder, tmp_path / "run", path="baker/breads")
    report = json.loads((folder / "data_report.json").read_text())
    (folder / "data_report.json").write_text(json.dumps({**report, "from_hub": True}))
    save_breads(tmp_path / "baker" / "breads" / "a.csv")
    monkeypatch.chdir(tmp_path)
    card = model_card(read_run(folder, MIT), NAME)
    assert card.data.datasets == ["baker/breads"]
    assert "--data.path FILE" not in str(card)


@pytest.mark.parametrize(("file", "corpus"), [("breads.csv", "breads.csv"), ("winemag-data.csv", "Wine Reviews")])
def test_a_run_moved_from_windows_is_published_without_its_folders(
    run: RunRecord, tmp_path: Path, file: str, corpus: str
) -> None:
    path = rf"C:\Users\bob\{file}"
    folder = finish(run.folder, tmp_path / "run", path=path)
    report = json.loads((folder / "data_report.json").read_text())
    (folder / "data_report.json").write_text(json.dumps({**report, "source": path, "from_hub": False}))
    found = read_run(folder, OwnCorpus("cc-by-nc-sa-4.0"))
    assert found.published_config(NAME).data.path == file
    assert found.corpus.name == corpus
    assert "bob" not in str(model_card(found, NAME)) + license_notice(found)


def test_kaggles_reviews_are_recognized_by_their_texts(tmp_path: Path) -> None:
    known = (
        "The palate isn't overly expressive, offering unripened apple, citrus and dried sage alongside brisk acidity."
    )
    fields = {"country": "Italy", "province": "Sicily", "variety": "White Blend"}
    texts = [f"It is wine number {number}, and a fine one." for number in range(40)]
    for name, extra, is_kaggle in [
        ("notes.json", [known], True),
        ("notes.txt", [f"wine review : italy : sicily : {known.upper()}"], True),
        ("winemag-data-130k-v2.json", [], False),
    ]:
        file = tmp_path / name
        records = [{**fields, "description": text} for text in [*texts, *extra]]
        file.write_text("\n".join([*texts, *extra]) if name.endswith(".txt") else json.dumps(records))
        form = {"prompt_fields": (), "text_field": "text"} if name.endswith(".txt") else {}
        data = DataConfig(path=str(file), **form)
        assert (corpus_of(DataSource(data), OwnCorpus("cc-by-nc-sa-4.0")).name == "Wine Reviews") == is_kaggle


# what the figures show


@pytest.mark.parametrize(
    ("rates", "conclusion"),
    [
        ({"country": 0.9, "variety": 0.81}, "Generated texts reflect the country and variety in their header."),
        (
            {"country": 0.45, "variety": 0.81},
            "Generated texts reflect the variety in their header. They do not measurably reflect the country.",
        ),
        (
            {"country": 0.45, "variety": math.nan},
            "Generated texts do not measurably reflect the country in their header.",
        ),
    ],
)
def test_a_field_is_followed_if_it_is_recognized_significantly_more_often_than_guessed(
    run: RunRecord, rates: dict[str, float], conclusion: str
) -> None:
    assert run.evaluation is not None
    found = ConditioningResult({"generated": rates, "commonest": {"variety": 0.1, "country": 0.4}}, None)
    report = dataclasses.replace(run.evaluation, conditioning=found)
    assert conditioning_section(("country", "province", "variety"), report).conclusion == conclusion


@pytest.mark.parametrize(
    ("generated", "held_out", "comparison"),
    [(9.3, 8.8, "about as long as"), (9.3, 8.2, "longer than"), (8, 9.5, "shorter than")],
)
def test_spans_in_common_are_compared(generated: float, held_out: float, comparison: str) -> None:
    assert f"training texts are {comparison} those of held-out texts" in compare_spans(generated, held_out)
    assert compare_spans(math.nan, held_out) == ""


def test_a_model_of_characters_is_compared_by_bits_per_character(
    run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunRecord, "tokenizer_kind", "characters")
    text = " ".join(model_card(run, NAME).text.split())
    assert (
        "Perplexity is its exponential. A word's loss is the sum of its characters' losses. The model needs "
        "1.100 bits per character, a figure that also compares models with other tokenizers."
    ) in text


def test_an_evaluation_without_texts_has_no_section(run: RunRecord, tmp_path: Path) -> None:
    assert run.evaluation is not None
    report = dataclasses.replace(run.evaluation, copying={}, diversity={}, conditioning=None)
    card = model_card(dataclasses.replace(run, evaluation=report), NAME)
    assert not re.findall(r"^### Does", card.text, re.MULTILINE)


def test_a_change_that_includes_zero_shows_no_gain(subset_models: list[SubsetModel]) -> None:
    comparison = subset_models[0].metrics.comparison
    assert change_after_header(comparison) == "-1.0% (-3.0% to +1.0%), no gain shown"
    gain = dataclasses.replace(comparison, after_header=comparison.whole)
    assert "no gain" not in change_after_header(gain)


def test_alpha_is_shown_only_if_weights_were_interpolated(run: RunRecord, subset_models: list[SubsetModel]) -> None:
    model = subset_models[-1]
    assert "(WiSE-FT): 0 is the base, 1 the trained weights | 0.5 |" in subset_card(run, model, NAME, "main").text
    whole = dataclasses.replace(model, metrics=dataclasses.replace(model.metrics, alpha=1.0))
    assert "WiSE-FT" not in subset_card(run, whole, NAME, "main").text


# what a reader can repeat


@pytest.mark.parametrize(
    ("processes", "device", "launcher"),
    [
        (1, "cpu (x86_64)", "OMP_NUM_THREADS=2 python scripts/pretrain.py"),
        (1, "cuda (NVIDIA H100)", "\npython scripts/pretrain.py"),
        (2, "cpu (x86_64)", "OMP_NUM_THREADS=2 accelerate launch --config_file configs/accelerate/cpu_processes.yaml"),
        (4, "cuda (NVIDIA H100)", "accelerate launch --config_file configs/accelerate/gpus.yaml --num_processes 4"),
    ],
)
def test_the_commands_use_as_many_processes_and_threads(
    run: RunRecord, tmp_path: Path, processes: int, device: str, launcher: str
) -> None:
    metrics = {
        **METRICS,
        "training": {**TRAINING, "processes": processes, "mixed_precision": "bf16"},
        "environment": {**METRICS["environment"], "device": device},
    }
    repeated = with_metrics(run, tmp_path, metrics)
    card = model_card(repeated, NAME, "v2")
    assert "hf download org/wine-gpt config.yaml --revision v2 --local-dir downloads/wine-gpt" in card.text
    assert launcher in card.text
    # auto may be another precision elsewhere
    assert repeated.published_config(NAME).training.mixed_precision == "bf16"
    assert repeated.published_config(NAME).output_dir == "runs/wine-gpt"


def test_a_fine_tuning_is_repeated_with_all_its_settings(
    run: RunRecord, subset_models: list[SubsetModel], tmp_path: Path
) -> None:
    lora = subset_models[-1]
    card = subset_card(run, lora, NAME, "v2")
    for line in (
        "hf download org/wine-gpt --revision v2 --local-dir downloads/wine-gpt",
        "hf download org/wine-gpt-pinot-noir finetune_config.yaml --revision v2 --local-dir "
        "downloads/wine-gpt-pinot-noir",
        "OMP_NUM_THREADS=2 python scripts/finetune.py downloads/wine-gpt-pinot-noir/finetune_config.yaml",
        "| LoRA rank | 2 |",
        "| peak learning rate | 0.0003 |",
        "| seed | 42 |",
    ):
        assert f"{line}\n" in card.text
    file = tmp_path / "finetune_config.yaml"
    file.write_text(str(lora.config_yaml(NAME)))
    config = parse_config(FinetuneConfig, [str(file)])
    assert (config.training.epochs, config.training.learning_rate, config.training.mixed_precision) == (2, 3e-4, "no")
    assert (config.training.micro_batches, config.training.trackers) == (2, "none")
    assert (config.field, config.value, config.min_reviews) == ("variety", "Pinot Noir", 1)
    # neither the folder that the base is downloaded to nor the one that it is trained in
    assert (config.base, config.output_dir) == ("downloads/wine-gpt", "runs/wine-gpt-lora")


def test_the_commands_install_what_the_data_and_the_script_need(
    run: RunRecord, subset_models: list[SubsetModel], tmp_path: Path
) -> None:
    own = own_run(run, tmp_path)
    for found, base, adapter in (
        (run, 'pip install -e ".[kaggle]"', 'pip install -e ".[adapters,kaggle]"'),
        (own, "pip install -e .", 'pip install -e ".[adapters]"'),
    ):
        assert f"after `{base}`" in model_card(found, NAME).text
        assert f"after `{adapter}`" in subset_card(found, subset_models[-1], NAME, "main").text


def test_a_run_is_repeated_with_the_tokenizer_that_it_was_given(run: RunRecord) -> None:
    tokenizer = dataclasses.replace(run.config.tokenizer, path="/home/somebody/words")
    given = dataclasses.replace(run, config=dataclasses.replace(run.config, tokenizer=tokenizer))
    files = "config.yaml tokenizer.json tokenizer_config.json --revision v2 --local-dir downloads/wine-gpt"
    assert f"hf download org/wine-gpt {files}\n" in model_card(given, NAME, "v2").text
    assert given.published_config(NAME).tokenizer.path == "downloads/wine-gpt"


def test_a_run_is_repeated_without_its_trackers(run: RunRecord) -> None:
    training = dataclasses.replace(run.config.training, trackers="wandb")
    tracked = dataclasses.replace(run, config=dataclasses.replace(run.config, training=training))
    assert tracked.published_config(NAME).training.trackers == "none"


def test_a_field_that_is_not_in_the_header_tells_the_models_nothing(
    run: RunRecord, subset_models: list[SubsetModel]
) -> None:
    found = subset_models[-1].metrics
    comparison = dataclasses.replace(found.comparison, value_hidden=None)
    metrics = dataclasses.replace(found, field="taster_name", value="Roger Voss", comparison=comparison)
    card = subset_card(run, dataclasses.replace(subset_models[-1], metrics=metrics), NAME, "main")
    assert "the running text alone, before which neither model reads the taster\\_name,\nchanges by" in card.text
    assert "header names" not in card.text
    assert "saves the loss of predicting it" not in card.text


def test_headers_that_fill_the_positions_leave_nothing_to_show(
    run: RunRecord, subset_models: list[SubsetModel], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert sample_texts(model, tokenizer, ["plum " * 63]) == []
    metrics = subset_models[-1].metrics
    hidden = metrics.comparison.value_hidden
    assert hidden is not None
    nothing = dataclasses.replace(hidden, base=dataclasses.replace(hidden.base, nats_per_word=math.nan, words=0))
    metrics = dataclasses.replace(metrics, comparison=dataclasses.replace(metrics.comparison, value_hidden=nothing))
    card = subset_card(run, dataclasses.replace(subset_models[-1], metrics=metrics), NAME, "main")
    assert "unknown word in place" not in card.text
    assert not re.search(r"\bnan\b", card.text)


@pytest.mark.parametrize(
    "prefix", ['a "quoted" one', r"back\slash", "grüße `x`", "{{ x }}", "", "tab\there", "日本語 |"]
)
def test_the_snippets_are_python_whatever_the_prefix(
    run: RunRecord, subset_models: list[SubsetModel], tmp_path: Path, prefix: str
) -> None:
    own = own_run(run, tmp_path, prefix=prefix, prompt_fields=("country", "province", "variety"))
    model = model_card(own, NAME)
    for card, prompt in (
        (model, prefix),
        (subset_card(own, subset_models[-1], NAME, "main"), None),
    ):
        check(card, NAME)
        snippets = [ast.parse(snippet) for snippet in re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)]
        calls = [node for snippet in snippets for node in ast.walk(snippet) if isinstance(node, ast.Call)]
        (write,) = [call for call in calls if getattr(call.func, "id", "") == "write"]
        assert prompt in (None, ast.literal_eval(write.args[0]))
        # pipelines of transformers 4.52 to 5.12 use their own temperature
        assert [(keyword.arg, ast.literal_eval(keyword.value)) for keyword in write.keywords] == [
            *(("temperature", 0.8), ("top_p", 0.9))
        ]


def test_the_snippets_name_any_branch(run: RunRecord, subset_models: list[SubsetModel]) -> None:
    branch = 'a"b'
    for card in (
        model_card(run, NAME, branch),
        subset_card(run, subset_models[-1], NAME, branch),
    ):
        snippets = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
        keywords = [node for text in snippets for node in ast.walk(ast.parse(text)) if isinstance(node, ast.keyword)]
        revisions = [ast.literal_eval(keyword.value) for keyword in keywords if keyword.arg == "revision"]
        assert len(revisions) >= 1
        assert set(revisions) == {branch}


def test_the_cards_link_to_the_source_code(
    run: RunRecord, subset_models: list[SubsetModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyproject = tmp_path / "pyproject.toml"
    monkeypatch.setattr(source, "PYPROJECT", pyproject)
    pyproject.write_text('[project]\nname = "x"\n[project.urls]\nRepository = "https://git.sr.ht/~me/wine_gpt"\n')
    for card in (
        model_card(run, NAME),
        subset_card(run, subset_models[-1], NAME, "main"),
        space_card(run, SPACE / "README.md", DEMO, [NAME]),
    ):
        assert "](https://git.sr.ht/~me/wine_gpt)" in card.text
    install = 'cd wine_gpt\npip install -e ".[kaggle]"\nhf download'
    clone = f"```bash\ngit clone https://git.sr.ht/~me/wine_gpt wine_gpt\n{install}"
    # the version of the default branch may be a later one
    assert f"\nWith wine_gpt 0.1.0 or a later version:\n\n{clone}" in model_card(run, NAME).text
    for placeholder in (
        "https://github.com/OWNER/wine_gpt",
        "https://example.com/x",
        "git@a.b:c",
        "https://a.b/<name>",
    ):
        pyproject.write_text(f'[project]\nname = "x"\n[project.urls]\nRepository = "{placeholder}"\n')
        with pytest.raises(UserError, match=r"project\.urls\.Repository is"):
            source.source_url()


def test_a_subsets_value_stands_in_the_title(run: RunRecord, subset_models: list[SubsetModel]) -> None:
    metrics = dataclasses.replace(subset_models[-1].metrics, value="红酒")
    card = subset_card(run, dataclasses.replace(subset_models[-1], metrics=metrics), NAME, "main")
    assert "# wine-gpt-pinot-noir (variety: 红酒)\n" in card.text
    assert 'write("wine review : spain : rioja : 红酒 :", ' in card.text
    assert {"lora", "transformers", "base_model:adapter:org/wine-gpt"} <= set(card.data.tags)


def test_large_perplexities_have_thousands_separators() -> None:
    score = Score(nats_per_word=9.5, unknown_rate=0, words=1200, reviews=20, end_of_text_nats=0)
    assert "| 13,359.73 | 0.0% | 1,200 |" in score_table("split", {"test": score})
    assert str(score) == "9.500 nats per word, perplexity 13,359.7"
