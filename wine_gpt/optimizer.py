"""Muon for the matrices between the layers, AdamW for all else, as one optimizer.

torch has a Muon, but that one multiplies in bfloat16, which is a hundred times slower than float32 on a CPU without
instructions for it, and it takes no other parameters, so that a scaler of fp16 would have two optimizers to serve.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from wine_gpt.config import TrainingConfig

# of Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks": five rounds of this polynomial
# bring each singular value between about 0.7 and 1.2
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
MOMENTUM = 0.95


def orthogonalized(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return about UVᵀ for a matrix USVᵀ: its directions, each with the same strength.

    Args:
        matrix: float of shape (rows, columns).
        dtype: of the products.

    Returns:
        of the matrix's shape and dtype.
    """
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    turned = (wide / wide.norm().clamp(min=1e-7)).to(dtype)
    linear, cubic, quintic = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = turned @ turned.T
        gram = torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic)
        turned = torch.addmm(turned, gram, turned, beta=linear)
    result: torch.Tensor = turned if wide is matrix else turned.T
    return result.to(matrix.dtype)


class MuonAdamW(torch.optim.AdamW):
    """Muon for groups marked ``orthogonal``, which hold matrices, and AdamW for the others.

    A matrix moves by its orthogonalized momentum, scaled as in Liu et al. 2025, "Muon is Scalable for LLM Training",
    to the size of a step of AdamW's; so one learning rate serves all.

    Args:
        groups: of parameters, each with ``orthogonal`` and ``weight_decay``.
        config: see :class:`TrainingConfig`.
        dtype: of the products; bfloat16 is enough where it is fast.
    """

    def __init__(self, groups: list[dict[str, Any]], config: TrainingConfig, dtype: torch.dtype) -> None:
        betas = (config.adam_beta1, config.adam_beta2)
        super().__init__(groups, lr=config.learning_rate, betas=betas, fused=True)
        self.dtype = dtype
        # a fused AdamW would be called, and leave out its own part only, where fp16 has overflowed
        self._step_supports_amp_scaling = False

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # noqa: ANN401 - as torch has it
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            if group["orthogonal"]:
                for parameter in group["params"]:
                    self._move(parameter, group["lr"], group["weight_decay"])
        return super().step(closure)

    def _move(self, matrix: nn.Parameter, rate: float, weight_decay: float) -> None:
        """Update a matrix and take its gradient away, which is what AdamW skips."""
        if matrix.grad is None:
            return
        state = self.state[matrix]
        if not state:
            # AdamW looks for a step in every state that it loads
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(matrix))
        state["step"] += 1
        momentum = state["momentum"]
        momentum.lerp_(matrix.grad, 1 - MOMENTUM)
        # Nesterov's: what the momentum will be if the next gradient is like this one
        ahead = matrix.grad.lerp(momentum, MOMENTUM)
        matrix.mul_(1 - rate * weight_decay)
        matrix.add_(orthogonalized(ahead, self.dtype), alpha=-rate * 0.2 * max(matrix.shape) ** 0.5)
        matrix.grad = None


def build_optimizer(module: nn.Module, config: TrainingConfig, dtype: torch.dtype) -> MuonAdamW:
    """Return the optimizer that the config names, with weight decay for matrices and none for biases and layer norms.

    Muon is for the matrices that make one layer's output into the next one's. What has a row for each word or position
    stays with AdamW, the head too, which is tied to the words' embeddings.

    Args:
        module: of which the parameters that need gradients are trained.
        config: see :class:`TrainingConfig`.
        dtype: of Muon's products.
    """
    rows = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() == 2]
    return MuonAdamW(
        [
            {
                "params": [matrix for matrix in matrices if id(matrix) not in rows],
                "weight_decay": config.weight_decay,
                "orthogonal": config.optimizer == "muon",
            },
            {
                "params": [matrix for matrix in matrices if id(matrix) in rows],
                "weight_decay": config.weight_decay,
                "orthogonal": False,
            },
            {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0, "orthogonal": False},
        ],
        config,
        dtype,
    )
