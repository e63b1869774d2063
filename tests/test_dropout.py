"""Per-row dropout is dropout, and depends on its row's seed only."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from wine_gpt.modeling.dropout import PerRowDropout, install_per_row_dropout
from wine_gpt.modeling.loss import LanguageModelLoss


@pytest.mark.parametrize(("p", "shape"), [(0.1, (1000, 1001)), (0.5, (7,)), (0.9, (3, 5, 7))])
def test_elements_are_zero_with_probability_p_or_scaled(p: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    out = PerRowDropout(p, [])(torch.ones(shape))
    assert out.shape == shape
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)), rtol=1e-4, atol=0)
    # five standard deviations of the fraction
    assert abs((out == 0).float().mean().item() - p) < 5 * (p * (1 - p) / out.numel()) ** 0.5


def test_a_probability_that_rounds_to_one_still_keeps_elements() -> None:
    torch.manual_seed(0)
    out = PerRowDropout(0.999999, [])(torch.ones(10**6))
    assert 0 < (out != 0).sum().item() < 50


def test_no_element_depends_on_its_neighbors() -> None:
    torch.manual_seed(0)
    dropped = (PerRowDropout(0.5, [])(torch.ones(10**6)) == 0).float() - 0.5
    for distance in (1, 2, 3, 4, 8):
        assert abs((dropped[distance:] * dropped[:-distance]).mean().item()) < 0.0013


def test_gradients_are_zero_where_values_are_dropped() -> None:
    torch.manual_seed(0)
    values = torch.randn(64, 64, requires_grad=True)
    out = PerRowDropout(0.3, [])(values)
    out.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad != 0, out != 0)
    torch.testing.assert_close(values.grad * values.detach(), out.detach())


def test_dropout_depends_on_the_seed_and_is_off_in_evaluation() -> None:
    values = torch.randn(1000)
    layer = PerRowDropout(0.3, [])
    torch.manual_seed(1)
    first = layer(values)
    torch.manual_seed(1)
    assert torch.equal(layer(values), first)
    assert not torch.equal(layer(values), first)
    assert torch.equal(layer.eval()(values), values)


def test_a_row_drops_equal_elements_in_any_batch(small: GPT2LMHeadModel) -> None:
    loss = LanguageModelLoss(small.train())
    layer, rows = loss.model.transformer.drop, torch.ones(4, 50, 7)
    loss.seed_dropout([1, 2, 3, 4])
    together = layer(rows)
    assert not torch.equal(together[0], together[1])
    again = layer(rows)
    assert not torch.equal(again, together)
    loss.seed_dropout([3, 4])
    assert torch.equal(layer(rows[2:]), together[2:])
    assert torch.equal(layer(rows[2:]), again[2:])


@pytest.fixture
def small() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=16, n_layer=2, n_head=2, n_embd=8))


def test_every_dropout_of_a_model_is_replaced(small: GPT2LMHeadModel) -> None:
    small.transformer.h[1].eval()
    generators = install_per_row_dropout(small)
    assert not [module for module in small.modules() if type(module) is nn.Dropout]
    replaced = {name: module for name, module in small.named_modules() if isinstance(module, PerRowDropout)}
    assert len(replaced) == 7
    assert all(module.p == 0.1 and module.generators is generators for module in replaced.values())
    assert [name for name, module in replaced.items() if not module.training] == [
        name for name in replaced if name.startswith("transformer.h.1")
    ]


def test_without_dropout_attention_equals_that_of_transformers(small: GPT2LMHeadModel) -> None:
    ids = torch.randint(0, 30, (3, 11))
    expected = small.eval()(ids).logits
    install_per_row_dropout(small)
    torch.testing.assert_close(small(ids).logits, expected)
    for module in small.train().modules():
        if isinstance(module, nn.Dropout):
            # not 0, so that the training path runs, but so low that nothing is dropped
            module.p = 1e-6
    torch.testing.assert_close(small(ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_a_model_with_per_row_dropout_is_saved_unchanged(small: GPT2LMHeadModel, tmp_path: Path) -> None:
    small.save_pretrained(tmp_path / "before")
    install_per_row_dropout(small)
    small.save_pretrained(tmp_path / "after")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()
