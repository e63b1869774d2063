"""A causal model's predictions of each token of held-out texts, for any tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.data.batching import IGNORED, Batch, collate, evaluation_batches
from wine_gpt.evaluation.bootstrap import Floats
from wine_gpt.modeling.pretrained import quiet_transformers
from wine_gpt.modeling.scoring import SCORING_TOKENS
from wine_gpt.progress import Progress
from wine_gpt.tokenizer.words import word_ends

# the vocabulary size that SCORING_TOKENS is chosen for; with a larger one the logits of fewer tokens fit into memory
SCORING_VOCABULARY = 10_000
# of the confidence, 0 to 1
BINS = 10

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Prediction:
    """A model's predictions of one text, from its second word on.

    Attributes:
        text_ids: all tokens of the text without start and end, those beyond the model's positions included.
        ids: the tokens without the end of text, int64 of shape (tokens,).
        first: index of the first of them among all tokens of the text.
        nats: −ln p of each, float64 of shape (tokens,).
        confidence: the probability of the most likely token at each position, float64 of shape (tokens,).
        correct: whether the most likely token is the actual one, bool of shape (tokens,).
        end_nats: −ln p of the end of text; None if the text has more tokens than the model has positions.
        words: how many of the class's words the tokens cover.
        characters: how many characters of the text the tokens cover.
    """

    text_ids: list[int]
    ids: Ints
    first: int
    nats: Floats
    confidence: Floats
    correct: Bools
    end_nats: float | None
    words: int
    characters: int

    def has_known_word(self, unknown: int | None) -> bool:
        """Return whether the text has a word and a token other than ``unknown``, the id of [UNK] if there is one."""
        return self.words > 0 and bool((self.ids != (-1 if unknown is None else unknown)).any())


class _Tokens(NamedTuple):
    """The predictions of successive tokens; see :class:`Prediction` for the columns, of shape (tokens,)."""

    ids: Ints
    nats: Floats
    confidence: Floats
    correct: Bools

    def select(self, tokens: slice | Bools) -> "_Tokens":
        return _Tokens(self.ids[tokens], self.nats[tokens], self.confidence[tokens], self.correct[tokens])


def predict(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], line_breaks: bool = False
) -> list[Prediction]:
    """Run the model over each text once, in float32.

    As in :mod:`wine_gpt.modeling.scoring`, a text is [BOS] words [EOS], its first word is not counted, and the tokens
    beyond the model's last position are left out.

    Args:
        model: put into evaluation mode.
        tokenizer: the model's, with a start and an end of text; its tokens need not be words.
        texts: whole reviews, as :func:`wine_gpt.data.reviews.texts` yields them.
        line_breaks: whether each line break counts as a word; see :class:`wine_gpt.config.DataConfig`.
    """
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    rows = [[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id] for ids in encoded["input_ids"]]
    split = Dataset.from_dict({"input_ids": rows, "length": [len(row) for row in rows]})
    positions = model.config.max_position_embeddings
    budget = max(SCORING_TOKENS * SCORING_VOCABULARY // max(len(tokenizer), SCORING_VOCABULARY), 1)
    batches = list(evaluation_batches(split, positions, budget))
    progress = Progress(len(batches))
    predictions: dict[int, Prediction] = {}
    model.eval()
    for indices in batches:
        batch = collate(split, indices, positions, tokenizer.eos_token_id).to(model.device)
        tokens = _predict_batch(model, batch)
        lengths = (batch.labels != IGNORED).sum(dim=1).cumsum(dim=0).tolist()
        for index, (start, end) in zip(indices.tolist(), pairwise([0, *lengths]), strict=True):
            text_ids, offsets = encoded["input_ids"][index], encoded["offset_mapping"][index]
            ends = word_ends(texts[index], line_breaks)
            predictions[index] = _prediction(ends, text_ids, offsets, tokens.select(slice(start, end)))
        progress.step("predicting")
    progress.close()
    return [predictions[index] for index in range(len(texts))]


@torch.inference_mode()
def _predict_batch(model: PreTrainedModel, batch: Batch) -> _Tokens:
    """Return the predictions of each token, one text after the other."""
    real = batch.labels != IGNORED
    labels = batch.labels[real]
    # padding is on the right, where no real token of a causal model attends to it, so no mask is needed
    with quiet_transformers():
        logits = model(input_ids=batch.input_ids, use_cache=False).logits[real]
    logs = logits.float().log_softmax(dim=-1)
    best, likeliest = logs.max(dim=-1)
    nats = -logs.gather(1, labels[:, None])[:, 0]
    correct = likeliest == labels
    # float64 on the CPU only, because MPS lacks it
    confidence = best.cpu().double().exp()
    return _Tokens(labels.cpu().numpy(), nats.cpu().double().numpy(), confidence.numpy(), correct.cpu().numpy())


def _prediction(
    ends: Sequence[int], text_ids: list[int], offsets: Sequence[tuple[int, int]], tokens: _Tokens
) -> Prediction:
    """Leave out the tokens of the first word, and count the words and characters of the rest.

    Args:
        ends: end of each word of the review, in characters.
        text_ids: see :class:`Prediction`.
        offsets: start and end of each token, in characters.
        tokens: those of the text and its end, cut at the model's last position.
    """
    ended = len(tokens.ids) > len(offsets)
    seen = offsets[: len(tokens.ids)]
    first, last = ends[0] if ends else 0, seen[-1][1] if seen else 0
    counted = np.array([start >= first for start, _ in seen] + [False] * ended, bool)
    kept = tokens.select(counted)
    return Prediction(
        text_ids=text_ids,
        ids=kept.ids,
        first=int(counted.argmax()),
        nats=kept.nats,
        confidence=kept.confidence,
        correct=kept.correct,
        end_nats=float(tokens.nats[-1]) if ended else None,
        words=sum(first < end <= last for end in ends),
        characters=max(last - first, 0),
    )


def reliability(predictions: Sequence[Prediction]) -> Floats:
    """Return mean confidence, accuracy and tokens of each non-empty bin of width 0.1: float64 of shape (bins, 3)."""
    confidence = np.concatenate([prediction.confidence for prediction in predictions])
    correct = np.concatenate([prediction.correct for prediction in predictions])
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    members = [bins == index for index in np.unique(bins)]
    return np.array([[confidence[of_bin].mean(), correct[of_bin].mean(), of_bin.sum()] for of_bin in members])


def calibration_error(predictions: Sequence[Prediction]) -> float:
    """Return the expected calibration error (Guo et al. 2017): mean |confidence − accuracy|, 0 to 1."""
    bins = reliability(predictions)
    return float(np.average(np.abs(bins[:, 0] - bins[:, 1]), weights=bins[:, 2]))
