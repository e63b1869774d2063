"""A classifier finds a review's label from its text, and pipeline() loads it."""

import dataclasses
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from sklearn.metrics import f1_score
from support.hub_faults import state
from support.hub_server import HubServer
from support.publisher import Publisher
from transformers import pipeline

from wine_gpt import api
from wine_gpt.commands.finetune import default_file
from wine_gpt.config import (
    DataConfig,
    FinetuneConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    PretrainConfig,
    TrainingConfig,
)
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import RUNNING_TEXT, load_reviews
from wine_gpt.errors import RunInterrupted, UserError
from wine_gpt.tasks.classification import ClassifierMetrics
from wine_gpt.tasks.classification.baselines import COMMONEST, score_baselines
from wine_gpt.tasks.classification.classify import classify, label_texts, named_in_text
from wine_gpt.tasks.classification.labels import find_labels
from wine_gpt.tasks.classification.results import ClassifierScore, macro_f1
from wine_gpt.tasks.classification.table import to_markdown
from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.trainer import Trainer

TRAINING = TrainingConfig(epochs=4, batch_tokens=160, learning_rate=0.01, mixed_precision="no", checkpoint_steps=5)
# the fruit that this grape's reviews name
FRUITS = {"Pinot Noir": "cherry", "Rosé": "melon", "Gamay": "beet"}


def write_records(file: Path) -> None:
    """Write 240 reviews of three grapes, and one of a grape of its own."""
    random = np.random.default_rng(0)
    records = []
    for number in range(240):
        grape = [*FRUITS][number % 3]
        words = " ".join(random.permutation(["dry", "red", "bright", "long", "soft"])[: 2 + number % 4])
        records.append(
            {
                "country": ("France", "Italy")[number % 2],
                "province": "Somewhere",
                "variety": "Lonely" if number == 0 else grape,
                "points": 80 + number % 20,
                "description": f"Number {number} is a {words} wine with {FRUITS[grape]}.",
            }
        )
    file.write_text(json.dumps(records), encoding="utf-8")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with reviews and a base model that was trained on them for one epoch."""
    folder = tmp_path_factory.mktemp("classification")
    write_records(folder / "reviews.json")
    cache, threads = datasets.config.HF_DATASETS_CACHE, torch.get_num_threads()
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    torch.set_num_threads(1)
    pretrain(
        PretrainConfig(
            data=DataConfig(path=str(folder / "reviews.json"), validation_fraction=0.2, test_fraction=0.2),
            model=ModelConfig(n_layer=2, n_head=2, n_embd=32, n_inner=64, block_size=32, dropout=0.1),
            training=dataclasses.replace(TRAINING, epochs=1),
            output_dir=str(folder / "base"),
        )
    )
    yield folder
    torch.set_num_threads(threads)
    datasets.config.HF_DATASETS_CACHE = cache


def config(work: Path, output: str = "variety", **settings: Any) -> FinetuneConfig:  # noqa: ANN401
    given = {"label": "variety", "base": str(work / "base"), "output_dir": str(work / output), "training": TRAINING}
    return FinetuneConfig(task="classify", method="full", **{**given, **settings})


@pytest.fixture(scope="module")
def variety(work: Path) -> ClassifierMetrics:
    return classify(config(work))


def test_it_finds_the_labels_of_unseen_reviews(work: Path, variety: ClassifierMetrics) -> None:
    assert {*variety.classes} == {*FRUITS}
    assert variety.left_out == {"Lonely": 1}
    assert variety.test.accuracy > variety.baselines["commonest label"].accuracy + 0.3
    assert {*variety.baselines} == {"commonest label", "TF-IDF + logistic regression"}
    assert variety.named_in_text == 0
    saved = json.loads((work / "variety" / "metrics.json").read_text(encoding="utf-8"))
    assert ClassifierMetrics.from_dict(saved) == variety
    assert "nats_per_word" not in json.dumps(saved)


def test_pipeline_loads_it_and_a_batch_gives_the_scores_of_single_texts(
    work: Path, variety: ClassifierMetrics
) -> None:
    find = pipeline("text-classification", model=str(work / "variety"))
    reviews = load_reviews(DataConfig(path=str(work / "reviews.json"), validation_fraction=0.2, test_fraction=0.2))
    rows = [row for row in reviews.splits["test"] if row["variety"] in variety.classes]
    texts = [row["description"] for row in rows]
    batch = find(texts, batch_size=16, truncation=True)
    accuracy = np.mean([found["label"] == row["variety"] for found, row in zip(batch, rows, strict=True)])
    assert accuracy == pytest.approx(variety.test.accuracy)
    # of different lengths
    for text, found in [*zip(texts, batch, strict=True)][:6]:
        assert find(text)[0] == {"label": found["label"], "score": pytest.approx(found["score"], abs=1e-5)}
    settings = json.loads((work / "variety" / "config.json").read_text(encoding="utf-8"))
    assert settings["architectures"] == ["GPT2ForSequenceClassification"]
    assert settings["label2id"] == {name: number for number, name in enumerate(variety.classes)}
    assert settings["pad_token_id"] == 0


def test_the_text_has_no_column_but_the_running_text(work: Path) -> None:
    reviews = load_reviews(DataConfig(path=str(work / "reviews.json"), validation_fraction=0.2, test_fraction=0.2))
    labels, texts = label_texts(reviews, "description", find_labels(reviews.splits, "variety", 20, 4))
    for name, split in texts.items():
        assert split.column_names == [RUNNING_TEXT]
        assert all(
            re.fullmatch(r"Number \d+ is a [a-z ]+ wine with (cherry|melon|beet)\.", text)
            for text in split[RUNNING_TEXT]
        )
        assert len(split) == len(labels.ids[name])
        for text, number in zip(split[RUNNING_TEXT], labels.ids[name], strict=True):
            assert FRUITS[labels.names[number]] in text


def test_an_interrupted_training_resumes_bit_for_bit(
    work: Path, variety: ClassifierMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = Trainer.train_step

    def interrupted(trainer: Trainer[Any], step: int) -> None:
        train_step(trainer, step)
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        with pytest.raises(RunInterrupted, match="stopped after step 7, which is saved"):
            classify(config(work, "stopped"))
    with pytest.raises(UserError, match="label: checkpoint variety, now country"):
        classify(config(work, "stopped", label="country", resume=True))
    classify(config(work, "stopped", resume=True))
    weights, expected = (load_file(work / name / "model.safetensors") for name in ("stopped", "variety"))
    assert all(weights[name].equal(tensor) for name, tensor in expected.items())
    # a finished run is not trained again
    assert classify(config(work)).test == variety.test
    with pytest.raises(UserError, match="was finished with other settings: label: then variety, now country"):
        classify(config(work, label="country"))


def test_points_become_ordered_bands(work: Path) -> None:
    metrics = classify(config(work, "points", label="points", training=dataclasses.replace(TRAINING, epochs=1)))
    assert [*metrics.classes] == ["up to 85", "86 to 90", "91 to 95", "96 and more"]
    assert metrics.ordered
    assert metrics.test.mean_distance is not None
    assert metrics.test.mean_distance >= 1 - metrics.test.accuracy
    assert metrics.left_out == {}
    assert "| nats per review | mean distance in labels |" in to_markdown(metrics)


# labels


def splits_of(values: list[Any], held_out: list[Any] | None = None) -> DatasetDict:
    train, others = Dataset.from_dict({"x": values}), Dataset.from_dict({"x": held_out or values[:2]})
    return DatasetDict(train=train, validation=others, test=others)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["a"] * 3 + ["B "] * 2 + ["b"] * 2 + ["c", None, ""], ("B", "a")),
        ([1, 1, 1, 2, 2, None], ("1", "2")),
        (["2", "2", "10", "10", " 1", "1"], ("1", "2", "10")),
        ([True, True, False, False], ("false", "true")),
        ([float(number) for number in range(12)], ("up to 2", "3 to 5", "6 to 8", "9 and more")),
        ([*range(11), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], ("up to 0", "1 to 5", "6 and more")),
        ([0.5, float("nan"), float("inf"), 0.5, 1.5, 1.5], ("0.5", "1.5")),
        (["12a", "12a", "7", "7"], ("12a", "7")),
        ([1000001, 1000001, 1000002, 1000002], ("1000001", "1000002")),
        ([0.3, 0.3, 0.1 + 0.2, 0.1 + 0.2], ("0.3", "0.30000000000000004")),
        ([0.0, -0.0, 1.0, 1.0], ("0", "1")),
    ],
)
def test_values_and_bands(values: list[Any], names: tuple[str, ...]) -> None:
    labels = find_labels(splits_of(values), "x", 2, 4)
    assert labels.names == names
    assert labels.ids["train"].max() == len(names) - 1
    assert labels.train_counts.min() >= 1


def test_a_text_names_its_label_by_whole_words() -> None:
    texts = {"US": ["A luscious wine.", "Of the us, $9"], "Pinot Noir": ["PINOT\tnoir!", "Noir pinot", "Pinots noirs"]}
    rows = [(label, text) for label, named in texts.items() for text in named]
    splits = splits_of([label for label, _ in rows])
    labels = find_labels(splits, "x", 2, 4)
    labels.ids["test"] = labels.ids["train"]
    assert named_in_text(Dataset.from_dict({RUNNING_TEXT: [text for _, text in rows]}), labels) == 2 / 5


def test_held_out_numbers_outside_the_training_reviews_fall_into_the_nearest_band() -> None:
    labels = find_labels(splits_of([*range(20)], [-5, 7, 100, None]), "x", 1, 4)
    assert labels.ids["test"].tolist() == [0, 1, 3, -1]
    assert labels.missing == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a"] * 5, "label x: only a has 2 training reviews, and a classifier needs two labels: it has one value"),
        (
            ["a"] * 5 + ["b"],
            r"label x: only a has 2 .* needs two labels; the next, counted in all splits, are b \(1\)",
        ),
        ([str(number) + "y" for number in range(9)], r"no value has 2 training .* 4y \([123]\), 4 more"),
        (["word " * 20 + end for end in "abc"], r"no value has .* are (word ){7}word… \([123]\), word"),
        ([None, None, None], "label x: no review has a value"),
        ([7] * 30, "label x: only 7 has 2 training reviews"),
        (
            [100] * 60 + [*range(11)],
            "label x: all its numbers fall into one band, 0 and more, because most training reviews have the largest, "
            "so that the quantiles which divide the bands are equal: raise bands, or name another column",
        ),
        ([7] * 30 + [8], r"label x: only 7 has .*; the next, counted in all splits, are 8 \(1\)"),
    ],
)
def test_too_few_labels_are_refused(values: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_labels(splits_of(values), "x", 2, 4)


# wrong settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "vriety"}, "config: label is 'vriety': the reviews have no such column; did you mean variety"),
        ({"label": "zzz"}, "label is 'zzz': the reviews have no such column; name one of country, .*, or pretrain"),
        ({"label": "description"}, "label description: no value has 20 training reviews"),
        ({"label": "province"}, "label province: only Somewhere has 20 training reviews"),
        ({"bands": 3}, "bands is 3: the column variety does not have more than 10 numbers: leave it out"),
        ({"min_reviews": 500}, "label variety: no value has 500 training reviews"),
        ({"base": "runs/nowhere"}, "base: no such folder: runs/nowhere"),
    ],
)
def test_wrong_labels_are_one_line(work: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        classify(config(work, "refused", **settings))
    assert "\n" not in str(error.value)
    assert not (work / "refused").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "clasify", "value": "x"}, "task is 'clasify': must be one of generate, classify"),
        ({"task": "classify", "method": "full"}, "label is None: name the column of the labels"),
        ({"task": "classify", "method": "full", "label": " "}, "label is ' ': name the column"),
        ({"task": "classify", "label": "variety"}, "method is 'lora': --task classify trains all weights"),
        ({"task": "classify", "method": "full", "label": "variety", "variety": "Merlot"}, "value is 'Merlot': --task"),
        ({"task": "classify", "method": "full", "label": "variety", "bands": 1}, "bands is 1: must be from 2 to 100"),
        ({"value": "Merlot", "label": "variety"}, "label is 'variety': is for --task classify only"),
        (
            {"task": "classify", "method": "full", "label": "x", "objective": ObjectiveConfig(text_weight=0.5)},
            "objective.text_weight is 0.5: --task classify has an objective of its own",
        ),
        (
            {"task": "classify", "method": "full", "label": "variety", "lora": LoraConfig(rank=8)},
            "lora.rank is 8: --method full trains all weights and has no adapter",
        ),
        ({"value": "Merlot", "bands": 5}, "bands is 5: is for --task classify only"),
        (
            {"task": "classify", "method": "full", "label": "variety", "field": "country"},
            "field is 'country': --task classify learns all values of a column: --label country",
        ),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FinetuneConfig(**settings)


def test_the_task_chooses_the_config() -> None:
    assert default_file(["--task", "classify"]) == default_file(["--task=classify"]) == "finetune/classify.yaml"
    assert default_file(["--task", "zzz"]) == default_file([]) == "finetune/lora.yaml"
    assert default_file(["--method", "full", "--variety", "all"]) == "finetune/full.yaml"
    assert default_file(["--value", "a --task classify"]) == "finetune/lora.yaml"
    given = parse_config(FinetuneConfig, ["--label", "points"], "finetune/classify.yaml")
    assert (given.task, given.method, given.label) == ("classify", "full", "points")


def test_a_classifier_is_no_language_model_and_no_base(work: Path, variety: ClassifierMetrics) -> None:
    with pytest.raises(UserError, match="is a classifier, which writes no text"):
        api.generate(work / "variety", "wine")
    with pytest.raises(UserError, match="is a fine-tuned model: name a pretrained run"):
        classify(config(work, "again", base=str(work / "variety")))
    with pytest.raises(
        UserError, match=f"is a classifier, .*: name its base, {work / 'base'}, or a model of finetune"
    ):
        api.similar(work / "variety", "wine")


def test_scores_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(50, 6)), random.integers(0, 5, 50)
    found = ClassifierScore.of(logits, labels, ordered=True)
    assert found.accuracy == (logits.argmax(1) == labels).mean()
    assert macro_f1(logits.argmax(1), labels) == pytest.approx(f1_score(labels, logits.argmax(1), average="macro"))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found.nats_per_review == pytest.approx(-np.log(probabilities[np.arange(50), labels]).mean())
    assert found.mean_distance == np.abs(logits.argmax(1) - labels).mean()
    assert ClassifierScore.from_dict(found.to_dict()) == found


def test_words_that_tf_idf_does_not_count_leave_it_out(caplog: pytest.LogCaptureFixture) -> None:
    """Those of a language without spaces between words, of which no two reviews share one."""
    train = [f"果香浓郁{number}" for number in range(8)], np.array([0, 1] * 4)
    scores = score_baselines(train, (["果香"], np.array([0])), 2, ordered=False)
    assert [*scores] == [COMMONEST]
    assert "TF-IDF + logistic regression left out: After pruning, no terms remain." in caplog.text


# publishing


def test_publish_uploads_the_classifier_with_a_card_of_its_own(
    hub: HubServer, publisher: Publisher, work: Path, variety: ClassifierMetrics
) -> None:
    hub.forget()
    run = work / "variety"
    (run / "notes.txt").write_text("private")
    refused = publisher.run(run, "--repo", "org/grapes", "--license", "mit", "--space", "org/demo").refused()
    assert "--space" in refused
    assert "is a classifier, which is published alone" in refused
    refused = publisher.run(work / "base", "--repo", "org/x", "--license", "mit", "--adapters", run).refused()
    assert f"--adapters: {run} is no model that scripts/finetune.py fine-tuned" in refused
    publisher.run(run, "--repo", "org/grapes", "--license", "mit").succeeded()
    (files,) = state(hub).values()
    assert files is not None
    model = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {*files} == {*model, "LICENSE", "README.md", "metrics.json", "config.yaml", "finetune_config.yaml"}
    card = ModelCard(files["README.md"])
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.license == "mit"
    figures = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert figures == {"accuracy": round(variety.test.accuracy, 4), "f1": round(variety.test.macro_f1, 4)}
    assert f"| this classifier | {variety.test.accuracy:.1%} |" in card.text
    assert "Left out: 1 rarer value, with 1 text in all." in card.text
    assert "Pass the running text, the column `description`, without a header." in card.text
    assert "cuts texts of more than 31 words and punctuation marks." in card.text
    # the corpus is the publisher's own
    assert 'print(find(["..."], truncation=True))' in card.text
    assert 'pip install -e ".[evaluation]"' in card.text
    assert "scripts/finetune.py downloads/grapes/finetune_config.yaml --data.path FILE" in card.text
    published = ClassifierMetrics.from_dict(json.loads(files["metrics.json"]))
    assert dataclasses.replace(published, base=variety.base, settings=variety.settings) == variety
    # an ONNX file that the owner made stays
    hub.upload("org/grapes", {"onnx/model.onnx": b"the owner's"})
    assert "already up to date" in publisher.run(run, "--repo", "org/grapes", "--license", "mit").succeeded()
    # neither model replaces the other
    hub.add_repository("org/base")
    hub.upload("org/base", {"README.md": b"---\npipeline_tag: text-generation\n---\n"})
    before = hub.state()
    for model, name, held, task in (
        (run, "org/base", "text-generation", "text-classification"),
        (work / "base", "org/grapes", "text-classification", "text-generation"),
    ):
        refused = publisher.run(model, "--repo", name, "--license", "mit").refused()
        assert refused.startswith(
            f"model repository {name} holds a {held} model, which a {task} model would replace: name another"
        )
    assert hub.state() == before
