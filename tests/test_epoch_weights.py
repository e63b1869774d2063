"""The weights of every epoch that ``training.keep_epochs`` writes for the explorer."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.toy_training import MODEL, TRAINING, make_splits, make_tokenizer, make_trainer
from transformers import GPT2LMHeadModel

from wine_gpt.config import FinetuneConfig, PretrainConfig, TrainingConfig
from wine_gpt.errors import UserError
from wine_gpt.files import sha256
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.scoring import score
from wine_gpt.run_folder import EPOCHS, remove_run
from wine_gpt.training import checkpoint
from wine_gpt.training.epoch_weights import discard_after, read_index
from wine_gpt.training.record import TrainingState
from wine_gpt.training.resume import settings_fixed_on_resume
from wine_gpt.training.trainer import Trainer

TOKENIZER, SPLITS = make_tokenizer(), make_splits()


def trainer(folder: Path, epochs_folder: Path | None) -> Trainer:
    key = {"training.epochs": TRAINING.epochs}
    return make_trainer(folder / "checkpoints", TOKENIZER, SPLITS, TRAINING, key, epochs_folder=epochs_folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer, TrainingState]:
    """Return the folder of a toy run of three epochs, its trainer and its state; tests only read them."""
    folder = tmp_path_factory.mktemp("kept")
    trained = trainer(folder, folder / EPOCHS)
    return folder, trained, trained.run()


def contents(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file) for file in folder.iterdir()}


def test_the_index_lists_every_epoch_from_random_to_trained(finished: tuple[Path, Trainer, TrainingState]) -> None:
    folder, trained, state = finished
    index = json.loads((folder / EPOCHS / "index.json").read_text(encoding="utf-8"))
    found = index["epochs"]
    assert [epoch["file"] for epoch in found] == [f"epoch-00{number}.safetensors" for number in range(4)]
    assert [(epoch["epoch"], epoch["step"]) for epoch in found] == [(0, 0), *((e.epoch, e.step) for e in state.epochs)]
    random = LanguageModelLoss(build_model(MODEL, TOKENIZER, TRAINING.seed))
    untrained = score(random, SPLITS["validation"], TOKENIZER, trained.accelerator)
    losses = [untrained.nats_per_word, *(epoch.score.nats_per_word for epoch in state.epochs)]
    assert [epoch["validation_nats_per_word"] for epoch in found] == losses
    training = [epoch["training_nats_per_token"] for epoch in found]
    assert training[0] is None
    assert 3.2 > training[1] > training[2] > training[3] > 1
    names = {epoch["file"]: epoch["sha256"] for epoch in found}
    assert contents(folder / EPOCHS) == {**names, "index.json": sha256(folder / EPOCHS / "index.json")}


def test_each_file_is_a_gpt2_in_bfloat16(finished: tuple[Path, Trainer, TrainingState], tmp_path: Path) -> None:
    folder, _, _ = finished
    first, *_, last = (load_file(folder / EPOCHS / epoch.file) for epoch in read_index(folder / EPOCHS))
    assert {tensor.dtype for tensor in [*first.values(), *last.values()]} == {torch.bfloat16}
    random = dict(build_model(MODEL, TOKENIZER, TRAINING.seed).named_parameters())
    newest = max((folder / "checkpoints").glob("step-*"))
    trained = checkpoint.load(newest).tensors["weights"]
    for expected, found in ((random, first), (trained, last)):
        assert found.keys() == expected.keys()
        assert all(found[name].equal(tensor.to(torch.bfloat16)) for name, tensor in expected.items())
    # as the model.safetensors of a folder, which transformers loads
    build_model(MODEL, TOKENIZER, 0).config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / EPOCHS / "epoch-003.safetensors").read_bytes())
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert loaded.lm_head.weight.equal(last["transformer.wte.weight"].float())


def test_it_changes_neither_losses_nor_weights(finished: tuple[Path, Trainer, TrainingState], tmp_path: Path) -> None:
    _, trained, state = finished
    without = trainer(tmp_path, None)
    assert without.run().curve == state.curve
    assert not (tmp_path / EPOCHS).exists()
    pairs = zip(without.module.parameters(), trained.module.parameters(), strict=True)
    assert all(own.equal(other) for own, other in pairs)


def test_resuming_keeps_the_finished_epochs_and_writes_the_others_again(
    finished: tuple[Path, Trainer, TrainingState], tmp_path: Path
) -> None:
    folder, _, state = finished
    expected = contents(folder / EPOCHS)
    (tmp_path / EPOCHS).mkdir()
    for file in (folder / EPOCHS).iterdir():
        (tmp_path / EPOCHS / file.name).write_bytes(file.read_bytes())
    # between the first and the second epoch
    found = next(
        path
        for path in sorted((folder / "checkpoints").glob("step-*"))
        if state.epochs[0].step < int(path.name[5:]) < state.epochs[1].step
    )
    (tmp_path / EPOCHS / ".tmp-epoch-002.safetensors").touch()
    discard_after(tmp_path / EPOCHS, int(found.name[5:]))
    assert [epoch.epoch for epoch in read_index(tmp_path / EPOCHS)] == [0, 1]
    kept = contents(tmp_path / EPOCHS)
    assert kept.keys() == {"index.json", "epoch-000.safetensors", "epoch-001.safetensors"}
    resumed = trainer(tmp_path, tmp_path / EPOCHS)
    resumed.resume(checkpoint.load(found))
    resumed.run()
    assert contents(tmp_path / EPOCHS) == expected
    # what is damaged is not kept, nor what a run from the start would write
    (tmp_path / EPOCHS / "epoch-001.safetensors").write_bytes(b"x")
    discard_after(tmp_path / EPOCHS, state.step)
    assert [epoch.epoch for epoch in read_index(tmp_path / EPOCHS)] == [0, 2, 3]
    discard_after(tmp_path / EPOCHS, 0)
    assert not (tmp_path / EPOCHS).exists()


def test_another_run_in_the_folder_removes_only_files_of_runs(tmp_path: Path) -> None:
    for name in ("index.json", "epoch-000.safetensors", "notes.txt"):
        (tmp_path / EPOCHS).mkdir(exist_ok=True)
        (tmp_path / EPOCHS / name).touch()
    remove_run(tmp_path)
    assert [file.name for file in (tmp_path / EPOCHS).iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[]", "must hold an object"),
        ("{}", "has no epochs"),
        ('{"epochs": [{"epoch": 1}]}', "has no step"),
        (
            '{"epochs": [{"epoch": 1, "step": 1, "training_nats_per_token": 1, "validation_nats_per_word": 1, '
            '"file": "../x", "sha256": ""}]}',
            "epoch 1 names ../x",
        ),
    ],
)
def test_a_damaged_index_is_named(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(UserError, match=rf"^{tmp_path}/index\.json .*{problem}"):
        read_index(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / EPOCHS).touch()
    with pytest.raises(UserError, match=rf"training\.keep_epochs: can't write {tmp_path}/epochs/epoch-000\.safetens"):
        trainer(tmp_path, tmp_path / EPOCHS).run()


def test_the_setting_may_differ_on_resume_and_is_for_pretraining_only() -> None:
    with_epochs = PretrainConfig(training=TrainingConfig(keep_epochs=True))
    assert settings_fixed_on_resume(with_epochs, "no") == settings_fixed_on_resume(PretrainConfig(), "no")
    with pytest.raises(UserError, match=r"training\.keep_epochs is True: is for pretraining only"):
        FinetuneConfig(value="all", training=TrainingConfig(keep_epochs=True))
