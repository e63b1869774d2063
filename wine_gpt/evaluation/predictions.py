"""What a causal model predicts of each token of unseen texts, whatever its tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.data.batching import IGNORED, Batch, collate, in_order
from wine_gpt.modeling.pretrained import quiet_transformers
from wine_gpt.modeling.scoring import SCORING_TOKENS
from wine_gpt.progress import Progress
from wine_gpt.tokenizer import word_ends

# scoring's positions are for about so many words in the vocabulary; with more, fewer fit into the same memory
SCORING_WORDS = 10_000

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Prediction:
    """What a model predicted of one text, from the text's second word on.

    Attributes:
        ids: the tokens, int64 of shape (tokens,), the end of the text not among them.
        nats: −ln p of each, float64 of shape (tokens,).
        confidence: the probability of the token that was likeliest in its place, float64 of shape (tokens,).
        right: whether that is the token that came, bool of shape (tokens,).
        end_nats: −ln p of the end; none if the text has more tokens than the model has positions.
        words: how many of the class's words the tokens make up.
        characters: how many characters of the text they make up.
    """

    ids: Ints
    nats: Floats
    confidence: Floats
    right: Bools
    end_nats: float | None
    words: int
    characters: int


def predict(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, visible: bool = True
) -> list[Prediction]:
    """Run the model over each text once, in single precision.

    As in :mod:`wine_gpt.modeling.scoring`, a text is [BOS] words [EOS], its first word is not counted, and what lies
    beyond the model's last position is left out.

    Args:
        model: put into evaluation mode.
        tokenizer: the model's, with the ids of [BOS] and [EOS]; its tokens need not be words.
        texts: as a data set's ``text``.
        visible: whether progress is shown.
    """
    encodings = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    rows = [[tokenizer.bos_token_id, *encoding.ids, tokenizer.eos_token_id] for encoding in encodings]
    split = Dataset.from_dict({"input_ids": rows, "length": [len(row) for row in rows]})
    positions = model.config.max_position_embeddings
    budget = max(SCORING_TOKENS * SCORING_WORDS // max(len(tokenizer), SCORING_WORDS), 1)
    batches = list(in_order(split, positions, budget))
    progress = Progress(len(batches), 0, visible)
    predictions: dict[int, Prediction] = {}
    model.eval()
    for indices in batches:
        batch = collate(split, indices, positions, tokenizer.eos_token_id).to(model.device)
        ids, nats, confidence, right = _columns(model, batch)
        lengths = (batch.labels != IGNORED).sum(dim=1).cumsum(dim=0).tolist()
        for index, (start, end) in zip(indices.tolist(), pairwise([0, *lengths]), strict=True):
            part = slice(start, end)
            predictions[index] = _prediction(
                texts[index], encodings[index].offsets, ids[part], nats[part], confidence[part], right[part]
            )
        progress.step("predicting")
    progress.close()
    return [predictions[index] for index in range(len(texts))]


@torch.inference_mode()
def _columns(model: PreTrainedModel, batch: Batch) -> tuple[Ints, Floats, Floats, Bools]:
    """Return label, nats, the likeliest's probability and whether it is the label, text after text."""
    real = batch.labels != IGNORED
    labels = batch.labels[real]
    # texts are filled up on the right, where a causal model looks from no real token, so it needs no mask
    with quiet_transformers():
        logits = model(input_ids=batch.input_ids, use_cache=False).logits[real]
    logs = logits.float().log_softmax(dim=-1)
    best, likeliest = logs.max(dim=-1)
    nats = -logs.gather(1, labels[:, None])[:, 0]
    confidence = best.double().exp()
    right = likeliest == labels
    return labels.cpu().numpy(), nats.double().cpu().numpy(), confidence.cpu().numpy(), right.cpu().numpy()


def _prediction(
    text: str, offsets: Sequence[tuple[int, int]], ids: Ints, nats: Floats, confidence: Floats, right: Bools
) -> Prediction:
    """Keep of one text's tokens those behind its first word.

    Args:
        text: as it was encoded.
        offsets: where each of its tokens begins and ends, in characters.
        ids: its tokens and then its end, or as many as the model has positions; the rest likewise.
        nats: see :class:`Prediction`.
        confidence: see :class:`Prediction`.
        right: see :class:`Prediction`.
    """
    ended = len(ids) > len(offsets)
    seen = offsets[: len(ids)]
    ends = word_ends(text)
    first, last = ends[0] if ends else 0, seen[-1][1] if seen else 0
    counted = np.array([start >= first for start, _ in seen] + [False] * ended, bool)
    return Prediction(
        ids=ids[counted],
        nats=nats[counted],
        confidence=confidence[counted],
        right=right[counted],
        end_nats=float(nats[-1]) if ended else None,
        words=sum(first < end <= last for end in ends),
        characters=max(last - first, 0),
    )
