"""A refit: trained on all reviews, with the tested run's figures, and refused where it would be scored on them."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from support.halt import interrupt_steps
from support.refused import refused
from support.small_run import SMALL, write_reviews
from support.snapshot import snapshot
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wine_gpt.config import FinetuneConfig, PretrainConfig, RefitConfig, ScoreConfig
from wine_gpt.config_io import build_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.data.template import training_data_settings
from wine_gpt.errors import RunInterrupted
from wine_gpt.evaluation.evaluate import evaluate_model
from wine_gpt.evaluation.ngram_filter import FILE_NAME
from wine_gpt.evaluation.ngram_index import build_index
from wine_gpt.finetuning.finetune import finetune
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.publishing.corpus import OwnCorpus
from wine_gpt.publishing.model_card import model_card
from wine_gpt.publishing.run_record import read_run
from wine_gpt.publishing.staging import write_index
from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.record import RunMetrics
from wine_gpt.training.refit import refit

# what publishing asks for generated reviews
OWN = OwnCorpus(license="mit")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a small run whose first epoch was the best, with an evaluation."""
    folder = tmp_path_factory.mktemp("refit")
    cache = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    settings = {
        **SMALL,
        "data.path": str(write_reviews(folder / "reviews.json")),
        "training.trackers": "tensorboard",
        "output_dir": str(folder / "base"),
    }
    pretrain(build_config(PretrainConfig, settings))
    metrics = RunMetrics.load(folder / "base")
    dataclasses.replace(metrics, training=dataclasses.replace(metrics.training, best_epoch=1)).save(folder / "base")
    (folder / "base" / "evaluation").mkdir()
    (folder / "base" / "evaluation" / "reliability.png").write_bytes(b"a plot")
    yield folder / "base"
    datasets.config.HF_DATASETS_CACHE = cache


@pytest.fixture(scope="module")
def whole(base: Path) -> Path:
    """Return the refit of the run."""
    return refit(RefitConfig(str(base))).folder


def test_a_refit_trains_on_all_reviews_as_the_tested_run(base: Path, whole: Path) -> None:
    assert whole == base.parent / "base-refit"
    tested, metrics = RunMetrics.load(base), RunMetrics.load(whole)
    report = json.loads((base / "data_report.json").read_text())
    assert metrics.refit is not None
    assert (metrics.refit.run, metrics.refit.epochs, metrics.refit.reviews) == ("base", 1, report["kept"])
    assert (metrics.test, metrics.validation) == (tested.test, tested.validation)
    assert metrics.training.logit_scale == tested.training.logit_scale
    assert (metrics.training.epochs, metrics.training.best_epoch) == ([], None)
    assert metrics.training.tokens > tested.training.tokens / 2
    assert (whole / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert (whole / "evaluation" / "reliability.png").read_bytes() == b"a plot"
    assert json.loads((whole / "data_report.json").read_text())["from_hub"] is False
    assert "NaN" not in (whole / "metrics.json").read_text()
    weights = [load_model(folder).transformer.wte.weight for folder in (base, whole)]
    assert not torch.equal(*weights)


def test_the_tracker_has_no_figures_that_were_not_measured(base: Path, whole: Path) -> None:
    tested, refitted = logged(base), logged(whole)
    assert {"train/nats_per_token", "validation/nats_per_word", "test/nats_per_word", "best_epoch"} <= tested
    assert {name for name in tested if name.startswith("train/")} == refitted


def logged(run: Path) -> set[str]:
    events = EventAccumulator(str(run / "wine_gpt"))
    events.Reload()
    return set(events.Tags()["scalars"])


def test_the_folder_of_a_refit_is_named_after_that_of_the_run(
    base: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base)
    for run in (".", "../base", "../base/"):
        assert refused(refit, RefitConfig(run)).split(" holds ")[0] in (str(whole), "../base-refit")


def test_an_interrupted_refit_resumes_to_the_same_weights(
    base: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RefitConfig(str(base), output_dir=str(base.parent / "again"))
    interrupt_steps(monkeypatch, signal.SIGTERM, {4})
    with pytest.raises(RunInterrupted):
        refit(config)
    monkeypatch.undo()
    refit(dataclasses.replace(config, resume=True))
    again = base.parent / "again" / "model.safetensors"
    assert again.read_bytes() == (whole / "model.safetensors").read_bytes()


def test_the_card_says_whose_figures_it_has(base: Path, whole: Path) -> None:
    run, tested = read_run(whole, OWN), read_run(base, OWN)
    card = model_card(run, "org/wine-gpt")
    text = " ".join(card.text.split())
    reviews = run.metrics.refit.reviews if run.metrics.refit else 0
    assert f"trained on all {reviews:,} texts in 1 epoch, so no text is left" in text
    assert "The figures are those of the run `base`" in text
    assert f"| training texts | {reviews:,} |" in text
    assert tested.metrics.test is not None
    assert f"| test perplexity of the tested run | {tested.metrics.test.perplexity:,.2f} per word |" in text
    # the model index and the commands would be of these weights
    assert card.data.eval_results is None
    assert "## Reproduce" not in card.text
    assert "trained on all" not in model_card(tested, "org/wine-gpt").text


def test_the_copy_index_has_all_reviews(base: Path, whole: Path, tmp_path: Path) -> None:
    write_index(read_run(whole, OWN), tmp_path / FILE_NAME)
    splits = load_reviews(read_run(base, OWN).config.data).splits
    every = [text for split in ("train", "validation", "test") for text in splits[split]["description"]]
    of_refit = load_reviews(read_run(whole, OWN).config.data).splits["train"]["description"][:]
    assert sorted(of_refit) == sorted(every)
    build_index(of_refit, tmp_path / "all")
    assert (tmp_path / FILE_NAME).read_bytes() == (tmp_path / "all").read_bytes()


def test_what_would_score_it_on_seen_reviews_is_refused(base: Path, whole: Path, tmp_path: Path) -> None:
    seen = "is a refit, which has seen all reviews"
    data = build_config(ScoreConfig, {"model": str(whole), **training_data_settings(str(whole), whole)})
    assert refused(evaluate_model, data, whole) == f"model: {whole} {seen}: score the tested run, base"
    split: Any = {"data.test_fraction": 0.1, "data.path": os.path.relpath(data.data.path)}
    data = build_config(ScoreConfig, {"model": str(whole), **training_data_settings(str(whole), whole), **split})
    assert refused(evaluate_model, data, whole).endswith("score the tested run, base")
    adapters = FinetuneConfig(base=str(whole), variety="all", output_dir=str(tmp_path))
    assert refused(finetune, adapters) == f"base: {whole} {seen}: name the tested run, base"
    assert refused(refit, RefitConfig(str(whole))) == f"run: {whole} is a refit itself: name the tested run, base"


def test_a_refit_over_the_tested_run_is_refused_and_removes_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(base)
    monkeypatch.chdir(base)
    for output, overwrite in ((str(base), True), (str(base), False), (".", True)):
        message = refused(refit, RefitConfig(str(base), output_dir=output, overwrite=overwrite))
        assert message == f"output_dir: {output} is the tested run itself: name another folder"
    assert snapshot(base) == before


def test_other_runs_and_reviews_are_refused(base: Path, whole: Path, tmp_path: Path) -> None:
    assert "is no finished run" in refused(refit, RefitConfig(str(tmp_path)))
    # a refit has no setting of its epochs
    message = f"{whole} holds a finished run: name another --output_dir, or --overwrite to start over"
    assert refused(refit, RefitConfig(str(base))) == message
    folder = shutil.copytree(base, tmp_path / "other", ignore=shutil.ignore_patterns("checkpoints"))
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "data_fingerprint": "0"}))
    assert "is not what" in refused(refit, RefitConfig(str(folder)))
