"""Score a model on held-out reviews: nats per word and perplexity, with words counted as in the class's notebook."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from transformers import GPT2PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.data.batching import IGNORED, Batch, Indices, collate, evaluation_batches
from wine_gpt.data.tokenized import TokenizedSplit
from wine_gpt.files import JsonObject, JsonRecord
from wine_gpt.modeling.evaluation_mode import Switchable, evaluation_mode
from wine_gpt.tokenizer.word_starts import WordStarts, word_starts

Sums = npt.NDArray[np.float64]
# the columns of Sums
WORDS, NATS, UNKNOWN, END_NATS, TOKENS, ENDS = range(6)

# positions per forward pass, padding included
SCORING_TOKENS = 2048


class Evaluable(Switchable, Protocol):
    """A module with a GPT-2."""

    @property
    def model(self) -> GPT2PreTrainedModel:
        """A model whose positions are the module's."""


class Scorable(Evaluable, Protocol):
    """A module that predicts words: a :class:`wine_gpt.modeling.loss.LanguageModelLoss` or an ensemble."""

    def token_losses(self, batch: Batch) -> torch.Tensor:
        """Return −log p(label) of each position; see :class:`wine_gpt.modeling.loss.LanguageModelLoss`."""


class ValidationScore(Protocol):
    """The figures of an epoch's validation."""

    @property
    def reviews(self) -> int:
        """The number of reviews that were scored."""

    @property
    def loss(self) -> float:
        """The figure that is lowest for the best epoch."""

    def figures(self) -> dict[str, float]:
        """Return the figures for the log and for trackers, by name."""

    def to_dict(self) -> JsonObject:
        """Return a JSON object for a checkpoint."""


@dataclass(frozen=True)
class Score(JsonRecord):
    """The loss of a model on a split.

    A review's first word is not counted, because the class's notebook does not predict it; neither is the end of text.
    Unknown words are counted: read ``unknown_rate`` beside the loss, because [UNK] is easier to predict than a rare
    word. With tokens that are no words, the loss of a word is the sum of its tokens' losses.

    Attributes:
        nats_per_word: mean −ln p of a word; NaN without words.
        unknown_rate: fraction of the tokens that the vocabulary lacks, 0 to 1.
        words: the number of words that were counted.
        reviews: the number of reviews that were scored.
        end_of_text_nats: mean −ln p of the end of text; none if no review fits into the model's positions.
        tokens: the number of tokens that were counted; none if each is a word.
    """

    nats_per_word: float
    unknown_rate: float
    words: int
    reviews: int
    end_of_text_nats: float | None = None
    tokens: int | None = None

    @property
    def unit(self) -> str:
        """What reports call the tokens: words or tokens."""
        return "words" if self.tokens is None else "tokens"

    @property
    def nats_per_token(self) -> float:
        """Mean −ln p of a token, NaN without words."""
        return self.nats_per_word if self.tokens is None else self.nats_per_word * self.words / self.tokens

    @property
    def loss(self) -> float:
        """The figure that is lowest for the best epoch: the nats per word."""
        return self.nats_per_word

    @property
    def perplexity(self) -> float:
        """Exponential of the nats per word, infinite above 709 nats."""
        try:
            return math.exp(self.nats_per_word)
        except OverflowError:
            return math.inf

    def __str__(self) -> str:
        return f"{self.nats_per_word:.3f} nats per word, perplexity {self.perplexity:,.1f}"

    @classmethod
    def of(cls, sums: Sums) -> Self:
        """Average one of the results of :func:`score_after`."""
        total: list[float] = sums.sum(axis=0).tolist()
        words, tokens, ends = total[WORDS], total[TOKENS], total[ENDS]
        return cls(
            nats_per_word=total[NATS] / words if words else math.nan,
            unknown_rate=total[UNKNOWN] / tokens if tokens else math.nan,
            words=int(words),
            reviews=len(sums),
            end_of_text_nats=total[END_NATS] / ends if ends else None,
            tokens=None if tokens == words else int(tokens),
        )

    def figures(self) -> dict[str, float]:
        """Return the figures for the log and for trackers, by name."""
        return {"nats_per_word": self.nats_per_word, "perplexity": self.perplexity}

    def to_dict(self) -> JsonObject:
        """Return the figures for a metrics file, the perplexity included."""
        return {"nats_per_word": self.nats_per_word, "perplexity": self.perplexity, **super().to_dict()}


def score(
    module: Scorable, split: TokenizedSplit, tokenizer: PreTrainedTokenizerFast, accelerator: Accelerator
) -> Score:
    """Score a tokenized split, its batches divided among the processes; every process returns the same score."""
    (sums,) = score_after([None], module, split, tokenizer, accelerator)
    return Score.of(sums)


def score_after(
    skips: Sequence[Indices | None],
    module: Scorable,
    split: TokenizedSplit,
    tokenizer: PreTrainedTokenizerFast,
    accelerator: Accelerator,
) -> list[Sums]:
    """Score each review of a tokenized split after different beginnings, its batches divided among the processes.

    Args:
        skips: for each result, the number of tokens at the beginning of each review that are not counted, int64 of
            shape (reviews,); None for those of the first word.
        module: see :class:`Scorable`.
        split: a tokenized split.
        tokenizer: the model's tokenizer.
        accelerator: determines the device, the index of this process and the number of processes.

    Returns:
        for each of ``skips``, float64 of shape (reviews, 6) with the columns :data:`WORDS`, :data:`NATS` of the words,
        :data:`UNKNOWN` tokens, :data:`END_NATS` of the end of text, :data:`TOKENS`, and :data:`ENDS` of text, 1 or 0.
        Every process returns all reviews.
    """
    starts = word_starts(tokenizer)
    sums = torch.zeros(len(skips), len(split), ENDS + 1, dtype=torch.float64)
    for indices, batch in own_batches(module, split, tokenizer, accelerator):
        # float64 on the CPU only, because MPS lacks it
        losses = module.token_losses(batch).cpu().double()
        labels = batch.labels.cpu()
        end = labels == tokenizer.eos_token_id
        before, ids = batch.input_ids.cpu().numpy(), labels.clamp(min=0).numpy()
        begins_word = torch.from_numpy(starts.count(ids, before))
        for skipped, found in zip(skips, sums, strict=True):
            first = _first_word(starts, ids, before) if skipped is None else skipped[indices]
            counted = torch.arange(labels.shape[1]) >= torch.from_numpy(first)[:, None]
            token = (labels != IGNORED) & ~end & counted
            unknown = token & (labels == tokenizer.unk_token_id)
            columns = (begins_word * token, losses * token, unknown, losses * end, token, end)
            found[torch.from_numpy(indices)] = torch.stack([column.double().sum(1) for column in columns], dim=1)
    return [*np.asarray(sum_over_processes(sums, accelerator))]


def own_batches(
    module: Evaluable, split: TokenizedSplit, tokenizer: PreTrainedTokenizerFast, accelerator: Accelerator
) -> Iterator[tuple[Indices, Batch]]:
    """Yield this process's batches of a tokenized split, with the indices of their reviews.

    The module is in evaluation mode until the last batch was taken.
    """
    block_size = module.model.config.n_positions
    batches = list(evaluation_batches(split, block_size, SCORING_TOKENS))
    with evaluation_mode(module):
        for indices in batches[accelerator.process_index :: accelerator.num_processes]:
            yield indices, collate(split, indices, block_size, tokenizer.eos_token_id).to(accelerator.device)


def sum_over_processes(rows: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """Return the rows of all processes, of which each is zero on all processes but one; every process returns them."""
    return accelerator.reduce(rows.to(accelerator.device)).cpu() if accelerator.num_processes > 1 else rows


def _first_word(starts: WordStarts, ids: Indices, before: Indices) -> Indices:
    """Return the number of tokens of each row's first word, int64 of shape (rows,)."""
    return 1 + np.asarray(starts.continues(ids, before)[:, 1:].cumprod(axis=1).sum(axis=1))
