"""The loss of a model on held-out reviews, per word as the class counts them."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from wine_gpt.data.batching import IGNORED, Indices, collate, in_order
from wine_gpt.modeling.language_model import LanguageModelLoss

Sums = npt.NDArray[np.float64]

# positions of one forward pass without gradients
SCORING_TOKENS = 4096


@dataclass(frozen=True)
class Score:
    """Sums over a split, and the figures that follow from them.

    A review's first word does not count, as in the class, where nothing stands before it; nor does its end of text.
    Unknown words count: look at ``unknown_rate`` beside the loss, since they are easier to predict than rare ones.
    """

    reviews: int
    words: int
    nats: float
    unknown_words: int
    end_nats: float

    @property
    def nats_per_word(self) -> float:
        """Mean −ln p of a word."""
        return self.nats / self.words if self.words else math.nan

    @property
    def perplexity(self) -> float:
        """Exponential of the nats per word."""
        return math.exp(self.nats_per_word)

    @property
    def unknown_rate(self) -> float:
        """Share of the words that the vocabulary lacks, 0 to 1."""
        return self.unknown_words / self.words if self.words else math.nan

    @classmethod
    def of(cls, sums: Sums) -> "Score":
        """Add up what :func:`score_reviews` returns."""
        words, nats, unknown_words, end_nats = sums.sum(axis=0).tolist()
        return cls(len(sums), int(words), nats, int(unknown_words), end_nats)

    def to_dict(self) -> dict[str, float]:
        """Return the figures for a metrics file."""
        return {
            "nats_per_word": self.nats_per_word,
            "perplexity": self.perplexity,
            "unknown_rate": self.unknown_rate,
            "words": self.words,
            "reviews": self.reviews,
            "end_of_text_nats": self.end_nats / self.reviews if self.reviews else math.nan,
        }


def score(
    module: LanguageModelLoss, split: Dataset, tokenizer: PreTrainedTokenizerFast, accelerator: Accelerator
) -> Score:
    """Score a tokenized split, shared among the processes; every process returns the same sums."""
    return Score.of(score_reviews(module, split, tokenizer, accelerator))


def score_reviews(
    module: LanguageModelLoss,
    split: Dataset,
    tokenizer: PreTrainedTokenizerFast,
    accelerator: Accelerator,
    skipped: Indices | None = None,
) -> Sums:
    """Score each review of a tokenized split, shared among the processes.

    Args:
        module: the model.
        split: with columns ``input_ids`` and ``length``.
        tokenizer: the model's.
        accelerator: says which process this is, and on which device.
        skipped: how many words at the beginning of each review do not count, int64 of shape (reviews,); none: the
            first.

    Returns:
        float64 of shape (reviews, 4), on every process the same: words, their nats, unknown words, nats of the end of
        text.
    """
    block_size = module.model.config.n_positions
    first = np.ones(len(split), np.int64) if skipped is None else skipped
    batches = list(in_order(split, block_size, SCORING_TOKENS))
    sums = torch.zeros(len(split), 4, dtype=torch.float64)
    was_training = module.training
    module.eval()
    for indices in batches[accelerator.process_index :: accelerator.num_processes]:
        batch = collate(split, indices, block_size, tokenizer.eos_token_id).to(accelerator.device)
        losses = module.token_losses(batch).double().cpu()
        labels = batch.labels.cpu()
        end = labels == tokenizer.eos_token_id
        counted = torch.arange(labels.shape[1]) >= torch.from_numpy(first[indices])[:, None]
        word = (labels != IGNORED) & ~end & counted
        unknown = word & (labels == tokenizer.unk_token_id)
        columns = (word, losses * word, unknown, losses * end)
        sums[torch.from_numpy(indices)] = torch.stack([column.double().sum(1) for column in columns], dim=1)
    module.train(was_training)
    return np.asarray(accelerator.reduce(sums.to(accelerator.device)).cpu())
