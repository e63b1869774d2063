"""A distillation: members, targets on disk, a student that resumes bit for bit, and what is refused."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from support.small_run import ROOT, SMALL, flags
from transformers import GPT2LMHeadModel

from tools.sample_grammar.grammar import generate_records
from wine_gpt.config import DistillConfig
from wine_gpt.config_io import parse_config
from wine_gpt.distillation import distill, synthetic
from wine_gpt.errors import RunInterrupted
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.training.record import RunMetrics
from wine_gpt.training.trainer import Trainer

SETTINGS = {
    **SMALL,
    "training.epochs": 2,
    "distillation.members": 2,
    "distillation.member_epochs": 1,
    "distillation.synthetic_ratio": 0.5,
    "distillation.teacher_weight": 0.25,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 150 records, and use a cache there."""
    folder = tmp_path_factory.mktemp("distillation")
    (folder / "reviews.json").write_text(json.dumps([*generate_records(150, seed=1)]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def cached(work: Path) -> Any:  # noqa: ANN401
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", work / "cache")
        yield


def config(work: Path, output: str, *more: str) -> DistillConfig:
    given = {"data.path": work / "reviews.json", "output_dir": work / output, **SETTINGS}
    return parse_config(DistillConfig, [str(ROOT / "configs" / "sample.yaml"), *flags(given), *more])


@pytest.fixture(scope="module")
def finished(work: Path) -> Path:
    return distill(config(work, "finished")).folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def test_the_metrics_have_members_and_ensemble(finished: Path) -> None:
    metrics = RunMetrics.load(finished)
    found = metrics.distillation
    assert found is not None
    assert [member.name for member in found.members] == ["seed_42", "seed_43"]
    for member in found.members:
        run = RunMetrics.load(finished / "members" / member.name)
        assert run.test is not None
        assert member.test == run.test.nats_per_word
    # the loss of a mean of probabilities is at most the mean of the losses
    losses = [member.test for member in found.members if member.test is not None]
    assert found.ensemble.test is not None
    assert found.ensemble.test < sum(losses) / 2
    assert RunMetrics.from_dict(json.loads(json.dumps(metrics.to_dict()))) == metrics


def test_the_student_is_a_run_like_any_other(finished: Path) -> None:
    model = load_model(finished)
    assert type(model) is GPT2LMHeadModel
    assert model.num_parameters() == load_model(finished / "members" / "seed_42").num_parameters()
    assert "member_epochs" not in (finished / "config.yaml").read_text(encoding="utf-8")


def test_a_run_that_is_interrupted_everywhere_ends_with_equal_bits(
    finished: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step, sample = Trainer.train_step, synthetic.generate_ids
    calls = {"step": 0, "sample": 0}
    # in the first member, in the second, in the student
    stops, halted = {4, 14, 24}, []

    def stopped_step(trainer: Trainer, step: int) -> None:
        calls["step"] += 1
        if calls["step"] in stops:
            os.kill(os.getpid(), signal.SIGTERM)
        train_step(trainer, step)

    def stopped_sampling(*arguments: Any, **settings: Any) -> torch.Tensor:  # noqa: ANN401
        calls["sample"] += 1
        if calls["sample"] == 1:
            raise KeyboardInterrupt
        return sample(*arguments, **settings)

    monkeypatch.setattr(Trainer, "train_step", stopped_step)
    monkeypatch.setattr(synthetic, "generate_ids", stopped_sampling)
    for _ in range(6):
        try:
            folder = distill(config(work, "interrupted", "--resume")).folder
            break
        except (RunInterrupted, KeyboardInterrupt) as error:
            halted.append(type(error))
    assert halted == [RunInterrupted, RunInterrupted, KeyboardInterrupt, RunInterrupted]
    for name in ("model.safetensors", "members/seed_43/model.safetensors", "targets/probabilities.npy"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name
    assert RunMetrics.load(folder).distillation == RunMetrics.load(finished).distillation
