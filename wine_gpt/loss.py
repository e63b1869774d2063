"""The head's product and its cross entropy as one function that never holds the full logits.

With a small model and a vocabulary of words the head is most of the work, and its logits, written and read several
times, most of the memory traffic. Here a chunk of rows is taken from logits to their gradient in place and while it is
in the cache, in one buffer that all steps share; the weight's gradient is one product for a group of chunks. The
formula is the plain one: L = Σ (log Σ_j exp(h·w_j) − h·w_label), with ∂L/∂logits = softmax − onehot (as in the Cut
Cross-Entropy and Liger kernels).
"""

import functools
from typing import Any

import torch

# of logits that go from product to gradient together: what caches hold; less makes slow products
CHUNK_BYTES = 2**22
# of logits held at a time: 2,048 rows of 10,002 words in bfloat16, which is a usual batch, so that the gradient of the
# weight is one product and no sum
GROUP_BYTES = 2**22 * 10


def token_losses(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return −log p(label) of each row, in nats; without gradient.

    Args:
        hidden: float of shape (rows, width).
        weight: float of shape (vocabulary, width).
        labels: int64 of shape (rows,), each in [0, vocabulary).

    Returns:
        float32 of shape (rows,).
    """
    chunk_rows = _rows(CHUNK_BYTES, weight)
    chunks = zip(hidden.split(chunk_rows), labels.split(chunk_rows), strict=True)
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
            # below an adapter the weight is frozen, and a third of the work falls away
            loss, hidden_grad, weight_grad = _loss_and_gradients(
                hidden.to(dtype), weight.to(dtype), labels, trained=ctx.needs_input_grad[1]
            )
        ctx.save_for_backward(hidden_grad.to(hidden.dtype), weight_grad.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:  # noqa: ANN401
        hidden_grad, weight_grad = ctx.saved_tensors
        # in place, which is why the loss can be differentiated once only
        return hidden_grad.mul_(upstream[0]), weight_grad.mul_(upstream[0]) if ctx.needs_input_grad[1] else None, None


def _loss_and_gradients(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, trained: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss, its gradient in the rows, and in the weight if that is trained, else an empty one."""
    loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
    hidden_grad = torch.empty_like(hidden)
    weight_grad = torch.empty(weight.shape if trained else (0, 0), dtype=torch.float32, device=weight.device)
    buffer = _buffer(_rows(GROUP_BYTES, weight), len(weight), weight.dtype, weight.device)
    # a GPU's products want all rows at once
    chunk_rows = _rows(CHUNK_BYTES, weight) if weight.device.type == "cpu" else len(buffer)
    groups = zip(*(tensor.split(len(buffer)) for tensor in (hidden, labels, hidden_grad)), strict=True)
    for index, (rows, label, rows_grad) in enumerate(groups):
        logits = buffer[: len(rows)]
        for chunk in zip(*(tensor.split(chunk_rows) for tensor in (rows, label, rows_grad, logits)), strict=True):
            loss += _logits_gradient(weight, *chunk)
        if not trained:
            continue
        if weight.dtype == weight_grad.dtype:
            weight_grad.addmm_(logits.T, rows, beta=min(index, 1))
        else:
            product = logits.T @ rows
            weight_grad = weight_grad.add_(product) if index else weight_grad.copy_(product)
    return loss, hidden_grad, weight_grad


def _logits_gradient(
    weight: torch.Tensor, rows: torch.Tensor, label: torch.Tensor, rows_grad: torch.Tensor, logits: torch.Tensor
) -> torch.Tensor:
    """Return the sum of −log p of a chunk; leave the gradients of its rows and logits in the last two arguments."""
    torch.mm(rows, weight.T, out=logits)
    probabilities = torch.softmax(logits, dim=1, out=logits)
    here = torch.arange(len(label), device=label.device), label
    of_label = probabilities[here]
    nats = -of_label.float().log()
    lost = of_label < torch.finfo(logits.dtype).smallest_normal
    if bool(lost.any()):
        nats[lost] = token_losses(rows[lost], weight, label[lost]).to(nats.dtype)
    # not scatter_, which copies all of the chunk
    probabilities[here] = of_label - 1
    torch.mm(logits, weight, out=rows_grad)
    return nats.sum()


def _rows(size: int, weight: torch.Tensor) -> int:
    """Return how many rows of logits have about so many bytes."""
    return max(size // (len(weight) * weight.element_size()), 1)


@functools.lru_cache(maxsize=4)
def _buffer(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return memory that all groups of all steps share: to have it made anew costs as much as to fill it."""
    return torch.empty(rows, width, dtype=dtype, device=device)
