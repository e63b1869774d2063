"""The head's product and its cross entropy as one function that never holds the full logits.

With a small model and a vocabulary of words the head is most of the work, and its logits, written and read several
times, most of the memory traffic. Here a chunk of rows is taken from logits to their gradient in place, in one buffer
that all chunks of all steps share. The formula is the plain one: L = Σ (log Σ_j exp(h·w_j) − h·w_label), with
∂L/∂logits = softmax − onehot (as in the Cut Cross-Entropy and Liger kernels).
"""

import functools
from typing import Any

import torch

# of logits in training: 2,096 rows of 10,002 words in bfloat16, which is more than a usual batch, so that the gradient
# of the weight is one product and no sum. Less makes slower products, as each chunk arranges the weight anew; more
# was no faster. Fixed, and not timed on the machine, since a run that is resumed must sum in the same order
CHUNK_BYTES = 2**22 * 10
# of logits in evaluation, which has them in float32 beside
EVALUATION_CHUNK_BYTES = 2**22


def token_losses(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return −log p(label) of each row, in nats; without gradient.

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
    """Return the embeddings of ids, and the weight for a tied head to use in its place.

    With tied weights autograd would allocate a dense (vocabulary, width) gradient for the embedding and add it to the
    head's. Through the second output the head's gradient reaches this function's backward pass, which adds the rows of
    the embedding's gradient to it in place.

    Args:
        weight: float of shape (vocabulary, width).
        ids: int64 of shape (reviews, positions), each in [0, vocabulary).

    Returns:
        float of shape (reviews, positions, width), and the weight.
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
        # in place, which is why the loss can be differentiated once only
        hidden_grad, weight_grad = (gradient.mul_(upstream[0]) for gradient in ctx.saved_tensors)
        return hidden_grad, weight_grad if ctx.needs_input_grad[1] else None, None


def _loss_and_gradients(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, trained: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss, its gradient in the rows, and in the weight if that is trained, else an empty one."""
    loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
    hidden_grad = torch.empty_like(hidden)
    weight_grad = torch.empty(weight.shape if trained else (0, 0), dtype=torch.float32, device=weight.device)
    buffer = _buffer(_rows(CHUNK_BYTES, weight), len(weight), weight.dtype, weight.device)
    chunks = zip(*(tensor.split(len(buffer)) for tensor in (hidden, labels, hidden_grad)), strict=True)
    for index, (rows, label, rows_grad) in enumerate(chunks):
        logits = buffer[: len(rows)]
        loss += _logits_gradient(weight, rows, label, logits)
        torch.mm(logits, weight, out=rows_grad)
        if not trained:
            continue
        if weight.dtype == weight_grad.dtype:
            weight_grad.addmm_(logits.T, rows, beta=min(index, 1))
        else:
            product = logits.T @ rows
            weight_grad = weight_grad.add_(product) if index else weight_grad.copy_(product)
    return loss, hidden_grad, weight_grad


def _logits_gradient(
    weight: torch.Tensor, rows: torch.Tensor, label: torch.Tensor, logits: torch.Tensor
) -> torch.Tensor:
    """Return the sum of −log p of a chunk; leave the gradient of its logits in the last argument."""
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
    return nats.sum()


def _rows(size: int, weight: torch.Tensor) -> int:
    """Return how many rows of logits have about so many bytes."""
    return max(size // (len(weight) * weight.element_size()), 1)


@functools.lru_cache(maxsize=4)
def _buffer(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return memory that all chunks of all steps share: to have it made anew costs as much as to fill it."""
    return torch.empty(rows, width, dtype=dtype, device=device)
