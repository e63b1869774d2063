"""Score a model on held-out reviews: nats per word and perplexity, with words counted as in the class's notebook."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from wine_gpt.data.batching import IGNORED, Batch, Indices, collate, evaluation_batches
from wine_gpt.files import JsonObject, from_fields

Sums = npt.NDArray[np.float64]

# positions per forward pass, padding included
SCORING_TOKENS = 4096


class Scorable(Protocol):
    """A module that predicts words: a :class:`wine_gpt.modeling.loss.LanguageModelLoss` or an ensemble."""

    training: bool

    @property
    def model(self) -> GPT2LMHeadModel:
        """A model whose positions are the module's."""

    def token_losses(self, batch: Batch) -> torch.Tensor:
        """Return −log p(label) of each position; see :class:`wine_gpt.modeling.loss.LanguageModelLoss`."""

    def train(self, mode: bool = True) -> object:
        """Switch between training and evaluation."""


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
class Score:
    """The loss of a model on a split.

    A review's first word is not counted, because the class's notebook does not predict it; neither is the end of text.
    Unknown words are counted: read ``unknown_rate`` beside the loss, because [UNK] is easier to predict than a rare
    word.

    Attributes:
        nats_per_word: mean −ln p of a word; NaN without words.
        unknown_rate: fraction of the words that the vocabulary lacks, 0 to 1.
        words: the number of words that were counted.
        reviews: the number of reviews that were scored.
        end_of_text_nats: mean −ln p of the end of text, per review.
    """

    nats_per_word: float
    unknown_rate: float
    words: int
    reviews: int
    end_of_text_nats: float

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
        return f"{self.nats_per_word:.3f} nats per word, perplexity {self.perplexity:.1f}"

    @classmethod
    def of(cls, sums: Sums) -> "Score":
        """Average what :func:`score_reviews` returns."""
        words, nats, unknown_words, end_nats = sums.sum(axis=0).tolist()
        reviews = len(sums)
        return cls(
            nats_per_word=nats / words if words else math.nan,
            unknown_rate=unknown_words / words if words else math.nan,
            words=int(words),
            reviews=reviews,
            end_of_text_nats=end_nats / reviews if reviews else math.nan,
        )

    @classmethod
    def from_dict(cls, content: JsonObject) -> "Score":
        """Read what :meth:`to_dict` returned."""
        return from_fields(cls, content)

    def figures(self) -> dict[str, float]:
        """Return the figures for the log and for trackers, by name."""
        return {"nats_per_word": self.nats_per_word, "perplexity": self.perplexity}

    def to_dict(self) -> dict[str, float]:
        """Return the figures for a metrics file, the perplexity included."""
        figures = dataclasses.asdict(self)
        return {"nats_per_word": figures.pop("nats_per_word"), "perplexity": self.perplexity, **figures}


def score(module: Scorable, split: Dataset, tokenizer: PreTrainedTokenizerFast, accelerator: Accelerator) -> Score:
    """Score a tokenized split, its batches divided among the processes; every process returns the same score."""
    return Score.of(score_reviews(module, split, tokenizer, accelerator))


def score_reviews(
    module: Scorable,
    split: Dataset,
    tokenizer: PreTrainedTokenizerFast,
    accelerator: Accelerator,
    skipped: Indices | None = None,
) -> Sums:
    """Score each review of a tokenized split, its batches divided among the processes.

    Args:
        module: see :class:`Scorable`.
        split: a tokenized split.
        tokenizer: the model's tokenizer.
        accelerator: determines the device, the index of this process and the number of processes.
        skipped: the number of words at the beginning of each review that are not counted, int64 of shape (reviews,); 1
            by default.

    Returns:
        float64 of shape (reviews, 4): words, nats of the words, unknown words, nats of the end of text. Every process
        returns all reviews.
    """
    block_size = module.model.config.n_positions
    first = np.ones(len(split), np.int64) if skipped is None else skipped
    batches = list(evaluation_batches(split, block_size, SCORING_TOKENS))
    sums = torch.zeros(len(split), 4, dtype=torch.float64)
    was_training = module.training
    module.train(False)
    for indices in batches[accelerator.process_index :: accelerator.num_processes]:
        batch = collate(split, indices, block_size, tokenizer.eos_token_id).to(accelerator.device)
        # float64 on the CPU only, because MPS lacks it
        losses = module.token_losses(batch).cpu().double()
        labels = batch.labels.cpu()
        end = labels == tokenizer.eos_token_id
        counted = torch.arange(labels.shape[1]) >= torch.from_numpy(first[indices])[:, None]
        word = (labels != IGNORED) & ~end & counted
        unknown = word & (labels == tokenizer.unk_token_id)
        columns = (word, losses * word, unknown, losses * end)
        sums[torch.from_numpy(indices)] = torch.stack([column.double().sum(1) for column in columns], dim=1)
    module.train(was_training)
    if accelerator.num_processes > 1:
        sums = accelerator.reduce(sums.to(accelerator.device)).cpu()
    return np.asarray(sums)
