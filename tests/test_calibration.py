"""Temperature scaling after training."""

import pytest
import torch
from datasets import DatasetDict
from support.toy_training import make_splits, make_tokenizer, make_trainer
from transformers import PreTrainedTokenizerFast

from wine_gpt.modeling.scoring import score
from wine_gpt.training.calibration import STEP, calibrate
from wine_gpt.training.trainer import Trainer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="module")
def splits() -> DatasetDict:
    return make_splits()


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> Trainer:
    """Return a trainer whose model is calibrated."""
    trainer = make_trainer(tmp_path_factory.mktemp("run"), tokenizer, splits)
    trainer.run()
    while calibrate(trainer.module, splits["validation"], tokenizer, trainer.accelerator) != 1:
        pass
    return trainer


def scale_logits(trainer: Trainer, scale: float) -> None:
    with torch.no_grad():
        for parameter in trainer.module.model.transformer.ln_f.parameters():
            parameter.mul_(scale)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.module.model.state_dict().items()}


@pytest.mark.parametrize("steps", [-7, 7])
def test_an_over_or_underconfident_model_is_corrected(
    trained: Trainer, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict, steps: int
) -> None:
    before, accelerator = weights(trained), trained.accelerator
    loss = score(trained.module, splits["validation"], tokenizer, accelerator).nats_per_word
    scale_logits(trained, STEP**steps)
    assert score(trained.module, splits["validation"], tokenizer, accelerator).nats_per_word > loss
    assert calibrate(trained.module, splits["validation"], tokenizer, accelerator) == pytest.approx(STEP**-steps)
    for name, tensor in weights(trained).items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-5, atol=1e-6)


def test_a_calibrated_model_stays_bit_for_bit(
    trained: Trainer, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    before = weights(trained)
    assert calibrate(trained.module, splits["validation"], tokenizer, trained.accelerator) == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(trained).items())


def test_a_model_worse_than_guessing_ends_the_search(
    trained: Trainer, tokenizer: PreTrainedTokenizerFast, splits: DatasetDict
) -> None:
    scale_logits(trained, -1)
    assert calibrate(trained.module, splits["validation"], tokenizer, trained.accelerator) == pytest.approx(STEP**34)
