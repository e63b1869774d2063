"""A distillation: members, targets on disk, a student that resumes bit for bit, and what is refused."""

import errno
import importlib
import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from support.halt import interrupt_steps
from support.refused import refused
from support.small_run import ROOT, SMALL, flags, write_reviews
from support.snapshot import snapshot
from support.system_faults import disk, run_in_subprocess
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from wine_gpt.config import DistillConfig, EnsembleConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.distillation import distill, synthetic, targets
from wine_gpt.distillation.ensemble import load_ensemble
from wine_gpt.distillation.targets import Request, TargetStore, load_or_make
from wine_gpt.errors import RunInterrupted, UserError
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.run_folder import mark_unfinished
from wine_gpt.tokenizer import load_tokenizer, tokenize_splits
from wine_gpt.training.accelerator import accelerator_session, restored_state
from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.record import RunMetrics

# the package has a function of its name
distilling: Any = importlib.import_module("wine_gpt.distillation.distill")
BLOCK_SIZE = int(str(SMALL["model.block_size"]))
SETTINGS = {
    **SMALL,
    "training.epochs": 2,
    "distillation.members": 2,
    "distillation.member_epochs": 1,
    "distillation.synthetic_ratio": 0.25,
    "distillation.synthetic_sets": 2,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 150 records, and use a cache there."""
    folder = tmp_path_factory.mktemp("distillation")
    write_reviews(folder / "reviews.json")
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
    sample, samplings, halted = synthetic.generate_ids, itertools.count(1), []

    def stopped_sampling(*arguments: Any, **settings: Any) -> torch.Tensor:  # noqa: ANN401
        if next(samplings) == 1:
            raise KeyboardInterrupt
        return sample(*arguments, **settings)

    # in the first member, in the second, in the student
    interrupt_steps(monkeypatch, signal.SIGTERM, {4, 14, 24})
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


def members(run: Path) -> list[Path]:
    return sorted((run / "members").iterdir())


@pytest.fixture(scope="module")
def real(finished: Path, work: Path) -> Dataset:
    """Return the tokenized training reviews."""
    return tokenize_splits(load_reviews(config(work, "x").data).splits, load_tokenizer(finished))["train"]


def test_the_targets_are_the_mean_probabilities_of_the_members(finished: Path, real: Dataset) -> None:
    store = TargetStore(finished / "targets", real, BLOCK_SIZE)
    models = [load_model(member) for member in members(finished)]
    assert len(store.reviews) == len(real) + 2 * round(len(real) / 4)
    end = load_tokenizer(finished).eos_token_id
    ids = store.reviews[len(real) + 2]["input_ids"][: BLOCK_SIZE + 1]
    assert ids.count(end) <= 1
    found = store.soft_targets(np.array([len(real) + 2]))
    with torch.no_grad():
        logits = [model(torch.tensor([ids[:-1]])).logits[0].float() for model in models]
    mean = torch.stack([row.softmax(-1) for row in logits]).mean(0)
    torch.testing.assert_close(found.probabilities, mean.gather(1, found.ids), rtol=2e-3, atol=1e-6)
    torch.testing.assert_close(found.probabilities[:, 0], mean.amax(1), rtol=2e-3, atol=1e-6)
    torch.testing.assert_close(found.probabilities.sum(1) + found.rest, torch.ones(len(mean)))
    assert not found.label_weight.any()


def test_a_real_review_has_its_words_as_targets(finished: Path, real: Dataset) -> None:
    store = TargetStore(finished / "targets", real, BLOCK_SIZE)
    found = store.soft_targets(np.array([0, len(real)]))
    words, of_synthetic = (min(store.reviews[review]["length"] - 1, BLOCK_SIZE) for review in (0, len(real)))
    assert found.label_weight.tolist() == [1.0] * words + [0.0] * of_synthetic
    assert not found.probabilities[:words].any()
    assert not found.rest[:words].any()


def test_each_epoch_has_all_real_reviews_and_another_set_of_synthetic_ones(finished: Path, real: Dataset) -> None:
    store = TargetStore(finished / "targets", real, BLOCK_SIZE, sets=2)
    first, second, third = (store.rows_of_epoch(epoch).tolist() for epoch in range(3))
    count, of_a_set = len(real), round(len(real) / 4)
    assert first == third == [*range(count + of_a_set)]
    assert second == [*range(count), *range(count + of_a_set, count + 2 * of_a_set)]


@pytest.mark.parametrize("damage", ["cut", "unfinished", "older", "cut manifest"])
def test_targets_that_are_damaged_or_out_of_date_are_made_again(
    finished: Path, work: Path, real: Dataset, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(finished / "targets", tmp_path / "targets"))
    file, manifest = folder / "probabilities.npy", folder / "manifest.json"
    before, content = file.read_bytes(), json.loads(manifest.read_text())
    if damage == "cut":
        file.write_bytes(before[:-100])
    elif damage == "unfinished":
        folder.rename(tmp_path / ".tmp-targets")
    elif damage == "older":
        manifest.write_text(json.dumps({**content, "made_from": {}}))
    else:
        manifest.write_text(manifest.read_text()[:-100])
    made_from = content["made_from"]
    sources = {name: made_from[name] for name in ("data", "tokenizer", "members")}
    request = Request(sources, made_from["synthetic_reviews"], made_from["seed"])
    tokenizer = load_tokenizer(finished)
    # with the matmuls of the run that made them
    with accelerator_session(config(work, "x").training, tmp_path) as accelerator:
        ensemble = load_ensemble(members(finished), tokenizer)
        teacher = (ensemble, tokenizer, real, accelerator)
        load_or_make(folder, request, *teacher)
        assert file.read_bytes() == before
        assert not (tmp_path / ".tmp-targets").exists()
        monkeypatch.setattr(targets, "_write", None)
        # complete now, so they are not made again
        load_or_make(folder, request, *teacher)


def make_on_small_disk(folder: Path, run: Path, real: Path) -> str:
    tokenizer = load_tokenizer(run)
    with disk(folder, "size=256k"), restored_state():
        ensemble = load_ensemble(members(run), tokenizer)
        request = Request({}, synthetic_reviews=100, seed=42)
        reviews = datasets.load_from_disk(str(real))
        teacher = (ensemble, tokenizer, reviews, Accelerator(cpu=True))
        message = refused(load_or_make, folder / "targets", request, *teacher)
        assert [*folder.iterdir()] == []
    return message


def test_a_full_disk_is_one_line_and_leaves_nothing(finished: Path, real: Dataset, tmp_path: Path) -> None:
    real.save_to_disk(tmp_path / "real")
    error = run_in_subprocess(make_on_small_disk, tmp_path / "disk", finished, tmp_path / "real")
    assert error.startswith(f"targets: can't write {tmp_path / 'disk' / 'targets'}: No space left on device; about ")
    assert error.endswith(" free")


def test_a_full_disk_at_the_ensembles_losses_is_one_line(
    finished: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    mark_unfinished(run)
    (run / "targets" / "ensemble.json").unlink()

    def write_to_full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(distilling, "write_json", write_to_full_disk)
    with pytest.raises(UserError, match=rf"^can't write {run / 'targets'}: .*No space left on device; .* bytes free$"):
        distill(config(work, "x", "--output_dir", str(run), "--resume"))


def test_a_member_with_other_words_is_refused(finished: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match=r"seed_42: its words or their ids are not the student's: remove it"):
        load_ensemble(members(finished), tokenizer)


def test_a_member_with_other_settings_is_refused(finished: Path, work: Path) -> None:
    with pytest.raises(UserError, match=r"^member 1 of 2, .*seed_42: .*training.learning_rate: then 0.004, now 0.5$"):
        distill(config(work, "finished", "--training.learning_rate", "0.5", "--overwrite"))
    assert (finished / "metrics.json").is_file()


def test_a_finished_member_is_not_trained_on(finished: Path, work: Path) -> None:
    """Not by more epochs either: it would continue from the end of its schedule, where the learning rate is lowest."""
    weights = [(member / "model.safetensors").read_bytes() for member in members(finished)]
    message = refused(distill, config(work, "finished", "--distillation.member_epochs", "2", "--overwrite"))
    assert message == (
        f"member 1 of 2, {members(finished)[0]}: finished with distillation.member_epochs 1, now 2: remove the folder "
        "to train the member again, or name another --output_dir"
    )
    assert [(member / "model.safetensors").read_bytes() for member in members(finished)] == weights
    assert (finished / "metrics.json").is_file()


def test_a_member_that_was_begun_is_not_trained_for_more_epochs(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the finished one: its learning rates so far are those of the shorter schedule."""
    with monkeypatch.context() as patch:
        interrupt_steps(patch, signal.SIGTERM, {5})
        with pytest.raises(RunInterrupted):
            distill(config(work, "begun"))
    before = snapshot(work / "begun")
    with pytest.raises(UserError) as error:
        distill(config(work, "begun", "--distillation.member_epochs", "2"))
    assert str(error.value) == (
        f"member 1 of 2, {work}/begun/members/seed_42: begun with distillation.member_epochs 1, now 2: remove the "
        "folder to train the member again, or name another --output_dir"
    )
    assert snapshot(work / "begun") == before


def test_a_member_without_its_weights_is_named(finished: Path, work: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    mark_unfinished(run)
    member = run / "members" / "seed_43"
    (member / "model.safetensors").unlink()
    lost = rf"^member 2 of 2, {member}: .*it has no model.safetensors: remove its metrics.json to train on"
    with pytest.raises(UserError, match=lost):
        distill(config(work, "x", "--output_dir", str(run), "--resume"))


def test_trackers_name_a_member_after_its_distillation(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []

    def start(accelerator: Accelerator, project: str, config: object, init_kwargs: dict[str, Any]) -> None:
        names.append([runs["name"] for runs in init_kwargs.values()])
        raise RunInterrupted("stopped", signal.SIGTERM)

    monkeypatch.setattr(Accelerator, "init_trackers", start)
    with pytest.raises(RunInterrupted):
        distill(config(work, "tracked", "--training.trackers", "tensorboard"))
    assert names == [["tracked-seed_42"] * 2]


def test_a_run_is_not_replaced_unasked(finished: Path, work: Path) -> None:
    with pytest.raises(UserError, match="finished holds a finished run: name another --output_dir"):
        distill(config(work, "finished"))
    assert distill(config(work, "finished", "--resume")).folder == finished


def test_the_members_predictions_may_not_change_on_resume(finished: Path, work: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    mark_unfinished(run)
    changed = ("--output_dir", str(run), "--resume", "--distillation.synthetic_ratio", "0.6")
    before = snapshot(run)
    with pytest.raises(UserError, match="targets: not the same members or synthetic reviews"):
        distill(config(work, "x", *changed))
    assert snapshot(run) == before


def without(run: Path, copy: Path, *removed: str) -> Path:
    """Return a copy of a run without some of its files and folders."""
    shutil.copytree(run, copy)
    for name in removed:
        shutil.rmtree(copy / name)
    return copy


def test_a_finished_student_needs_neither_members_nor_targets(finished: Path, work: Path, tmp_path: Path) -> None:
    run = without(finished, tmp_path / "run", "members", "targets")
    before = snapshot(run)
    assert distill(config(work, "x", "--output_dir", str(run), "--resume")).folder == run
    assert snapshot(run) == before


def test_a_finished_student_with_other_settings_of_the_distillation_is_refused(
    finished: Path, work: Path, tmp_path: Path
) -> None:
    run = without(finished, tmp_path / "run", "checkpoints", "members")
    before = snapshot(run)
    with pytest.raises(UserError, match=r"can't resume from step \d+: distillation.members: then 2, now 1$"):
        distill(config(work, "x", "--output_dir", str(run), "--resume", "--distillation.members", "1"))
    assert snapshot(run) == before


def test_a_run_without_a_teacher_is_no_finished_student(work: Path, tmp_path: Path) -> None:
    run = pretrain(config(work, "x", "--output_dir", str(tmp_path / "run")).student).folder
    shutil.rmtree(run / "checkpoints")
    ensemble = flags({f"distillation.{name}": value for name, value in vars(EnsembleConfig()).items()})
    with pytest.raises(UserError, match=r"can't resume from step \d+: teacher: then None, now ensemble$"):
        distill(config(work, "x", "--output_dir", str(run), "--resume", *ensemble))


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("distillation.members", "0", "must be at least 1"),
        ("distillation.members", "two", "Couldn't parse 'two' into an int"),
        ("distillation.member_epochs", "0", "must be at least 1"),
        ("distillation.synthetic_sets", "0", "must be at least 1"),
        ("distillation.synthetic_sets", "25", "must be at most training.epochs, 24, because each epoch has one set"),
        ("distillation.synthetic_ratio", "0", "must be above 0, at most 100"),
        ("distillation.synthetic_ratio", ".nan", "must be above 0, at most 100"),
        ("training.seed", "4294967295", "must be at most 4,294,967,293 for so many members"),
    ],
)
def test_wrong_settings_are_refused(setting: str, value: str, rule: str) -> None:
    with pytest.raises(UserError, match=f"{setting}.*{rule}") as error:
        parse_config(DistillConfig, ["best.yaml", f"--{setting}", value])
    assert "\n" not in str(error.value)
