"""Sample synthetic reviews from the members, which no member has seen."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from wine_gpt.generation.generate import encode_prompts, generate_ids
from wine_gpt.progress import Progress

BATCH_SIZE = 128


def sample_reviews(
    models: Sequence[GPT2LMHeadModel], tokenizer: PreTrainedTokenizerFast, count: int, seed: int
) -> Iterator[list[int]]:
    """Yield the ids of reviews, [BOS] to [EOS], from all models in turn.

    They are drawn from the models' whole distribution: at temperature 1, and with [UNK], which real reviews have too.

    Args:
        models: the members.
        tokenizer: their tokenizer.
        count: the number of reviews.
        seed: equal seeds and models give equal reviews.
    """
    sizes = [min(BATCH_SIZE, count - start) for start in range(0, count, BATCH_SIZE)]
    settings: dict[str, Any] = {
        **{"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0},
        "suppress_tokens": [tokenizer.pad_token_id, tokenizer.bos_token_id],
    }
    with contextlib.closing(Progress(len(sizes))) as progress:
        for number, size in enumerate(sizes):
            model = models[number % len(models)]
            drawn = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
            rows = generate_ids(model, encode_prompts(model, tokenizer, [""] * size), seed=drawn, **settings)
            yield from (_until_end(row, tokenizer.eos_token_id) for row in rows.cpu())
            progress.step("writing synthetic reviews")


def _until_end(row: torch.Tensor, end: int) -> list[int]:
    """Return the ids up to the first end of text, which a review as long as the model's positions lacks."""
    ends = (row == end).nonzero()
    return row[: int(ends[0]) + 1 if len(ends) else None].tolist()
