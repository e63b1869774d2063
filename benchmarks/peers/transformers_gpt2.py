"""Train a GPT-2 of the class's size in a plain loop, on padded reviews or on concatenated blocks.

benchmarks/training_speed.py runs it for comparison.
"""

from collections.abc import Iterator

import numpy as np
import torch
from class_ids import POSITIONS, Ids
from transformers import GPT2Config, GPT2LMHeadModel

BATCH = 32


def build_model(words: int) -> GPT2LMHeadModel:
    """Return an untrained GPT-2 of the class's size; the id after the last word ends a text."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=words + 1,
            n_positions=POSITIONS,
            n_layer=1,
            n_head=2,
            n_embd=256,
            n_inner=256,
            bos_token_id=words,
            eos_token_id=words,
            pad_token_id=0,
        )
    ).train()


def train(model: GPT2LMHeadModel, rows: Ids, blocks: bool) -> Iterator[int]:
    """Train one epoch and yield the number of words of each step.

    Args:
        model: see :func:`build_model`.
        rows: a split from class_ids.
        blocks: whether reviews are concatenated and cut into blocks of 80 words; otherwise each is padded to 80.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    end = model.config.eos_token_id
    ids = torch.from_numpy(concatenated(rows, end) if blocks else rows[:, :POSITIONS].astype(np.int64))
    for indices in torch.randperm(len(ids)).split(BATCH):
        batch = ids[indices]
        if blocks:
            output = model(batch, labels=batch)
        else:
            real = batch != 0
            output = model(batch, attention_mask=real.long(), labels=batch.masked_fill(~real, -100))
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield int(((batch != 0) & (batch != end)).sum())


def concatenated(rows: Ids, end: int) -> Ids:
    """Return the reviews concatenated, each followed by the end of text, in blocks of 80."""
    words = np.concatenate([np.append(row[row != 0], end) for row in rows]).astype(np.int64)
    return words[: len(words) // POSITIONS * POSITIONS].reshape(-1, POSITIONS)
