"""Embeddings learn from words that have character n-grams in common, and the model stays a plain GPT-2."""

import dataclasses
from pathlib import Path

import pytest
import torch
from support.toy_training import TRAINING, make_splits, make_tokenizer, make_trainer
from torch import nn
from transformers import GPT2LMHeadModel

from wine_gpt.config import FinetuneConfig, TrainingConfig
from wine_gpt.errors import UserError
from wine_gpt.training import character_ngrams
from wine_gpt.training.character_ngrams import CharacterNgrams, words_of_ngrams
from wine_gpt.training.optimizer import MuonAdamW

# eight words that have the n-grams <red, <re and red in common, and two of other spelling
REDS = [f"red{letter}" for letter in "abcdefgh"]
VOCABULARY = {word: index + 1 for index, word in enumerate([*REDS, "oak", "plum"])}
SIZE = len(VOCABULARY) + 1
WITH_NGRAMS = dataclasses.replace(TRAINING, character_ngrams=True)


def test_ngrams_of_a_vocabulary_are_those_of_enough_words() -> None:
    assert words_of_ngrams(VOCABULARY) == [[1, 2, 3, 4, 5, 6, 7, 8]] * 3
    # an n-gram that a word has twice counts once
    twice = {f"{letter}redred": index for index, letter in enumerate("abcdefg")}
    assert words_of_ngrams(twice) == []


def build(embeddings: nn.Parameter) -> MuonAdamW:
    ngrams = CharacterNgrams(embeddings, words_of_ngrams(VOCABULARY))
    groups = [
        {"params": [parameter], "weight_decay": 0.0, "orthogonal": False} for parameter in (embeddings, ngrams.moves)
    ]
    return MuonAdamW(groups, TRAINING, torch.float32, ngrams)


def test_words_of_similar_spelling_are_moved_together() -> None:
    embeddings = nn.Parameter(torch.zeros(SIZE, 4))
    optimizer = build(embeddings)
    embeddings.grad = torch.zeros(SIZE, 4)
    embeddings.grad[VOCABULARY["reda"]] = 1.0
    optimizer.step()
    moved = {word: embeddings[index].mean().item() for word, index in VOCABULARY.items()}
    assert moved["reda"] < moved["redb"] < 0
    assert moved["redb"] == pytest.approx(moved["redh"])
    assert moved["oak"] == moved["plum"] == 0
    assert not embeddings[0].any()


def test_it_is_adamw_on_the_vectors_of_words_and_ngrams() -> None:
    """The sum of a word's own vector and those of its n-grams, trained by autograd and torch's AdamW, is the same."""
    embeddings = nn.Parameter(torch.zeros(SIZE, 4))
    optimizer = build(embeddings)
    ngrams_of = torch.zeros(SIZE, 3)
    ngrams_of[1:9] = 3**-0.5
    own, vectors = nn.Parameter(torch.zeros(SIZE, 4)), nn.Parameter(torch.zeros(3, 4))
    betas = (TRAINING.adam_beta1, TRAINING.adam_beta2)
    reference = torch.optim.AdamW([own, vectors], lr=TRAINING.learning_rate, betas=betas, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        target = torch.randn(SIZE, 4, generator=generator)
        optimizer.zero_grad()
        (embeddings - target).square().sum().backward()
        optimizer.step()
        reference.zero_grad()
        (own + ngrams_of @ vectors - target).square().sum().backward()
        reference.step()
    torch.testing.assert_close(embeddings, own + ngrams_of @ vectors)


def test_a_training_ends_with_a_plain_model_of_other_weights(tmp_path: Path) -> None:
    tokenizer, splits = make_tokenizer(), make_splits()
    runs = {}
    for name, config in (("without", TRAINING), ("with", WITH_NGRAMS)):
        trained = make_trainer(tmp_path / name, tokenizer, splits, config)
        trained.run()
        trained.module.model.save_pretrained(tmp_path / name / "model")
        runs[name] = GPT2LMHeadModel.from_pretrained(tmp_path / name / "model").state_dict()
    assert runs["with"].keys() == runs["without"].keys()
    assert all(tensor.shape == runs["without"][name].shape for name, tensor in runs["with"].items())
    embeddings = "transformer.wte.weight"
    assert not torch.equal(runs["with"][embeddings], runs["without"][embeddings])


def test_a_vocabulary_without_common_ngrams_is_trained_without_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, splits = make_tokenizer(), make_splits()
    without = make_trainer(tmp_path / "without", tokenizer, splits, TRAINING).run()
    # of the toy's words, w0 to w19, eleven begin with w1
    monkeypatch.setattr(character_ngrams, "MIN_WORDS", 12)
    found = make_trainer(tmp_path / "with", tokenizer, splits, WITH_NGRAMS).run()
    assert found.curve == without.curve
    assert (
        "training.character_ngrams has no effect, because no 12 entries of this vocabulary have 3 characters in a row "
        "in common"
    ) in caplog.text


def test_it_is_for_pretraining_only() -> None:
    with pytest.raises(UserError, match=r"training\.character_ngrams is True: is for pretraining only"):
        FinetuneConfig(value="all", training=TrainingConfig(character_ngrams=True))
