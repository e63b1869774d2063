"""Score a subset's reviews: whole, without the header, and after a header that hides the subset's value."""

from datasets import Dataset

from wine_gpt.data.batching import Indices
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.scoring import Sums, score_after
from wine_gpt.training.trainer import Trainer


def score_with_and_without_header(
    trainer: Trainer[LanguageModelLoss], split: Dataset, headers: Indices
) -> tuple[Sums, Sums]:
    """Score each review of a split with the trainer's model: as a whole, and the running text after its header.

    Args:
        trainer: with the model to score.
        split: tokenized reviews.
        headers: int64 of shape (reviews,), the tokens before each review's running text.
    """
    whole, text = score_after([None, headers], trainer.module, split, trainer.tokenizer, trainer.accelerator)
    return whole, text


def score_with_hidden_value(
    trainer: Trainer[LanguageModelLoss], split: Dataset, headers: Indices, spans: Indices
) -> Sums:
    """Score each review's running text after a header in which [UNK] replaces the tokens of one field's value.

    Args:
        trainer: with the model to score.
        split: tokenized reviews.
        headers: int64 of shape (reviews,), the tokens before each review's running text.
        spans: int64 of shape (reviews, 2), where the value's tokens begin and end, [BOS] not counted.
    """
    rows = [*split["input_ids"]]
    for ids, (start, end) in zip(rows, spans.tolist(), strict=True):
        # the first id is [BOS]
        ids[start + 1 : end + 1] = [trainer.tokenizer.unk_token_id] * (end - start)
    hidden = Dataset.from_dict({"input_ids": rows, "length": split["length"][:]}, features=split.features)
    (text,) = score_after([headers], trainer.module, hidden, trainer.tokenizer, trainer.accelerator)
    return text
