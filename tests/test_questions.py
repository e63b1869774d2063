"""Test multiple-choice questions about a review: their likelihoods, their command, and the benchmark's questions."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from support.refused import refused
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import wine_gpt
from benchmarks.questions import COUNTS, FILE, read_questions, write_questions
from wine_gpt.__main__ import main
from wine_gpt.tasks.questions import QUESTIONS, Answer, answer_question, read_question

REVIEW = "wine review : Italy : Tuscany : Riesling : It's a light-bodied, crisp"


def test_the_likelihood_is_that_of_the_choice_after_review_and_question(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    choices = ("plum and oak", "quince", "worth")
    answers = answer_question(model, tokenizer, REVIEW, read_question("wine with", choices), prefix="wine review")
    assert {answer.choice for answer in answers} == set(choices)
    for answer in answers:
        assert answer.tokens == len(answer.choice.split())
        assert answer.log_likelihood == pytest.approx(reference(model, tokenizer, REVIEW, answer), abs=1e-4)
        assert answer.without_review == pytest.approx(reference(model, tokenizer, "wine review", answer), abs=1e-4)
    assert [answer.choice for answer in answers][-1] == "worth"
    likelihoods = [math.exp(answer.log_likelihood) for answer in answers]
    expected = [likelihood / sum(likelihoods) for likelihood in likelihoods]
    assert [answer.probability for answer in answers] == pytest.approx(expected)


def reference(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, before: str, answer: Answer) -> float:
    """Return the log likelihood of a choice from the loss of transformers."""
    ids = tokenizer(f"{before} wine with {answer.choice}", return_tensors="pt")["input_ids"]
    labels = ids.clone()
    labels[:, : -answer.tokens] = -100
    with torch.inference_mode():
        return -float(model(input_ids=ids, labels=labels).loss) * answer.tokens


def test_a_known_question_has_its_own_choices() -> None:
    assert read_question(" Food ", None) == QUESTIONS["food"]
    assert read_question("food", ["plum", "oak"]).text == QUESTIONS["food"].text


@pytest.mark.parametrize(
    ("question", "choices", "message"),
    [
        ("", None, "question: it is empty"),
        ("  ", ["plum", "oak"], "question: it is empty"),
        ("worth", None, "question: 'worth' is none of food, fruit, ready, which have their own choices: name yours"),
        ("worth", [], "choices: name at least two"),
        ("worth", ["plum"], "choices: name at least two different ones"),
        ("worth", ["plum", " Plum"], "choices: name at least two different ones"),
        ("worth", ["ripe plum", "ripe  plum"], "choices: name at least two different ones"),
        ("worth", ["plum", ""], "choices: one of them is empty"),
        ("worth", "plum,oak", "choices is 'plum,oak': must be a list of texts or None"),
        ("worth \udc80", ["plum", "oak"], "question: character 7 is '\\udc80', a lone surrogate"),
        ("worth", ["plum", "\ud83c oak"], "choices: character 1 is '\\ud83c', a lone surrogate"),
        (
            "what to eat with it?",
            ["plum", "oak"],
            "question: the model does not know a word of 'what to eat with it?'",
        ),
        ("wine with", ["plum", "rhubarb"], "choices: the model does not know a word of 'rhubarb'"),
        ("wine with", ["plum", "oak and " * 40 + "oak"], "review: 102 tokens with question and choice"),
    ],
)
def test_a_wrong_question_is_one_line(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    question: str,
    choices: Sequence[str] | None,
    message: str,
) -> None:
    assert refused(wine_gpt.ask, (model, tokenizer), REVIEW, question, choices).startswith(message)


@pytest.mark.parametrize(
    ("review", "message"),
    [
        ("", "review: it is empty"),
        ("Zyxw!", "review: it has no word that the model knows"),
        ("wine \ud83c", "review: character 6 is '\\ud83c', a lone surrogate, which UTF-8 lacks"),
    ],
)
def test_a_wrong_review_is_one_line(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, review: str, message: str
) -> None:
    assert refused(wine_gpt.ask, (model, tokenizer), review, "wine with", ["plum", "oak"]).startswith(message)


def test_the_command_prints_the_likeliest_choice_first(
    toy_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--review", REVIEW, "--question", "wine with plum and oak, worth", "--choices", "plum,$15,oak"]
    monkeypatch.setattr(sys, "argv", ["wine-gpt", "ask", str(toy_run), *arguments])
    main()
    stdout, stderr = capsys.readouterr()
    lines = stdout.splitlines()
    assert lines[0] == "wine with plum and oak, worth …"
    assert lines[1].startswith("  $15   100% of these choices, ln p ")
    assert len(lines) == 4
    assert stderr == ""


def test_the_grammar_determines_the_answers_of_the_benchmark() -> None:
    questions = read_questions()
    assert questions == list(write_questions()), f"{FILE} is not what the grammar gives: run it with --write"
    assert len(questions) == sum(COUNTS.values()) == 50
    for asked in questions:
        assert asked.choices[asked.answer].lower() not in asked.review.lower() or asked.form == "ready"
