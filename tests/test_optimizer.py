"""Muon: which parameters it moves, by how much, and that the rest is AdamW's."""

import dataclasses

import pytest
import torch
from support.toy_training import MODEL, TRAINING, make_tokenizer
from torch import nn
from transformers import GPT2LMHeadModel

from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.training.optimizer import MuonAdamW, build_optimizer, divide, orthogonalized


@pytest.fixture
def model() -> GPT2LMHeadModel:
    return build_model(MODEL, make_tokenizer(), 0)


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_orthogonalized_matrices_keep_their_directions_and_lose_their_strengths(dtype: torch.dtype) -> None:
    strengths = torch.logspace(0, -1.5, 24)
    shapes = [(24, 40), (32, 32), (40, 24), (24, 40), (32, 24)]
    sides = [[torch.linalg.qr(torch.randn(size, 24)).Q for size in shape] for shape in shapes]
    for (left, right), shape, found in zip(
        sides,
        shapes,
        orthogonalized([left @ torch.diag(strengths) @ right.T for left, right in sides], dtype),
        strict=True,
    ):
        assert found.shape == shape
        assert found.dtype == dtype
        turned = left.T @ found.float() @ right
        assert turned.diag().min() > 0.6
        assert turned.diag().max() < 1.3
        torch.testing.assert_close(turned - torch.diag(turned.diag()), torch.zeros(24, 24), atol=0.05, rtol=0)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_each_matrix_is_one_processes_and_none_has_much_more_to_do(processes: int) -> None:
    shapes = [torch.Size(shape) for shape in ((256, 768), (256, 256), (256, 256), (256, 256), (64, 64))]
    shares = divide(shapes, processes)
    assert len(shares) == processes
    assert sorted(index for share in shares for index in share) == list(range(len(shapes)))
    products = [sum(shapes[index].numel() * min(shapes[index]) for index in share) for share in shares]
    assert max(products) <= max(256 * 256 * 768, 1.1 * sum(products) / processes)


def test_matrices_between_the_layers_move_as_torch_has_it_and_the_rest_as_adamw_has_it(
    model: GPT2LMHeadModel,
) -> None:
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


def test_adamw_is_torchs(model: GPT2LMHeadModel) -> None:
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


def test_a_step_that_overflows_in_fp16_changes_nothing() -> None:
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
