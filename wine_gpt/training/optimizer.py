"""Muon for the matrices between the layers, AdamW for all else, as one optimizer.

torch has a Muon, but that one multiplies in bfloat16, which is a hundred times slower than float32 on a CPU without
instructions for it, and it takes no other parameters, so that a scaler of fp16 would have two optimizers to serve.
"""

from collections.abc import Callable
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast
from torch import nn

from wine_gpt.config import TrainingConfig

# of Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks": five rounds of this polynomial
# bring each singular value between about 0.7 and 1.2
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
MOMENTUM = 0.95


def orthogonalized(matrices: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Return about UVᵀ for each matrix USVᵀ: its directions, each with the same strength.

    Args:
        matrices: each float of shape (rows, columns).
        dtype: of the products.

    Returns:
        each of its matrix's shape, in that dtype.
    """
    wide = [matrix.T if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    found: dict[int, torch.Tensor] = {}
    # those of one shape together: one large product instead of many small ones
    for shape in {matrix.shape for matrix in wide}:
        alike = [index for index, matrix in enumerate(wide) if matrix.shape == shape]
        found.update(zip(alike, _iterate(torch.stack([wide[index] for index in alike]), dtype), strict=True))
    return [found[index] if wide[index] is matrix else found[index].T for index, matrix in enumerate(matrices)]


def _iterate(matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Orthogonalize a stack of shape (matrices, rows, columns), none with more rows than columns."""
    turned: torch.Tensor = (matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)).to(dtype)
    linear, cubic, quintic = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = turned @ turned.mT
        gram = torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic)
        turned = torch.baddbmm(turned, gram, turned, beta=linear)
    return turned


def orthogonalized_in_parallel(matrices: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Return what :func:`orthogonalized` does, where each process computes its share and sends it to the others.

    All processes call it with the same matrices.
    """
    state = PartialState()
    shares = divide([matrix.shape for matrix in matrices], state.num_processes)
    own = orthogonalized([matrices[index] for index in shares[state.process_index]], dtype)
    if state.num_processes == 1:
        return own
    found: dict[int, torch.Tensor] = {}
    for process, share in enumerate(shares):
        if process == state.process_index:
            # row by row, as those are that it is received in
            results = [result.contiguous() for result in own]
        else:
            results = [torch.empty(matrices[index].shape, dtype=dtype, device=state.device) for index in share]
        found.update(zip(share, broadcast(results, from_process=process), strict=True))
    return [found[index] for index in range(len(matrices))]


def divide(shapes: list[torch.Size], processes: int) -> list[list[int]]:
    """Return which matrices each process orthogonalizes: the costliest first, each to whom has least to do so far."""
    costs = [shape.numel() * min(shape) for shape in shapes]
    shares: list[list[int]] = [[] for _ in range(processes)]
    for index in sorted(range(len(shapes)), key=lambda index: -costs[index]):
        min(shares, key=lambda share: sum(costs[i] for i in share)).append(index)
    return [sorted(share) for share in shares]


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
                matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
                directions = orthogonalized_in_parallel([self._momentum(matrix) for matrix in matrices], self.dtype)
                for matrix, direction in zip(matrices, directions, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(direction, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)
                    # which AdamW then leaves alone
                    matrix.grad = None
        return super().step(closure)

    def _momentum(self, matrix: nn.Parameter) -> torch.Tensor:
        """Take a gradient into the momentum; return what that will be if the next gradient is like it (Nesterov)."""
        state = self.state[matrix]
        if not state:
            # AdamW looks for a step in every state that it loads
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(matrix))
        state["step"] += 1
        gradient = matrix.grad
        assert gradient is not None
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM)


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
