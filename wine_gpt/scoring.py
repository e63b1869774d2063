"""The loss of a model on held-out reviews, per word as the class counts them."""

import math
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from wine_gpt.batching import IGNORED, collate, in_order
from wine_gpt.model import LanguageModelLoss

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
    block_size = module.model.config.n_positions
    batches = list(in_order(split, block_size, SCORING_TOKENS))
    sums = torch.zeros(5, dtype=torch.float64)
    was_training = module.training
    module.eval()
    for indices in batches[accelerator.process_index :: accelerator.num_processes]:
        batch = collate(split, indices, block_size, tokenizer.eos_token_id).to(accelerator.device)
        losses = module.token_losses(batch).double().cpu()
        labels = batch.labels.cpu()
        end = labels == tokenizer.eos_token_id
        word = (labels != IGNORED) & ~end
        word[:, 0] = False
        unknown = word & (labels == tokenizer.unk_token_id)
        counts = [len(indices), word.sum(), losses[word].sum(), unknown.sum(), losses[end].sum()]
        sums += torch.tensor([float(count) for count in counts], dtype=torch.float64)
    module.train(was_training)
    reviews, words, nats, unknown_words, end_nats = accelerator.reduce(sums.to(accelerator.device)).tolist()
    return Score(int(reviews), int(words), nats, int(unknown_words), end_nats)
