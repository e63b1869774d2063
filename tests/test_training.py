"""The training loop: its computation, the weights that it keeps, and resuming."""

import dataclasses
import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict
from support.toy_training import BOS, EOS, MODEL, TRAINING, make_splits, make_tokenizer, make_trainer
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedTokenizerFast

from wine_gpt import progress
from wine_gpt.config import TrainingConfig
from wine_gpt.data.batching import Indices, collate
from wine_gpt.errors import RunInterrupted, UserError
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.scoring import score
from wine_gpt.training import checkpoint, resume
from wine_gpt.training.objective import LanguageModeling
from wine_gpt.training.resume import STEP_VERSION, describe_mismatch
from wine_gpt.training.schedule import learning_rate
from wine_gpt.training.signals import GracefulShutdown
from wine_gpt.training.step import GlobalBatch, StepLoss
from wine_gpt.training.trainer import Trainer

# losses of the steps of a toy run, in nats per token
LOSSES = [3.1921, 3.1363, 3.0757, 3.0572, 2.9978, 2.9500, 2.9251, 2.8789]


@pytest.fixture(autouse=True)
def deterministic() -> Any:  # noqa: ANN401
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def splits() -> DatasetDict:
    return make_splits()


def everything(trained: Trainer) -> dict[str, torch.Tensor]:
    """Return copies of all tensors of a training by group and name."""
    return {
        f"{group}/{name}": tensor.clone()
        for group, tensors in trained.checkpoints.tensors().items()
        for name, tensor in tensors.items()
    }


def test_it_learns_and_keeps_the_best_weights(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    trained = make_trainer(tmp_path, tokenizer, splits)
    untrained = score(trained.module, splits["validation"], tokenizer, trained.accelerator)
    state = trained.run()
    found = score(trained.module, splits["validation"], tokenizer, trained.accelerator)
    assert state.step == trained.plan.total_steps
    assert len(state.epochs) == 3
    assert state.best is not None
    assert found.nats_per_word == pytest.approx(state.best.score.nats_per_word, rel=1e-6)
    assert found.nats_per_word < untrained.nats_per_word - 0.5
    assert all(text.startswith("w0") for epoch in state.epochs for text in epoch.samples)
    assert state.total_tokens == 3 * trained.plan.positions.sum()


@pytest.mark.parametrize("settings", [{"micro_batches": 1}, {"micro_batches": 3}, {"character_ngrams": True}], ids=str)
def test_resuming_at_any_checkpoint_ends_bit_for_bit_the_same(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict, settings: dict[str, Any]
) -> None:
    config = TrainingConfig(**{**vars(TRAINING), **settings})
    whole = make_trainer(tmp_path, tokenizer, splits, config)
    whole_state = whole.run()
    saved = sorted(tmp_path.glob("step-*"))
    assert len(saved) > 3
    for path in saved[:-1]:
        torch.manual_seed(int(path.name[-2:]) + 100)
        resumed = make_trainer(tmp_path, tokenizer, splits, config)
        resumed.resume(checkpoint.load(path))
        state = resumed.run()
        expected, found = everything(whole), everything(resumed)
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert state.curve == whole_state.curve
        assert state.epochs == whole_state.epochs


def test_the_rate_shown_after_resuming_is_that_of_the_resumed_steps(
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    splits: DatasetDict,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_trainer(tmp_path, tokenizer, splits).run()
    first, *_ = sorted(tmp_path.glob("step-*"))
    found = checkpoint.load(first)
    found.state["training"]["seconds"] = 1e9
    resumed = make_trainer(tmp_path / "faster", tokenizer, splits)
    resumed.resume(found)
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.0)
    capsys.readouterr()
    resumed.run()
    rates = [int(rate.replace(",", "")) for rate in re.findall(r"([\d,]+) tokens/s", capsys.readouterr().err)]
    assert len(rates) == resumed.plan.total_steps - found.step
    assert all(rate > 0 for rate in rates)


def test_the_best_weights_of_an_earlier_epoch_are_saved_again(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    make_trainer(tmp_path, tokenizer, splits).run()
    newest, *_ = sorted(tmp_path.glob("step-*"), reverse=True)
    found = checkpoint.load(newest)
    resumed = make_trainer(tmp_path / "again", tokenizer, splits)
    resumed.resume(found)
    resumed.save_checkpoint()
    saved = checkpoint.load(tmp_path / "again" / newest.name)
    assert saved.tensors["best"].keys() == found.tensors["weights"].keys()
    assert all(torch.equal(saved.tensors["best"][name], tensor) for name, tensor in found.tensors["best"].items())


def test_what_a_step_computes_has_not_changed_since_the_step_version_was_raised(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    """If this fails after a change that is meant to change it, raise STEP_VERSION and note the new losses here.

    A checkpoint of the earlier code is then refused, because resuming would mix two trainings.
    """
    config = TrainingConfig(**{**vars(TRAINING), "epochs": 1, "micro_batches": 2, "optimizer": "muon"})
    trained = make_trainer(tmp_path, tokenizer, splits, config)
    losses = [loss for _, loss in trained.run().curve]
    assert STEP_VERSION == 2
    assert losses == pytest.approx(LOSSES, rel=1e-3)


def test_a_checkpoint_of_another_step_version_is_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_trainer(tmp_path, tokenizer, splits).save_checkpoint()
    monkeypatch.setattr(resume, "STEP_VERSION", STEP_VERSION + 1)
    with pytest.raises(UserError, match=r"this version of wine_gpt computes a step differently: resume with"):
        make_trainer(tmp_path, tokenizer, splits).resume(checkpoint.load(next(tmp_path.glob("step-*"))))


def test_accumulation_changes_nothing_but_the_randomness(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    """Without dropout, three micro-batches of unequal token counts give the gradient of the whole batch."""
    weights = []
    for micro_batches in (1, 3):
        config = TrainingConfig(**{**vars(TRAINING), "epochs": 1, "micro_batches": micro_batches})
        trained = make_trainer(tmp_path / str(micro_batches), tokenizer, splits, config)
        trained.module.eval()
        trained.train_step(0)
        weights.append(everything(trained))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-6)


def test_the_loss_of_a_step_is_the_mean_over_the_tokens_of_its_batch(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    trained = make_trainer(tmp_path, tokenizer, splits)
    trained.module.eval()
    batch = collate(splits["train"], trained.plan.batch(0), 16, EOS)
    expected = LanguageModelLoss(trained.module.model).token_losses(batch).sum().item()
    trained.train_step(0)
    tokens = int((batch.labels >= 0).sum())
    assert trained.state.total_tokens == tokens
    assert trained.state.curve == [(1, pytest.approx(expected / tokens, rel=1e-5))]


def test_resuming_with_other_settings_is_refused_and_names_each(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    trained = make_trainer(
        tmp_path, tokenizer, splits, resume_key={"model.n_layer": 2, "data.prefix": "wine", "same": 1}
    )
    trained.save_checkpoint()
    other = make_trainer(
        tmp_path, tokenizer, splits, resume_key={"model.n_layer": 4, "data.prefix": "beer", "same": 1}
    )
    before = everything(other)
    with pytest.raises(UserError) as error:
        other.resume(checkpoint.load(next(tmp_path.glob("step-*"))))
    assert "model.n_layer: checkpoint 2, now 4" in str(error.value)
    assert "data.prefix: checkpoint wine, now beer" in str(error.value)
    assert "same" not in str(error.value)
    assert all(torch.equal(tensor, everything(other)[name]) for name, tensor in before.items())


def test_a_run_resumes_with_more_epochs_and_not_with_fewer(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    make_trainer(tmp_path, tokenizer, splits, resume_key={"training.epochs": 3}).run()
    (newest, *_) = sorted(tmp_path.glob("step-*"), reverse=True)
    longer = TrainingConfig(**{**vars(TRAINING), "epochs": 4})
    extended = make_trainer(tmp_path, tokenizer, splits, longer, resume_key={"training.epochs": 4})
    extended.resume(checkpoint.load(newest))
    state = extended.run()
    assert [epoch.epoch for epoch in state.epochs] == [1, 2, 3, 4]
    assert state.step == extended.plan.total_steps
    with pytest.raises(UserError, match=r"training.epochs: checkpoint 3, now 2"):
        make_trainer(tmp_path, tokenizer, splits, resume_key={"training.epochs": 2}).resume(checkpoint.load(newest))


def test_frozen_parameters_stay_unchanged_and_out_of_the_checkpoints(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    model = build_model(MODEL, tokenizer, 0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("attn" in name)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    config = TrainingConfig(**{**vars(TRAINING), "epochs": 1})
    Trainer(
        LanguageModeling(LanguageModelLoss(model), tokenizer, splits, "w0"),
        config,
        Accelerator(cpu=True),
        tmp_path,
        {},
    ).run()
    (*_, newest) = sorted(tmp_path.glob("step-*"))
    saved = checkpoint.load(newest).tensors
    assert {*saved["weights"]} == {*saved["best"]} == {name for name in before if "attn" in name}
    for name, parameter in model.named_parameters():
        assert parameter.equal(before[name]) == ("attn" not in name)


def test_a_non_finite_loss_stops_before_the_update(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    trained = make_trainer(tmp_path, tokenizer, splits)
    trained.train_step(0)
    with torch.no_grad():
        trained.module.model.transformer.ln_f.weight[0] = torch.inf
    before = everything(trained)
    with pytest.raises(
        UserError,
        match=r"step 2: the loss on rank 0 is not finite, for reviews \[[\d, ]+\] of the split; nothing is saved",
    ):
        trained.train_step(1)
    assert all(torch.equal(tensor, everything(trained)[name]) for name, tensor in before.items())


# a GPU's way: losses are read one step late


def read_late(trained: Trainer) -> Trainer:
    trained.updater.reads_late = trained.module.masks_padding = True
    return trained


class NoWaiting(TorchDispatchMode):
    """Fails at a call for which the host would wait for a GPU: a value, or a size that depends on values.

    Args:
        more: further calls at which it fails.
    """

    def __init__(self, *more: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.waiting = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, *more)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        assert func not in self.waiting, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("settings", [{"micro_batches": 1}, {"micro_batches": 3}, {"character_ngrams": True}], ids=str)
def test_late_losses_change_no_result_and_a_step_waits_for_nothing(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict, settings: dict[str, Any]
) -> None:
    config = TrainingConfig(**{**vars(TRAINING), **settings})
    early = make_trainer(tmp_path / "early", tokenizer, splits, config)
    late = read_late(make_trainer(tmp_path / "late", tokenizer, splits, config))
    train_step = late.updater.run

    def run(batch: GlobalBatch) -> list[StepLoss]:
        with NoWaiting():
            return train_step(batch)

    late.updater.run = run  # type: ignore[method-assign]
    states = [early.run(), late.run()]
    assert states[0].step == states[1].step
    curves = [[loss for _, loss in state.curve] for state in states]
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
    assert [step for step, _ in states[1].curve] == [step for step, _ in states[0].curve]
    saved = sorted(path.name for path in (tmp_path / "early").iterdir())
    assert saved == sorted(path.name for path in (tmp_path / "late").iterdir())
    for path in list((tmp_path / "late").glob("step-*"))[:1]:
        resumed = read_late(make_trainer(tmp_path / "resumed", tokenizer, splits, config))
        resumed.resume(checkpoint.load(path))
        assert resumed.run().curve == states[1].curve
        expected = everything(late)
        assert all(torch.equal(tensor, expected[name]) for name, tensor in everything(resumed).items())


def test_several_processes_look_for_signals_without_waiting_for_the_queued_step(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = read_late(make_trainer(tmp_path, tokenizer, splits))
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    shutdown = GracefulShutdown()
    # torch.tensor copies a Python value from pageable memory, for which the host waits until the queued step is done
    with NoWaiting(torch.ops.aten.lift_fresh.default):
        late._stop_if_signaled(shutdown)
        shutdown.signal = 15
        late._stop_if_signaled(shutdown)
    # the signal that was gathered in the step before
    with pytest.raises(RunInterrupted):
        late._stop_if_signaled(shutdown)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_late_non_finite_value_is_found_before_anything_is_kept(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict, what: str
) -> None:
    config = TrainingConfig(**{**vars(TRAINING), "checkpoint_steps": 3, "character_ngrams": True})
    poisoned: list[dict[str, torch.Tensor]] = []

    def poison(step: int, micro_batches: list[Indices]) -> None:
        if step == 5:
            weight = trained.module.model.transformer.ln_f.weight
            with torch.no_grad():
                weight[0] = torch.inf if what == "loss" else weight[0]
            if what == "gradient":
                weight.register_hook(lambda gradient: gradient * torch.nan)
            poisoned.append(everything(trained))

    trained = read_late(make_trainer(tmp_path, tokenizer, splits, config, on_step=poison))
    with pytest.raises(
        UserError,
        match=rf"step 6: the {what} on rank 0 is not finite, for reviews \[[\d, ]+\] of the split; step 3 is saved",
    ):
        trained.run()
    # neither that step nor the step queued after it changed the weights or the optimizer
    found = everything(trained)
    assert all(torch.equal(tensor, found[name]) for name, tensor in poisoned[0].items() if "step" not in name)
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000003"]


def test_a_batch_of_too_few_reviews_is_refused_before_the_first_step(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    # 90 reviews of at most 13 positions
    config = TrainingConfig(**{**vars(TRAINING), "batch_tokens": 40, "micro_batches": 4})
    with pytest.raises(UserError, match=r"a batch of \d reviews cannot be divided into 4 micro-batches: raise"):
        make_trainer(tmp_path, tokenizer, splits, config)
    few = DatasetDict({**splits, "train": splits["train"].select(range(5))})
    advice = "train on more reviews, or use fewer micro-batches or processes"
    with pytest.raises(UserError, match=f"a batch of 5 reviews cannot be divided into 8 micro-batches: {advice}"):
        make_trainer(tmp_path, tokenizer, few, dataclasses.replace(TRAINING, micro_batches=8))


def test_the_largest_seed_has_samples_too(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    config = dataclasses.replace(TRAINING, epochs=1, seed=2**32 - 1)
    (epoch,) = make_trainer(tmp_path, tokenizer, splits, config).run().epochs
    assert [text[:2] for text in epoch.samples] == ["w0"] * 3


def test_the_learning_rate_warms_up_and_falls_to_the_floor() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_ratio=0.1, final_learning_rate_ratio=0.2)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert max(rates) == pytest.approx(1.0)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[9:]))
    assert rates[-1] == pytest.approx(0.2, abs=0.01)
    assert learning_rate(0, 100, TrainingConfig(learning_rate=1.0, warmup_ratio=0)) == 1.0


def test_the_score_leaves_out_first_word_and_end_and_counts_unknown(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """A model with all weights zero gives each of the 24 words the same probability."""
    ids = [[BOS, 5, 6, 1, EOS], [BOS, 5, 1, 1, 7, 8, EOS], [BOS, 5, EOS]]
    split = Dataset.from_dict({"input_ids": ids, "length": [5, 7, 3]})
    module = LanguageModelLoss(build_model(MODEL, tokenizer, 0))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    found = score(module, split, tokenizer, Accelerator(cpu=True))
    assert (found.reviews, found.words) == (3, 6)
    assert found.nats_per_word == pytest.approx(math.log(24))
    assert found.perplexity == pytest.approx(24)
    assert found.unknown_rate == 0.5
    assert found.to_dict()["end_of_text_nats"] == pytest.approx(math.log(24))
    cut = [BOS, *[5] * MODEL.block_size, EOS]
    split = Dataset.from_dict({"input_ids": [ids[0], cut], "length": [5, len(cut)]})
    found = score(module, split, tokenizer, Accelerator(cpu=True))
    assert found.to_dict()["end_of_text_nats"] == pytest.approx(math.log(24))
    found = score(module, split.select([1]), tokenizer, Accelerator(cpu=True))
    assert "end_of_text_nats" not in found.to_dict()


# the hook


def test_the_hook_sees_each_step(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict) -> None:
    steps: list[int] = []
    seen: list[int] = []

    def on_step(step: int, micro_batches: list[Indices]) -> None:
        steps.append(step)
        seen.extend(int(index) for indices in micro_batches for index in indices)

    config = dataclasses.replace(TRAINING, epochs=1, micro_batches=2)
    trained = make_trainer(tmp_path, tokenizer, splits, config, on_step=on_step)
    trained.run()
    assert steps == list(range(trained.plan.total_steps))
    assert sorted(seen) == list(range(len(splits["train"])))


def test_a_setting_that_a_checkpoint_of_an_earlier_version_lacks_had_its_default() -> None:
    then = {"data": "a hash", "training.seed": 42}
    assert describe_mismatch(then, {**then, "training.optimizer": "adamw"}) == ""
    changed = {**then, "training.optimizer": "muon"}
    assert describe_mismatch(then, changed) == "training.optimizer: checkpoint adamw, now muon"
