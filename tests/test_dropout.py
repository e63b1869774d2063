"""Packed dropout is dropout."""

import pytest
import torch
from torch import nn

from wine_gpt.dropout import PackedDropout, pack_dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1000, 1001), (7,), (3, 5, 7)])
def test_elements_are_zero_with_probability_p_or_scaled(p: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    out = PackedDropout(p)(torch.ones(shape))
    assert out.shape == shape
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)), rtol=1e-4, atol=0)
    # five standard deviations of the share
    assert abs((out == 0).float().mean().item() - p) < 5 * (p * (1 - p) / out.numel()) ** 0.5


def test_no_element_depends_on_its_neighbours() -> None:
    torch.manual_seed(0)
    dropped = (PackedDropout(0.5)(torch.ones(10**6)) == 0).float() - 0.5
    for distance in (1, 2, 3, 4, 8):
        assert abs((dropped[distance:] * dropped[:-distance]).mean().item()) < 0.0013


def test_gradients_go_where_values_went() -> None:
    torch.manual_seed(0)
    values = torch.randn(64, 64, requires_grad=True)
    out = PackedDropout(0.3)(values)
    out.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad != 0, out != 0)
    torch.testing.assert_close(values.grad * values.detach(), out.detach())


def test_the_seed_fixes_it_and_evaluation_leaves_it_out() -> None:
    values = torch.randn(1000)
    layer = PackedDropout(0.3)
    torch.manual_seed(1)
    first = layer(values)
    torch.manual_seed(1)
    assert torch.equal(layer(values), first)
    assert not torch.equal(layer(values), first)
    assert torch.equal(layer.eval()(values), values)


def test_every_dropout_of_a_model_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.3)))
    model[2].eval()
    pack_dropout(model)
    assert model[1].training
    assert not model[2][0].training
    assert [module.p for module in model.modules() if type(module) is PackedDropout] == [0.2, 0.3]
    assert not [module for module in model.modules() if type(module) is nn.Dropout]
