"""Compute the cross entropy of the head's logits, and its gradients, in chunks of rows.

With a small model and a large vocabulary the head's matmuls take most of a training step, and its logits most of the
memory traffic. Each chunk of logits is replaced by its gradient in place, in one buffer that all steps reuse. The
formulas are L = Σ (log Σ_j exp(h·w_j) − h·w_label) and ∂L/∂logits = softmax − onehot, as in the kernels of
Cut Cross-Entropy (Wijmans et al. 2024) and Liger. For a comparison with
``torch.nn.functional.linear_cross_entropy`` see benchmarks/RESULTS.md, "Training speed".
"""

import functools
from typing import Any

import torch

# size of a chunk of logits in training: one chunk holds most batches of the class config, so that one matmul computes
# the weight's gradient (benchmarks/RESULTS.md, "Size of a chunk of logits"). It is not tuned on each machine, because
# a resumed run must sum in the order of the original run
CHUNK_BYTES = 40 * 2**20
# size of a chunk of logits in evaluation; smaller, because evaluation copies the logits to float32
EVALUATION_CHUNK_BYTES = 4 * 2**20


def token_losses(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return −log p(label) of each row, in nats, without gradients.

    Args:
        hidden: float of shape (rows, width).
        weight: float of shape (vocabulary, width).
        labels: int64 of shape (rows,), each in [0, vocabulary).

    Returns:
        float32 of shape (rows,).
    """
    chunk_rows = _rows(EVALUATION_CHUNK_BYTES, weight)
    chunks = zip(hidden.split(chunk_rows), labels.split(chunk_rows), strict=True)
    with torch.no_grad():
        return torch.cat(
            [
                torch.nn.functional.cross_entropy((rows @ weight.T).float(), label, reduction="none")
                for rows, label in chunks
            ]
        )


def embed_tied(weight: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the embeddings of ids, and a view of the weight that a tied head must use as its weight.

    With tied weights autograd would allocate a dense (vocabulary, width) gradient for the embedding and add it to the
    head's gradient. Instead the backward pass receives the head's gradient as that of the view, and adds the rows of
    the embedding's gradient to it in place.

    Args:
        weight: float of shape (vocabulary, width).
        ids: int64 of shape (reviews, positions), each in [0, vocabulary).

    Returns:
        the embeddings, float of shape (reviews, positions, width), and the view of the weight.
    """
    embeddings, head = _TiedEmbedding.apply(weight, ids)
    return embeddings, head


def summed_cross_entropy(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of −log p(label) over all rows, in nats, as a float32 scalar that can be differentiated once.

    Under autocast the matmuls run in its dtype, the sums in float32.

    Args:
        hidden: float of shape (rows, width).
        weight: float of shape (vocabulary, width).
        labels: int64 of shape (rows,), each in [0, vocabulary).
    """
    loss: torch.Tensor = _SummedCrossEntropy.apply(hidden, weight, labels)
    return loss


class _TiedEmbedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
        ctx.save_for_backward(ids)
        return torch.nn.functional.embedding(ids, weight), weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        (ids,) = ctx.saved_tensors
        embeddings_grad, head_grad = upstream
        # in place, because nothing else in the graph holds the head's gradient
        return head_grad.index_add_(0, ids.flatten(), embeddings_grad.flatten(0, 1)), None


class _SummedCrossEntropy(torch.autograd.Function):
    """Computes the gradients in the forward pass, because the backward pass would compute the logits again."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            # skip the gradient of a frozen weight, as with an adapter, because it takes a third of the matmuls
            loss, hidden_grad, weight_grad = _loss_and_gradients(
                hidden.to(dtype), weight.to(dtype), labels, weight_trained=ctx.needs_input_grad[1]
            )
        ctx.save_for_backward(hidden_grad.to(hidden.dtype), weight_grad.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:  # noqa: ANN401
        # in place, so that the loss can be differentiated only once
        hidden_grad, weight_grad = (gradient.mul_(upstream[0]) for gradient in ctx.saved_tensors)
        return hidden_grad, weight_grad if ctx.needs_input_grad[1] else None, None


def _loss_and_gradients(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, weight_trained: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss, the gradient of the hidden rows, and that of the weight, empty if the weight is frozen."""
    loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
    hidden_grad = torch.empty_like(hidden)
    weight_grad = torch.empty(weight.shape if weight_trained else (0, 0), dtype=torch.float32, device=weight.device)
    buffer = _buffer(_rows(CHUNK_BYTES, weight), len(weight), weight.dtype, weight.device)
    chunks = zip(*(tensor.split(len(buffer)) for tensor in (hidden, labels, hidden_grad)), strict=True)
    for index, (rows, label, rows_grad) in enumerate(chunks):
        logits = buffer[: len(rows)]
        loss += _logits_gradient(weight, rows, label, logits)
        torch.mm(logits, weight, out=rows_grad)
        if not weight_trained:
            continue
        if weight.dtype == weight_grad.dtype:
            weight_grad.addmm_(logits.T, rows, beta=min(index, 1))
        else:
            chunk_grad = logits.T @ rows
            weight_grad = weight_grad.add_(chunk_grad) if index else weight_grad.copy_(chunk_grad)
    return loss, hidden_grad, weight_grad


def _logits_gradient(
    weight: torch.Tensor, rows: torch.Tensor, label: torch.Tensor, logits: torch.Tensor
) -> torch.Tensor:
    """Return the sum of −log p(label) of a chunk, and write the gradient of its logits into ``logits``."""
    torch.mm(rows, weight.T, out=logits)
    probabilities = torch.softmax(logits, dim=1, out=logits)
    label_index = torch.arange(len(label), device=label.device), label
    label_probability = probabilities[label_index]
    nats = -label_probability.float().log()
    # the logarithm of a subnormal probability is inexact, and that of 0 infinite
    underflow = label_probability < torch.finfo(logits.dtype).smallest_normal
    if bool(underflow.any()):
        nats[underflow] = token_losses(rows[underflow], weight, label[underflow]).to(nats.dtype)
    # not scatter_, because it copies the whole chunk
    probabilities[label_index] = label_probability - 1
    return nats.sum()


def _rows(size: int, weight: torch.Tensor) -> int:
    """Return how many rows of logits take about ``size`` bytes."""
    return max(size // (len(weight) * weight.element_size()), 1)


@functools.lru_cache(maxsize=4)
def _buffer(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the buffer that all steps reuse, because allocating it takes as long as filling it."""
    return torch.empty(rows, width, dtype=dtype, device=device)
