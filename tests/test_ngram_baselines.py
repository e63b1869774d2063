"""The n-gram baselines, beside a recursive implementation of the textbook's formula."""

import math
import random
from collections import Counter

import pytest
from transformers import PreTrainedTokenizerFast

from wine_gpt.evaluation.ngram_baselines import NgramModel
from wine_gpt.tokenizer import train_tokenizer

WORDS = ["plum", "oak", "fig", "rose", "salt"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([" ".join(WORDS)])


def random_rows(tokenizer: PreTrainedTokenizerFast, count: int, seed: int) -> list[list[int]]:
    generator = random.Random(seed)
    texts = [" ".join(generator.choices(WORDS, range(1, 6), k=generator.randrange(6))) for _ in range(count)]
    rows: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return rows


def kneser_ney(
    rows: list[list[int]], length: int, vocabulary: int, start: int, end: int
) -> dict[tuple[int, ...], float]:
    """Return the probability of the last token of every n-gram over the vocabulary, by the formula itself."""
    padded = [[start] * (length - 1) + row + [end] for row in rows]
    counts = [Counter[tuple[int, ...]]() for _ in range(length + 1)]
    for row in padded:
        counts[length].update(tuple(row[at - length + 1 : at + 1]) for at in range(length - 1, len(row)))
    for shorter in range(length - 1, 0, -1):
        counts[shorter].update(ngram[1:] for ngram in counts[shorter + 1])

    def probability(ngram: tuple[int, ...]) -> float:
        if not ngram:
            return 1 / vocabulary
        same_context = {other: count for other, count in counts[len(ngram)].items() if other[:-1] == ngram[:-1]}
        lower = probability(ngram[1:])
        if not same_context:
            return lower
        values = list(counts[len(ngram)].values())
        once, twice = values.count(1), values.count(2)
        discount = once / (once + 2 * twice) if once else 0.5
        kept = max(counts[len(ngram)][ngram] - discount, 0)
        return (kept + discount * len(same_context) * lower) / sum(same_context.values())

    tokens = range(vocabulary)
    contexts = {ngram[:-1] for ngram in counts[length]} | {(token,) * (length - 1) for token in tokens}
    return {(*context, token): probability((*context, token)) for context in contexts for token in tokens}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_it_is_interpolated_kneser_ney(tokenizer: PreTrainedTokenizerFast, length: int) -> None:
    train, held_out = random_rows(tokenizer, 40, seed=1), random_rows(tokenizer, 20, seed=2)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    expected = kneser_ney(train, length, len(tokenizer), start, end)
    for context in {ngram[:-1] for ngram in expected}:
        assert sum(expected[*context, token] for token in range(len(tokenizer))) == pytest.approx(1)
    compared = 0
    for row, nats in zip(held_out, NgramModel(train, length, tokenizer).nats(held_out), strict=True):
        padded = [start] * (length - 1) + row + [end]
        assert len(nats) == len(row) + 1
        for at, value in enumerate(nats):
            ngram = tuple(padded[at : at + length])
            if ngram in expected:
                assert value == pytest.approx(-math.log(expected[ngram]))
                compared += 1
    assert compared > 20


def test_text_that_training_never_saw_has_a_probability(tokenizer: PreTrainedTokenizerFast) -> None:
    (plum, oak, fig, *_) = tokenizer.convert_tokens_to_ids(WORDS)
    model = NgramModel([[plum, plum, oak]], 5, tokenizer)
    (nats,) = model.nats([[fig, fig]])
    assert all(0 < value < math.inf for value in nats)
    (empty,) = model.nats([[]])
    assert len(empty) == 1
