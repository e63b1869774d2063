"""Muon updates the matrices between the layers, as torch's does, and AdamW all other parameters."""

import dataclasses

import pytest
import torch
from support.toy_training import MODEL, TRAINING, make_tokenizer
from torch import nn
from transformers import GPT2LMHeadModel

from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.training.optimizer import MuonAdamW, assign_work, build_optimizer, orthogonalize


@pytest.fixture
def model() -> GPT2LMHeadModel:
    return build_model(MODEL, make_tokenizer(), 0)


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(24, 40), (32, 32), (40, 24)])
def test_orthogonalizing_keeps_singular_vectors_and_makes_singular_values_about_one(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    singular_values = torch.logspace(0, -1.5, 24)
    left, right = (torch.linalg.qr(torch.randn(size, 24)).Q for size in shape)
    found = orthogonalize(left @ torch.diag(singular_values) @ right.T, dtype)
    assert found.shape == shape
    assert found.dtype == dtype
    rotated = left.T @ found.float() @ right
    assert rotated.diag().min() > 0.6
    assert rotated.diag().max() < 1.3
    torch.testing.assert_close(rotated, torch.diag(rotated.diag()), atol=0.05, rtol=0)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_matrices_are_orthogonalized_together_as_one_by_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    expected = torch.stack([orthogonalize(matrix, torch.float32) for matrix in matrices])
    torch.testing.assert_close(orthogonalize(matrices, torch.float32), expected)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_each_matrix_is_assigned_once_and_the_processes_are_balanced(processes: int) -> None:
    shapes = [torch.Size(shape) for shape in ((256, 768), (256, 256), (256, 256), (256, 256), (64, 64))]
    work = assign_work(shapes, processes)
    assert len(work) == processes
    assert sorted(index for indices in work for index in indices) == list(range(len(shapes)))
    costs = [sum(shapes[index].numel() * min(shapes[index]) for index in indices) for indices in work]
    assert max(costs) <= max(256 * 256 * 768, 1.1 * sum(costs) / processes)


def test_layers_weights_are_updated_as_by_torchs_muon_and_the_rest_by_adamw(model: GPT2LMHeadModel) -> None:
    twin = build_model(MODEL, make_tokenizer(), 0)
    ours = build_optimizer(model, TRAINING, torch.float32)
    between = {f"transformer.h.0.{name}.weight" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
    named = dict(twin.named_parameters())
    rates = {"lr": TRAINING.learning_rate, "weight_decay": TRAINING.weight_decay}
    muon = torch.optim.Muon([named[name] for name in between], **rates, adjust_lr_fn="match_rms_adamw")
    rest = [parameter for name, parameter in named.items() if name not in between]
    betas = (TRAINING.adam_beta1, TRAINING.adam_beta2)
    groups = [
        {"params": [parameter for parameter in rest if parameter.dim() == 2]},
        {"params": [parameter for parameter in rest if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, **rates, betas=betas)
    for step in range(3):
        give_gradients(model, step)
        give_gradients(twin, step)
        for optimizer in (ours, muon, adamw):
            optimizer.step()
    for name, parameter in model.named_parameters():
        # torch's Muon multiplies in bfloat16
        tolerance = 2e-3 if name in between else 1e-6
        torch.testing.assert_close(parameter, named[name], atol=tolerance, rtol=0, msg=name)


def test_adamw_equals_torchs(model: GPT2LMHeadModel) -> None:
    twin = build_model(MODEL, make_tokenizer(), 0)
    config = dataclasses.replace(TRAINING, optimizer="adamw", weight_decay=0.0)
    ours = build_optimizer(model, config, torch.float32)
    betas = (config.adam_beta1, config.adam_beta2)
    theirs = torch.optim.AdamW(twin.parameters(), lr=config.learning_rate, betas=betas, weight_decay=0.0, fused=True)
    for step in range(3):
        give_gradients(model, step)
        give_gradients(twin, step)
        ours.step()
        theirs.step()
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), twin.parameters(), strict=True))


def test_an_fp16_overflow_changes_no_weight() -> None:
    layer = nn.Linear(8, 8, bias=False)
    optimizer = MuonAdamW(
        [{"params": [layer.weight], "weight_decay": 0.1, "orthogonal": True}], TRAINING, torch.float32
    )
    scaler = torch.amp.GradScaler("cpu")
    before = layer.weight.detach().clone()
    scaler.scale(layer(torch.full((1, 8), torch.inf)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(layer.weight, before)
    optimizer.zero_grad()
    scaler.scale(layer(torch.ones(1, 8)).sum()).backward()
    scaler.step(optimizer)
    assert layer.weight.isfinite().all()
    assert not torch.equal(layer.weight, before)
