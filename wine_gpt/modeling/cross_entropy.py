"""Compute the cross entropy of the head's logits, and its gradients, in chunks of rows.

With a small model and a large vocabulary the head's matmuls take most of a training step, and its logits most of the
memory traffic. Each chunk of logits is replaced by its gradient in place, in one buffer that all steps reuse. The
formulas are L = Σ (log Σ_j exp(h·w_j) − h·w_label) and ∂L/∂logits = softmax − onehot, as in the kernels of
Cut Cross-Entropy (Wijmans et al. 2024) and Liger. For a comparison with
``torch.nn.functional.linear_cross_entropy`` see benchmarks/RESULTS.md, "Training speed".
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

# size of a chunk of logits in training: one chunk holds most batches of the class config, so that one matmul computes
# the weight's gradient (benchmarks/RESULTS.md, "Size of a chunk of logits"). It is the same on
# each CPU, because a resumed run must sum in the order of the original run
CHUNK_BYTES = 40 * 2**20
# size of a chunk of logits in evaluation; smaller, because evaluation copies the logits to float32
EVALUATION_CHUNK_BYTES = 4 * 2**20
# fraction of a GPU's memory that a chunk of logits may take, because a GPU has no cache to stay in and small kernels
# leave it idle: 2.5 GiB of 80 GiB hold 65,536 rows of 10,000 words in bfloat16 twice
CUDA_CHUNK_FRACTION = 1 / 32
# words of each row whose probabilities a teacher's targets keep; all other words are one class
LIKELIEST = 64
# positions, padding included, that a teacher predicts at once: their probabilities take 40 MB with 10,000 words
PREDICTED_POSITIONS = 1024


class SoftTargets(NamedTuple):
    """What a teacher predicts for each row, as its likeliest words and one class for the rest of the vocabulary.

    With the weight a of the label, the probabilities p of the words in ``ids`` and p_rest of all other words, the loss
    of a row is −a log q(label) − Σ p_k log q_k − p_rest log q_rest, where q is the model's prediction and q_rest = 1 −
    Σ q_k: the cross entropy with the teacher's predictions of Hinton et al. 2015, "Distilling the Knowledge in a
    Neural Network", for a truncated distribution. It is averaged over several teachers in Kim et al. 2025,
    "Pre-training under infinite compute" (arXiv 2509.14786).

    Attributes:
        ids: int64 of shape (rows, words), the distinct words of each row; rows whose probabilities are all 0 may
            repeat a word.
        probabilities: float32 of shape (rows, words).
        rest: float32 of shape (rows,).
        label_weight: float32 of shape (rows,). The probabilities, ``rest`` and this weight add up to 1 in each row.
    """

    ids: torch.Tensor
    probabilities: torch.Tensor
    rest: torch.Tensor
    label_weight: torch.Tensor

    def to(self, device: torch.device) -> "SoftTargets":
        """Return the targets on ``device``."""
        return SoftTargets(*(tensor.to(device, non_blocking=True) for tensor in self))

    def split(self, rows: list[int]) -> Iterator["SoftTargets"]:
        """Yield the targets of so many rows one after another."""
        return map(SoftTargets._make, zip(*(tensor.split(rows) for tensor in self), strict=True))


def likeliest(probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the ids and the probabilities of each row's :data:`LIKELIEST` words, and the sum of all others.

    Args:
        probabilities: float of shape (rows, vocabulary), which is changed in place.

    Returns:
        int64 and float of shape (rows, words), and float of shape (rows,).
    """
    kept, ids = probabilities.topk(min(LIKELIEST, probabilities.shape[1]))
    # a sum over the others, because 1 − the sum of the likeliest would be rounded
    return ids, kept, probabilities.scatter_(1, ids, 0).sum(1)


def token_losses(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return −log p(label) of each row, in nats, without gradients.

    Args:
        hidden: float of shape (rows, width).
        weight: float of shape (vocabulary, width).
        labels: int64 of shape (rows,), each in [0, vocabulary).

    Returns:
        float32 of shape (rows,).
    """
    chunk_rows = _rows(chunk_bytes(weight.device, EVALUATION_CHUNK_BYTES), weight)
    chunks = zip(hidden.split(chunk_rows), labels.split(chunk_rows), strict=True)
    with torch.no_grad():
        return torch.cat(
            [
                torch.nn.functional.cross_entropy((rows @ weight.T).float(), label, reduction="none")
                for rows, label in chunks
            ]
        )


def chunk_bytes(device: torch.device, cpu_bytes: int | None = None) -> int:
    """Return the size of a chunk of logits on ``device``, in bytes.

    Args:
        device: the device of the logits.
        cpu_bytes: the size on other devices than CUDA's; that of training if none.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * CUDA_CHUNK_FRACTION)
    return cpu_bytes or CHUNK_BYTES


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


def summed_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    soft_targets: SoftTargets | None = None,
    counted: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the sum of −log p(label) over all rows, in nats, as a float32 scalar that can be differentiated once.

    Under autocast the matmuls run in its dtype, the sums in float32.

    Args:
        hidden: float of shape (rows, width).
        weight: float of shape (vocabulary, width).
        labels: int64 of shape (rows,), each in [0, vocabulary) if its row counts.
        soft_targets: replace −log p(label) by the loss of :class:`SoftTargets`.
        counted: bool of shape (rows,), the rows that count; None for all. With it the shapes and the kernels do not
            depend on the labels, so that the host need not wait for the device. Not with soft targets.
    """
    loss: torch.Tensor = _SummedCrossEntropy.apply(hidden, weight, labels, soft_targets, counted)
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
        if ids.device.type == "cpu":
            return head_grad.index_add_(0, ids.flatten(), embeddings_grad.flatten(0, 1)), None
        # on a GPU index_add_ adds in any order, so that a resumed run would end with other bits
        rows = embeddings_grad.flatten(0, 1).to(head_grad.dtype)
        return head_grad.index_put_((ids.flatten(),), rows, accumulate=True), None


class _SummedCrossEntropy(torch.autograd.Function):
    """Computes the gradients in the forward pass, because the backward pass would compute the logits again."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
        soft_targets: SoftTargets | None,
        counted: torch.Tensor | None,
    ) -> torch.Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        with torch.autocast(device, enabled=False):
            # skip the gradient of a frozen weight, as with an adapter, because it takes a third of the matmuls
            loss, hidden_grad, weight_grad = _loss_and_gradients(
                hidden.to(dtype), weight.to(dtype), labels, soft_targets, counted, ctx.needs_input_grad[1]
            )
        ctx.save_for_backward(hidden_grad.to(hidden.dtype), weight_grad.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        # in place, so that the loss can be differentiated only once
        hidden_grad, weight_grad = (gradient.mul_(upstream[0]) for gradient in ctx.saved_tensors)
        return hidden_grad, weight_grad if ctx.needs_input_grad[1] else None, None, None, None


def _loss_and_gradients(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    soft_targets: SoftTargets | None,
    counted: torch.Tensor | None,
    weight_trained: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss, the gradient of the hidden rows, and that of the weight, empty if the weight is frozen."""
    if counted is not None:
        # a row of zeros adds nothing to the weight's gradient; masking the logits would take a pass over all of them
        hidden, labels = hidden * counted[:, None], labels * counted
    loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
    hidden_grad = torch.empty_like(hidden)
    weight_grad = torch.empty(weight.shape if weight_trained else (0, 0), dtype=torch.float32, device=weight.device)
    buffer = _logits_buffer(len(hidden), weight)
    # without rows there is one empty chunk, whose matmul fills the weight's gradient with zeros
    for start in range(0, max(len(hidden), 1), max(len(buffer), 1)):
        chunk = slice(start, start + len(buffer))
        rows = hidden[chunk]
        logits = buffer[: len(rows)]
        soft = None if soft_targets is None else SoftTargets(*(tensor[chunk] for tensor in soft_targets))
        mask = None if counted is None else counted[chunk]
        loss += _logits_gradient(weight, rows, labels[chunk], soft, mask, logits)
        torch.mm(logits, weight, out=hidden_grad[chunk])
        if not weight_trained:
            continue
        if weight.dtype == weight_grad.dtype:
            weight_grad.addmm_(logits.T, rows, beta=min(start, 1))
        else:
            chunk_grad = logits.T @ rows
            weight_grad = weight_grad.add_(chunk_grad) if start else weight_grad.copy_(chunk_grad)
    if counted is not None:
        hidden_grad *= counted[:, None]
    return loss, hidden_grad, weight_grad


def _logits_gradient(
    weight: torch.Tensor,
    rows: torch.Tensor,
    label: torch.Tensor,
    soft: SoftTargets | None,
    counted: torch.Tensor | None,
    logits: torch.Tensor,
) -> torch.Tensor:
    """Return the summed loss of a chunk, and write the gradient of its logits into ``logits``."""
    torch.mm(rows, weight.T, out=logits)
    probabilities = torch.softmax(logits, dim=1, out=logits)
    label_index = torch.arange(len(label), device=label.device), label
    label_probability = probabilities[label_index]
    if counted is not None and logits.dtype != torch.float16:
        nats = _nats_without_waiting(label_probability) * counted
    else:
        nats = _exact_nats(label_probability, weight, rows, label)
        nats = nats if counted is None else nats * counted
    if soft is None:
        # not scatter_, because it copies the whole chunk
        probabilities[label_index] = label_probability - 1
        return nats.sum()
    soft_nats = _soft_gradient(probabilities, soft)
    probabilities[label_index] -= soft.label_weight.to(logits.dtype)
    return (nats * soft.label_weight).sum() + soft_nats


def _nats_without_waiting(probability: torch.Tensor) -> torch.Tensor:
    """Return −log p of bfloat16 or float32 probabilities, at most 87 nats: there a smaller p underflows."""
    return -probability.float().clamp(min=torch.finfo(probability.dtype).smallest_normal).log()


def _exact_nats(
    probability: torch.Tensor, weight: torch.Tensor, rows: torch.Tensor, label: torch.Tensor
) -> torch.Tensor:
    """Return −log p(label), float32, computed from the logits where the label's probability underflows."""
    nats = -probability.float().log()
    # the logarithm of a subnormal probability is inexact, and that of 0 infinite
    underflow = probability < torch.finfo(probability.dtype).smallest_normal
    if bool(underflow.any()):
        nats[underflow] = token_losses(rows[underflow], weight, label[underflow]).to(nats.dtype)
    return nats


def _soft_gradient(probabilities: torch.Tensor, soft: SoftTargets) -> torch.Tensor:
    """Return a chunk's summed loss without the labels, and turn its probabilities into the gradient of the logits.

    The gradient is q_k − p_k for the teacher's words, and q_j (1 − p_rest / q_rest) for all others.
    """
    index = torch.arange(len(soft.ids), device=soft.ids.device)[:, None], soft.ids
    smallest = max(torch.finfo(dtype).smallest_normal for dtype in (probabilities.dtype, torch.float32))
    chosen = probabilities[index].float()
    # as a sum of the others, because 1 − Σ q_k would be inexact in bfloat16
    probabilities[index] = 0
    # torch sums bfloat16 in float32; with dtype=torch.float32 it would convert each element first
    rest = probabilities.sum(1).float().clamp_(min=smallest)
    probabilities.mul_((1 - soft.rest / rest).to(probabilities.dtype)[:, None])
    probabilities[index] = (chosen - soft.probabilities).to(probabilities.dtype)
    nats = (soft.probabilities * chosen.clamp(min=smallest).log()).sum() + (soft.rest * rest.log()).sum()
    return -nats


def _rows(size: int, weight: torch.Tensor) -> int:
    """Return how many rows of logits take about ``size`` bytes."""
    return max(size // (len(weight) * weight.element_size()), 1)


def _logits_buffer(rows: int, weight: torch.Tensor) -> torch.Tensor:
    """Return the memory of a chunk of logits."""
    chunk_rows = _rows(chunk_bytes(weight.device), weight)
    if weight.device.type == "cuda":
        # torch keeps freed memory of a GPU, so that allocating as much as this batch needs costs nothing
        return torch.empty(min(rows, chunk_rows), len(weight), dtype=weight.dtype, device=weight.device)
    return _buffer(chunk_rows, len(weight), weight.dtype, weight.device)


@functools.lru_cache(maxsize=4)
def _buffer(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the buffer that all steps reuse, because allocating it takes as long as filling it."""
    return torch.empty(rows, width, dtype=dtype, device=device)
