"""The head's product and its cross entropy as one function that never holds the full logits.

With a small model and a vocabulary of words the head is most of the work, and its logits, written and read several
times, most of the memory traffic. Here a chunk of rows is taken from product to gradient while it is in the cache, in
one buffer that all chunks share. The formula is the plain one: L = Σ (log Σ_j exp(h·w_j) − h·w_label), with
∂L/∂logits = softmax − onehot (as in the Cut Cross-Entropy and Liger kernels).
"""

import functools
from typing import Any

import torch

# rows of logits held at a time: 512 rows of 10,002 words in float32 are 20 MB
CHUNK_ROWS = 512
# smaller ones are left to the logits: below it float32 has fewer digits, and none in the end
SMALLEST_PROBABILITY = 1e-37


def token_losses(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return −log p(label) of each row, in nats; without gradient.

    Args:
        hidden: float of shape (rows, width).
        weight: float of shape (vocabulary, width).
        labels: int64 of shape (rows,), each in [0, vocabulary).

    Returns:
        float32 of shape (rows,).
    """
    chunks = zip(hidden.split(CHUNK_ROWS), labels.split(CHUNK_ROWS), strict=True)
    with torch.no_grad():
        return torch.cat(
            [
                torch.nn.functional.cross_entropy((rows @ weight.T).float(), label, reduction="none")
                for rows, label in chunks
            ]
        )


def summed_cross_entropy(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of −log p(label) over all rows, in nats, as a float32 scalar that can be differentiated once.

    Arguments as for :func:`token_losses`. Under autocast the products run in its dtype, the sums in float32.
    """
    loss: torch.Tensor = _SummedCrossEntropy.apply(hidden, weight, labels)
    return loss


class _SummedCrossEntropy(torch.autograd.Function):
    """Computes the gradients on the way forward, where the chunk's probabilities are at hand."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            loss, hidden_grad, weight_grad = _loss_and_gradients(hidden.to(dtype), weight.to(dtype), labels)
        ctx.save_for_backward(hidden_grad.to(hidden.dtype), weight_grad.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:  # noqa: ANN401
        hidden_grad, weight_grad = ctx.saved_tensors
        # in place, which is why the loss can be differentiated once only
        return hidden_grad.mul_(upstream[0]), weight_grad.mul_(upstream[0]), None


def _loss_and_gradients(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
    hidden_grad = torch.empty_like(hidden)
    weight_grad = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
    chunks = -(-len(hidden) // CHUNK_ROWS)
    all_logits = _buffer("logits", len(weight), hidden.dtype, hidden.device)
    all_probabilities = _buffer("probabilities", len(weight), torch.float32, hidden.device)
    for rows, label, rows_grad in zip(
        hidden.tensor_split(chunks),
        labels[:, None].tensor_split(chunks),
        hidden_grad.tensor_split(chunks),
        strict=True,
    ):
        logits, probabilities = all_logits[: len(rows)], all_probabilities[: len(rows)]
        torch.mm(rows, weight.T, out=logits)
        torch.softmax(logits, dim=1, dtype=torch.float32, out=probabilities)
        loss += _nats(probabilities.gather(1, label), logits, label)
        probabilities.scatter_add_(1, label, probabilities.new_full(label.shape, -1))
        logits_grad = logits.copy_(probabilities)
        torch.mm(logits_grad, weight, out=rows_grad)
        if weight_grad.dtype == hidden.dtype:
            weight_grad.addmm_(logits_grad.T, rows)
        else:
            weight_grad += logits_grad.T @ rows
    return loss, hidden_grad, weight_grad


def _nats(of_label: torch.Tensor, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return the sum of −log p, by the logits where p leaves float32's range."""
    if bool((of_label < SMALLEST_PROBABILITY).any()):
        return torch.nn.functional.cross_entropy(logits.float(), label[:, 0], reduction="sum")
    return -of_label.log().sum()


@functools.lru_cache(maxsize=4)
def _buffer(_: str, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return memory that all chunks of all steps share: to have it made anew costs as much as to fill it."""
    return torch.empty(CHUNK_ROWS, width, dtype=dtype, device=device)
