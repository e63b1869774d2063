"""Muon for the matrices between the layers and AdamW for all other parameters, as one optimizer.

``torch.optim.Muon`` is not used, because its matmuls are in bfloat16, which is slow on a CPU without bfloat16
instructions, and because it takes matrices only, so that fp16's gradient scaler would have two optimizers
(benchmarks/RESULTS.md, "Training speed").
"""

from collections.abc import Callable
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast
from torch import nn

from wine_gpt.config import TrainingConfig
from wine_gpt.training.character_ngrams import CharacterNgrams

# five Newton-Schulz iterations with this polynomial bring each singular value to between about 0.7 and 1.2 (Jordan et
# al. 2024, "Muon: An optimizer for hidden layers in neural networks")
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95


def orthogonalize(matrix: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return about UVᵀ for a matrix USVᵀ, so that all singular values are about 1.

    Args:
        matrix: float of shape (rows, columns), or (matrices, rows, columns) for several.
        dtype: the dtype of the matmuls and of the result.

    Returns:
        a tensor of the matrix's shape.
    """
    # at most as many rows as columns, because the iteration multiplies (rows, rows) matrices
    transposed = matrix.shape[-2] > matrix.shape[-1]
    iterate = (matrix.mT if transposed else matrix).contiguous()
    norm = torch.linalg.vector_norm(iterate, dim=(-2, -1), keepdim=True)
    iterate = (iterate / norm.clamp(min=1e-7)).to(dtype)
    linear, cubic, quintic = COEFFICIENTS
    multiply_add = torch.addmm if matrix.dim() == 2 else torch.baddbmm
    for _ in range(ITERATIONS):
        gram = iterate @ iterate.mT
        gram = multiply_add(gram, gram, gram, beta=cubic, alpha=quintic)
        iterate = multiply_add(iterate, gram, iterate, beta=linear)
    return iterate.mT if transposed else iterate


def orthogonalize_all(matrices: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Orthogonalize each matrix; on a GPU those of equal shape together, because many small kernels leave it idle."""
    if not matrices or matrices[0].device.type == "cpu":
        return [orthogonalize(matrix, dtype) for matrix in matrices]
    found: dict[int, torch.Tensor] = {}
    for shape in {matrix.shape for matrix in matrices}:
        indices = [index for index, matrix in enumerate(matrices) if matrix.shape == shape]
        stack = torch.stack([matrices[index] for index in indices])
        found.update(zip(indices, orthogonalize(stack, dtype).unbind(), strict=True))
    return [found[index] for index in range(len(matrices))]


def orthogonalize_in_parallel(matrices: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    """Orthogonalize each matrix on one process, and return all results on all processes.

    All processes must call this function with equal matrices.
    """
    state = PartialState()
    work = assign_work([matrix.shape for matrix in matrices], state.num_processes)
    own = orthogonalize_all([matrices[index] for index in work[state.process_index]], dtype)
    if state.num_processes == 1:
        return own
    found: dict[int, torch.Tensor] = {}
    for process, indices in enumerate(work):
        if process == state.process_index:
            # contiguous like the tensors that the other processes receive into
            results = [result.contiguous() for result in own]
        else:
            results = [torch.empty(matrices[index].shape, dtype=dtype, device=state.device) for index in indices]
        found.update(zip(indices, broadcast(results, from_process=process), strict=True))
    return [found[index] for index in range(len(matrices))]


def assign_work(shapes: list[torch.Size], processes: int) -> list[list[int]]:
    """Return the indices of the matrices that each process orthogonalizes.

    Matrices are assigned greedily, largest first, to the least loaded process.
    """
    costs = [shape.numel() * min(shape) for shape in shapes]
    work: list[list[int]] = [[] for _ in range(processes)]
    for index in sorted(range(len(shapes)), key=lambda index: -costs[index]):
        min(work, key=lambda indices: sum(costs[i] for i in indices)).append(index)
    return [sorted(indices) for indices in work]


class MuonAdamW(torch.optim.AdamW):
    """Muon for parameter groups marked ``orthogonal``, which must hold matrices, and AdamW for the other groups.

    A matrix's update is its orthogonalized momentum, scaled to the size of an AdamW update as in Liu et al. 2025,
    "Muon is Scalable for LLM Training", so that one learning rate serves both.

    Args:
        groups: parameter groups, each with ``orthogonal`` and ``weight_decay``.
        config: see :class:`TrainingConfig`.
        dtype: the dtype of Muon's matmuls; bfloat16 is precise enough.
        ngrams: move the embeddings too; their ``moves`` must be in a group.
    """

    def __init__(
        self,
        # dict[str, Any] is torch.optim's type of a parameter group
        groups: list[dict[str, Any]],
        config: TrainingConfig,
        dtype: torch.dtype,
        ngrams: CharacterNgrams | None = None,
    ) -> None:
        betas = (config.adam_beta1, config.adam_beta2)
        super().__init__(groups, lr=config.learning_rate, betas=betas, fused=True)
        self.dtype = dtype
        self.ngrams = ngrams
        # makes fp16's gradient scaler skip the step after an overflow; a fused AdamW would skip only its own update
        self._step_supports_amp_scaling = False
        # 1 on the device once a step must be skipped, and from then on; none as long as the caller checks each step.
        # torch's fused AdamW reads it by this name
        self.found_inf: torch.Tensor | None = None

    def skip_from_now_unless(self, finite: torch.Tensor) -> None:
        """Skip the next step and all later ones if a bool scalar on the device is false, without waiting for it."""
        found = torch.logical_not(finite).float()
        self.found_inf = found if self.found_inf is None else torch.maximum(self.found_inf, found)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # noqa: ANN401 - torch.optim's signature
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            if group["orthogonal"]:
                self._step_muon(group)
        if self.ngrams is None:
            return super().step(closure)
        self.ngrams.take_gradient()
        found = super().step(closure)
        self.ngrams.move_words()
        return found

    # dict[str, Any] is torch.optim's type of a parameter group
    def _step_muon(self, group: dict[str, Any]) -> None:
        matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
        directions = orthogonalize_in_parallel([self._momentum(matrix) for matrix in matrices], self.dtype)
        decay = 1 - group["lr"] * group["weight_decay"]
        if self.found_inf is not None:
            skipped = self.found_inf.bool()
            decay = torch.where(skipped, 1.0, decay)
            directions = [torch.where(skipped, 0, direction) for direction in directions]
        for matrix, direction in zip(matrices, directions, strict=True):
            matrix.mul_(decay)
            matrix.add_(direction, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)
            # AdamW skips parameters without a gradient
            matrix.grad = None

    def _momentum(self, matrix: nn.Parameter) -> torch.Tensor:
        """Update a matrix's momentum with its gradient, and return the Nesterov momentum."""
        state = self.state[matrix]
        if not state:
            # AdamW's load_state_dict requires a step in every parameter's state
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(matrix))
        state["step"] += 1
        gradient = matrix.grad
        assert gradient is not None
        if self.found_inf is not None:
            # interpolating from the momentum to itself leaves the momentum as it is
            gradient = torch.where(self.found_inf.bool(), state["momentum"], gradient)
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM)


def build_optimizer(
    module: nn.Module, config: TrainingConfig, dtype: torch.dtype, ngrams: CharacterNgrams | None = None
) -> MuonAdamW:
    """Return the optimizer of the config, with weight decay for matrices but not for biases and layer norms.

    Muon updates the weights of linear layers only: AdamW updates the embeddings, and with them a tied head.

    Args:
        module: its parameters that require gradients are trained.
        config: see :class:`TrainingConfig`.
        dtype: the dtype of Muon's matmuls.
        ngrams: move the module's embeddings too, updated by AdamW without weight decay.
    """
    embeddings = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() == 2]
    groups = [
        {
            "params": [matrix for matrix in matrices if id(matrix) not in embeddings],
            "weight_decay": config.weight_decay,
            "orthogonal": config.optimizer == "muon",
        },
        {
            "params": [matrix for matrix in matrices if id(matrix) in embeddings],
            "weight_decay": config.weight_decay,
            "orthogonal": False,
        },
        {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0, "orthogonal": False},
    ]
    if ngrams is not None:
        groups.append({"params": [ngrams.moves], "weight_decay": 0.0, "orthogonal": False})
    return MuonAdamW(groups, config, dtype, ngrams)
