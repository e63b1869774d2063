"""Batches: each review once an epoch, within the budget, little padding, and determined by seed and step alone."""

import hashlib
import tracemalloc

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refused import refused

from wine_gpt.data.batching import (
    IGNORED,
    BatchPlan,
    collate,
    cut_texts,
    evaluation_batches,
    positions_of,
    split_into_micro_batches,
)


def reviews(*lengths: int) -> Dataset:
    ids = [[1, *range(10, 10 + length - 2), 2] for length in lengths]
    return Dataset.from_dict({"input_ids": ids, "length": lengths})


@settings(max_examples=50)
@given(
    positions=st.lists(st.integers(1, 60), min_size=1, max_size=300),
    budget=st.integers(60, 500),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_epoch_holds_each_review_once_in_batches_within_the_budget(
    positions: list[int], budget: int, seed: int
) -> None:
    plan = BatchPlan(np.array(positions), budget, seed, epochs=2)
    steps = [plan.batch(step) for step in range(plan.total_steps)]
    for epoch in (0, 1):
        seen = np.concatenate([batch for step, batch in enumerate(steps) if plan.epoch_of(step) == epoch])
        assert sorted(seen) == list(range(len(positions)))
    for batch in steps:
        assert len(batch) * max(positions[review] for review in batch) <= budget
    assert [step for step in range(plan.total_steps) if plan.ends_epoch(step)][-1] == plan.total_steps - 1


def test_a_step_depends_on_seed_and_step_only() -> None:
    positions = np.random.default_rng(0).integers(20, 100, 500)
    plan = BatchPlan(positions, 1000, seed=7, epochs=3)
    steps = [plan.batch(step).tolist() for step in range(plan.total_steps)]
    fresh = BatchPlan(positions, 1000, seed=7, epochs=3)
    for step in (plan.total_steps - 1, 0, plan.total_steps // 2):
        assert fresh.batch(step).tolist() == steps[step]
    other = BatchPlan(positions, 1000, seed=8, epochs=3)
    assert [other.batch(step).tolist() for step in range(3)] != steps[:3]
    epoch_length = [plan.epoch_of(step) for step in range(plan.total_steps)].count(0)
    assert steps[:epoch_length] != steps[epoch_length : 2 * epoch_length]


def test_the_order_of_a_run_never_changes_between_versions() -> None:
    """A later version resumes a run of an earlier one in the middle of an epoch."""
    positions = np.random.default_rng(3).integers(1, 90, 3000)
    plan = BatchPlan(positions, 700, seed=11, epochs=2)
    order = hashlib.sha256(np.concatenate([plan.batch(step) for step in range(plan.total_steps)]).tobytes())
    assert (plan.total_steps, plan.smallest) == (411, 4)
    assert order.hexdigest()[:16] == "18f8890afeda350c"


def test_a_plan_keeps_less_than_8_bytes_a_review() -> None:
    positions = np.random.default_rng(3).integers(1, 90, 100_000).astype(np.int32)
    tracemalloc.start()
    plan = BatchPlan(positions, 16_384, seed=0, epochs=2)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # one byte or two for the positions and four for the order of up to 4·10⁹ reviews, of the epoch that is planned
    assert kept < 7 * len(positions)
    assert plan.epoch(1).reviews.itemsize == 4


def test_padding_is_less_than_three_percent() -> None:
    lengths = np.random.default_rng(0).normal(58, 14, 8000).clip(15, 150).astype(np.int64)
    assert BatchPlan(lengths, 2048, seed=0, epochs=1).padding_fraction() < 0.03
    shuffled_pairs = np.array([10, 100] * 50)
    assert BatchPlan(shuffled_pairs, 100, seed=0, epochs=1).padding_fraction() == 0


def test_a_review_larger_than_the_budget_is_an_error() -> None:
    message = refused(BatchPlan, np.array([10, 60]), 50, seed=0, epochs=1)
    assert "training.batch_tokens is 50: one review alone has 60 positions" in message


def test_collate_shifts_pads_and_cuts() -> None:
    split = reviews(5, 4, 9)
    batch = collate(split, np.array([0, 1, 2]), block_size=6, filler=2)
    assert batch.input_ids.tolist() == [[1, 10, 11, 12, 2, 2], [1, 10, 11, 2, 2, 2], [1, 10, 11, 12, 13, 14]]
    assert batch.labels.tolist() == [
        [10, 11, 12, 2, IGNORED, IGNORED],
        [10, 11, 2, IGNORED, IGNORED, IGNORED],
        [10, 11, 12, 13, 14, 15],
    ]
    assert batch.input_ids.dtype == torch.int64
    assert positions_of(split, 6).tolist() == [4, 3, 6]
    assert cut_texts(split, 6).cut == 1


def test_the_number_of_labels_is_the_number_of_positions() -> None:
    """The trainer divides by the plan's positions; they must be the labels that the loss sums over."""
    split = reviews(5, 4, 9, 30)
    batch = collate(split, np.arange(4), block_size=12, filler=2)
    assert int((batch.labels != IGNORED).sum()) == positions_of(split, 12).sum()


def test_micro_batches_are_the_batch_in_order() -> None:
    micro_batches = split_into_micro_batches(np.arange(10), 4)
    assert np.concatenate(micro_batches).tolist() == list(range(10))
    assert {len(indices) for indices in micro_batches} == {2, 3}


@pytest.mark.parametrize("remaining", [0, 1, 2, 63])
def test_remaining_reviews_make_no_small_batch(remaining: int) -> None:
    """A batch with fewer reviews than processes would end a run on several processes."""
    reviews_of_a_batch = 100 // 10
    plan = BatchPlan(np.full(64 * reviews_of_a_batch * 2 + remaining, 10), 100, seed=0, epochs=2)
    sizes = [len(plan.batch(step)) for step in range(plan.total_steps)]
    assert plan.smallest == min(sizes) >= reviews_of_a_batch // 2


def test_evaluation_sees_every_review_once() -> None:
    split = reviews(*np.random.default_rng(0).integers(3, 40, 100).tolist())
    seen = np.concatenate(list(evaluation_batches(split, 20, 100)))
    assert sorted(seen) == list(range(100))
    assert list(evaluation_batches(reviews(), 20, 100)) == []


def test_rows_before_the_last_may_be_longer() -> None:
    split = Dataset.from_dict({"input_ids": [[1, 2, 3, 4], [1, 5]], "length": [4, 2]})
    batch = collate(split, np.array([0, 1]), 8, 9)
    assert batch.input_ids.tolist() == [[1, 2, 3], [1, 9, 9]]
    assert batch.labels.tolist() == [[2, 3, 4], [5, IGNORED, IGNORED]]
