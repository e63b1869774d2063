"""Answer a multiple-choice question about a review by the likelihood of each choice, without any training.

The model only continues reviews, so a question is the beginning of a sentence, such as "pair it with", and each choice
is one way to continue it. The choices are sorted as lm-evaluation-harness does for multiple choice: by the sum of the
log probabilities of their tokens (``acc``). ``benchmarks/questions.py`` compares this score with others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch.nn.functional import log_softmax
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from wine_gpt.errors import UserError, require_characters
from wine_gpt.modeling.evaluation_mode import evaluation_mode


@dataclass(frozen=True)
class Question:
    """The beginning of a sentence, and the ways to continue it."""

    text: str
    choices: tuple[str, ...]


QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "food": Question("pair it with", ("grilled steak", "roast chicken", "raw oysters", "rich cheese")),
        "fruit": Question("flavors of", ("black cherry", "raspberry", "green apple", "peach", "grapefruit")),
        "ready": Question("drink", ("now.", "from")),
    }
)


@dataclass(frozen=True)
class Answer:
    """A choice and its likelihood.

    Attributes:
        choice: its text.
        tokens: the number of its tokens.
        log_likelihood: the sum of ln p of its tokens after review and question, in nats.
        without_review: the same sum after the ``prefix`` of :func:`answer_question` and the question.
        probability: the likelihood divided by that of all choices.
    """

    choice: str
    tokens: int
    log_likelihood: float
    without_review: float
    probability: float


def read_question(question: str, choices: Sequence[str] | None) -> Question:
    """Return a question of :data:`QUESTIONS` by its name, or the user's question, with single spaces in its choices.

    Raises:
        UserError: if the question is empty, has no choices, or has fewer than two different ones.
    """
    known = QUESTIONS.get(question.strip().lower())
    if known and choices is None:
        return known
    text = known.text if known else question.strip()
    if not text:
        raise UserError(f"question: it is empty: begin a sentence, or name one of {', '.join(QUESTIONS)}")
    if choices is None:
        raise UserError(
            f"question: {text!r} is none of {', '.join(QUESTIONS)}, which have their own choices: name yours, as in "
            "--choices long,short"
        )
    named = tuple(" ".join(choice.split()) for choice in choices)
    if "" in named:
        raise UserError("choices: one of them is empty")
    if len({choice.lower() for choice in named}) != len(named) or len(named) < 2:
        raise UserError(f"choices: name at least two different ones, not {', '.join(named) or 'none'}")
    return Question(text, named)


def answer_question(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    review: str,
    question: Question,
    *,
    prefix: str = "",
) -> list[Answer]:
    """Score each choice of a question about a review, and return the answers, the best first.

    Args:
        model: a causal language model, whose mode is restored at the end.
        tokenizer: the model's tokenizer.
        review: a review up to where the question continues it, with its header, as the model's training texts.
        question: see :func:`read_question`.
        prefix: the text before the question where the review is left out.

    Raises:
        UserError: if the review has no known word, question or choice an unknown one, or the model too few positions.
    """
    require_characters("review", review)
    for setting, text in (("question", question.text), *(("choices", choice) for choice in question.choices)):
        require_characters(setting, text)
        ids = _encode(tokenizer, text)
        if not ids or tokenizer.unk_token_id in ids:
            raise UserError(f"{setting}: the model does not know a word of {text!r}: write as its reviews are written")
    if not set(_encode(tokenizer, review)) - {tokenizer.unk_token_id}:
        raise UserError("review: it has no word that the model knows" if review.strip() else "review: it is empty")
    with_review, without = (
        _token_log_likelihoods(
            model, tokenizer, " ".join(filter(None, [text.strip(), question.text])), question.choices
        )
        for text in (review, prefix)
    )
    likelihoods = torch.tensor([sum(logs) for logs in with_review], dtype=torch.float64)
    answers = [
        Answer(choice, len(logs), sum(logs), sum(logs_without), probability)
        for choice, logs, logs_without, probability in zip(
            question.choices, with_review, without, likelihoods.softmax(0).tolist(), strict=True
        )
    ]
    return sorted(answers, key=lambda answer: answer.log_likelihood, reverse=True)


def _encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
    return ids


def _token_log_likelihoods(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, context: str, choices: Sequence[str]
) -> list[list[float]]:
    """Return ln p of each choice's tokens after the context, in nats."""
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    start = len(bos) + len(_encode(tokenizer, context))
    rows = [torch.tensor([*bos, *_encode(tokenizer, f"{context} {choice}")]) for choice in choices]
    longest, limit = max(map(len, rows)), model.config.max_position_embeddings
    if longest > limit:
        raise UserError(f"review: {longest:,} tokens with question and choice, but the model has {limit:,} positions")
    ids = pad_sequence(rows, True, tokenizer.pad_token_id or 0).to(model.device)
    mask = pad_sequence([torch.ones_like(row) for row in rows], True, 0).to(model.device)
    with evaluation_mode(model), torch.inference_mode():
        logs = log_softmax(model(input_ids=ids, attention_mask=mask).logits.float(), -1)[:, :-1]
    tokens = logs.gather(-1, ids[:, 1:, None])[..., 0]
    return [row[start - 1 : len(ids) - 1].tolist() for row, ids in zip(tokens, rows, strict=True)]
