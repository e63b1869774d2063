"""The chunked loss equals the plain formula, in values and gradients."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from wine_gpt.data.batching import IGNORED
from wine_gpt.modeling import cross_entropy as loss_module
from wine_gpt.modeling.cross_entropy import SoftTargets, summed_cross_entropy, token_losses


def inputs(rows: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 16, generator=generator, dtype=dtype)
    weight = torch.randn(50, 16, generator=generator, dtype=dtype)
    return hidden, weight, torch.randint(0, 50, (rows,), generator=generator)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a chunk 20 rows of 50 words in float64, and 8 in evaluation."""
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", 20 * 50 * 8)
    monkeypatch.setattr(loss_module, "EVALUATION_CHUNK_BYTES", 8 * 50 * 8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 20, 47])
def test_values_and_gradients_equal_the_plain_formula(rows: int, dtype: torch.dtype) -> None:
    hidden, weight, labels = inputs(rows, dtype)
    plain = [tensor.clone().requires_grad_() for tensor in (hidden, weight)]
    chunked = [tensor.clone().requires_grad_() for tensor in (hidden, weight)]
    expected = cross_entropy(plain[0] @ plain[1].T, labels, reduction="sum") / 3
    found = summed_cross_entropy(chunked[0], chunked[1], labels) / 3
    expected.backward()
    found.backward()
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-6, atol=0)
    for ours, theirs in zip(chunked, plain, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        token_losses(hidden, weight, labels).double(),
        cross_entropy(hidden @ weight.T, labels, reduction="none").double(),
        rtol=1e-6,
        atol=1e-6,
    )


def test_large_logits_do_not_overflow() -> None:
    hidden, weight, labels = inputs(20, torch.float32)
    hidden.mul_(1000).requires_grad_()
    loss = summed_cross_entropy(hidden, weight, labels)
    loss.backward()
    torch.testing.assert_close(loss, cross_entropy(hidden @ weight.T, labels, reduction="sum"))
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


def test_a_probability_that_underflows_counts_in_full() -> None:
    hidden, weight, labels = torch.eye(3)[:, :2], torch.tensor([[0.0, 0.0], [30.0, 0.0]]), torch.tensor([0, 0, 1])
    expected = cross_entropy(hidden @ weight.T, labels, reduction="sum")
    with torch.autocast("cpu", dtype=torch.float16):
        found = summed_cross_entropy(hidden.requires_grad_(), weight, labels)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_nan_reaches_the_gradient() -> None:
    hidden, weight, labels = inputs(20, torch.float32)
    hidden[3, 3] = torch.nan
    hidden.requires_grad_()
    loss = summed_cross_entropy(hidden, weight, labels)
    loss.backward()
    assert loss.isnan()
    assert hidden.grad is not None
    assert hidden.grad[3].isnan().all()


def test_autocast_applies_to_the_matmuls_and_gradients_keep_the_parameters_dtype() -> None:
    hidden, weight, labels = inputs(600, torch.float32)
    hidden.requires_grad_()
    weight.requires_grad_()
    exact = cross_entropy(hidden @ weight.T, labels, reduction="sum").item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = summed_cross_entropy(hidden, weight, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() != exact
    assert loss.item() == pytest.approx(exact, rel=0.01)
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.float32


def test_a_frozen_weight_gets_no_gradient_and_changes_no_other_gradient() -> None:
    gradients = []
    for trained in (True, False):
        hidden, weight, labels = inputs(600, torch.float32)
        hidden.requires_grad_()
        weight.requires_grad_(trained)
        summed_cross_entropy(hidden, weight, labels).backward()
        assert (weight.grad is not None) == trained
        gradients.append(hidden.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_rows_that_do_not_count_change_neither_the_loss_nor_a_gradient(dtype: torch.dtype) -> None:
    hidden, weight, labels = inputs(47, torch.float32)
    counted = torch.arange(47) % 5 != 4
    results = []
    for rows, row_labels, mask in (
        (hidden[counted], labels[counted], None),
        (hidden, labels.where(counted, IGNORED), counted),
    ):
        tensors = [tensor.to(dtype).clone().requires_grad_() for tensor in (rows, weight)]
        loss = summed_cross_entropy(*tensors, row_labels, counted=mask)
        loss.backward()
        row_grad, weight_grad = (tensor.grad for tensor in tensors)
        assert row_grad is not None
        results.append((loss.detach(), row_grad if mask is None else row_grad[counted], weight_grad))
    assert row_grad[~counted].count_nonzero() == 0
    torch.testing.assert_close(*results)


def test_without_waiting_a_probability_that_underflows_counts_87_nats_and_nan_stays() -> None:
    weight = torch.tensor([[0.0], [200.0]])
    hidden, labels, counted = torch.ones(3, 1), torch.tensor([0, 1, 0]), torch.tensor([True, True, False])
    loss = summed_cross_entropy(hidden.requires_grad_(), weight, labels, counted=counted)
    assert loss.item() == pytest.approx(87.34, abs=0.01)
    loss.backward()
    # softmax - onehot is exact all the same
    assert hidden.grad is not None
    assert hidden.grad.flatten().tolist() == [200, 0, 0]
    assert summed_cross_entropy(torch.full((3, 1), torch.nan), weight, labels, counted=counted).isnan()


def soft_targets(rows: int, words: int) -> SoftTargets:
    """Return the likeliest words of random predictions, and label weights of 0, 1 and in between."""
    generator = torch.Generator().manual_seed(rows + words)
    predictions = torch.randn(rows, 50, generator=generator).mul(3).softmax(-1)
    label_weight = torch.tensor([0.0, 1.0, 0.3]).repeat(rows)[:rows]
    likeliest, ids = (predictions * (1 - label_weight)[:, None]).topk(words)
    rest = predictions.scatter(1, ids, 0).sum(1) * (1 - label_weight)
    return SoftTargets(ids, likeliest, rest, label_weight)


def dense_loss(logits: torch.Tensor, labels: torch.Tensor, soft: SoftTargets) -> torch.Tensor:
    """Return the formula of :class:`SoftTargets`, word by word."""
    predicted = logits.log_softmax(-1)
    total = logits.new_zeros(())
    for row, (ids, probabilities, rest, label_weight) in enumerate(zip(*soft, strict=True)):
        total = total - label_weight * predicted[row, labels[row]] - (probabilities * predicted[row, ids]).sum()
        others = torch.ones(logits.shape[1], dtype=torch.bool).index_fill(0, ids, False)
        if others.any():
            total = total - rest * predicted[row, others].logsumexp(0)
    return total


@pytest.mark.parametrize("words", [1, 7, 50])
@pytest.mark.parametrize("rows", [1, 20, 47])
def test_soft_targets_give_the_values_and_gradients_of_the_formula(rows: int, words: int) -> None:
    hidden, weight, labels = inputs(rows)
    soft = soft_targets(rows, words)
    plain = [tensor.clone().requires_grad_() for tensor in (hidden, weight)]
    chunked = [tensor.clone().requires_grad_() for tensor in (hidden, weight)]
    expected = dense_loss(plain[0] @ plain[1].T, labels, soft)
    found = summed_cross_entropy(chunked[0], chunked[1], labels, soft)
    expected.backward()
    found.backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    for ours, theirs in zip(chunked, plain, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_all_words_as_soft_targets_give_the_kl_divergence_and_the_teachers_entropy() -> None:
    hidden, weight, labels = inputs(20)
    teacher = torch.randn(20, 50, generator=torch.Generator().manual_seed(1)).double().softmax(-1)
    ids = torch.arange(50).repeat(20, 1)
    soft = SoftTargets(ids, teacher.float(), torch.zeros(20), torch.zeros(20))
    predicted = (hidden @ weight.T).log_softmax(-1)
    entropy = -(teacher * teacher.log()).sum()
    expected = torch.nn.functional.kl_div(predicted, teacher, reduction="sum") + entropy
    torch.testing.assert_close(
        summed_cross_entropy(hidden, weight, labels, soft).double(), expected, rtol=1e-5, atol=0
    )


def test_soft_targets_that_are_only_labels_give_the_loss_of_the_labels() -> None:
    hidden, weight, labels = inputs(47, torch.float32)
    soft = SoftTargets(torch.zeros(47, 3, dtype=torch.int64), torch.zeros(47, 3), torch.zeros(47), torch.ones(47))
    gradients = []
    for targets in (soft, None):
        tensors = [tensor.clone().requires_grad_() for tensor in (hidden, weight)]
        summed_cross_entropy(*tensors, labels, targets).backward()
        gradients.append([tensor.grad for tensor in tensors])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [30.0, 1000.0])
def test_soft_targets_of_a_certain_model_stay_finite(scale: float) -> None:
    hidden, weight, labels = inputs(20, torch.float32)
    hidden.mul_(scale).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = summed_cross_entropy(hidden, weight, labels, soft_targets(20, 7))
    loss.backward()
    assert loss.isfinite()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()
