"""Texts unlike reviews: longer than the model, in scripts without spaces, and with lines that matter."""

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.records import Record, lines_text, write
from support.refused import refused
from transformers import pipeline

import wine_gpt
from wine_gpt.commands import generate
from wine_gpt.config import DataConfig, ModelConfig, PretrainConfig, ScoreConfig, TokenizerConfig, TrainingConfig
from wine_gpt.evaluation import evaluate_model
from wine_gpt.generation.generate import generate_texts
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.tokenizer import load_tokenizer, train_tokenizer
from wine_gpt.tokenizer.files import fingerprint
from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.record import RunMetrics

pytestmark = pytest.mark.usefixtures("cache")

TRAINING = TrainingConfig(batch_tokens=1024, epochs=1, mixed_precision="no")
MODEL = ModelConfig(n_layer=1, n_head=2, n_embd=16, n_inner=16, block_size=40)
OTHER_TOKENIZER = "for a script without spaces between words (Chinese, Japanese, Thai) set tokenizer.kind"

Warn = Callable[..., str]


@pytest.fixture
def warnings_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Warn:
    """Return a function that pretrains on texts in ``tmp_path / "run"`` and returns its warnings."""

    def run(texts: list[str], output: str = "run", tokenizer: Path | None = None, **data: object) -> str:
        records: list[Record] = [{"kind": "note", "text": text} for text in texts]
        columns = DataConfig(
            path=write(tmp_path / "a.jsonl", lines_text(records)),
            **{"prefix": "", "prompt_fields": ("kind",), "text_field": "text", "validation_fraction": 0.2, **data},
        )
        config = PretrainConfig(
            data=columns,
            tokenizer=TokenizerConfig(path=tokenizer and str(tokenizer)),
            model=MODEL,
            training=TRAINING,
            output_dir=str(tmp_path / output),
        )
        caplog.clear()
        with caplog.at_level("WARNING", logger="wine_gpt"):
            pretrain(config)
        return caplog.text

    return run


def sentences(words: list[str], separator: str, count: int = 60, length: int = 12) -> list[str]:
    rng = random.Random(0)
    return [separator.join(rng.choices(words, k=length)) for _ in range(count)]


CHINESE = list("酒果香味甜酸红白花木蜜柔清新浓厚干长余韵")
THAI = ["ไวน์", "แดง", "หอม", "ผลไม้", "หวาน", "เปรี้ยว", "นุ่ม", "เข้ม", "ดื่ม", "ดี", "มาก", "สด"]


@pytest.mark.parametrize("words", [CHINESE, THAI], ids=["Chinese", "Thai"])
def test_a_script_without_spaces_is_warned_of(words: list[str], warnings_of: Warn) -> None:
    warned = warnings_of(sentences(words, ""))
    assert OTHER_TOKENIZER in warned
    assert "set tokenizer.kind to characters or bpe, see" in warned


@pytest.mark.parametrize("words", [CHINESE, THAI, ["Straße", "über", "für", "süß"], ["вино", "ягода", "дуб"]])
def test_the_words_of_a_text_with_spaces_are_not_warned_of(words: list[str], warnings_of: Warn) -> None:
    assert "tokenizer" not in warnings_of(sentences(words, " "))


UNSCORABLE = {
    "one word": [f"{first}{second}" for first in CHINESE for second in CHINESE],
    "unknown words": [f"{first}{second} {second}{first}" for first in CHINESE for second in CHINESE],
}


@pytest.mark.parametrize("case", UNSCORABLE)
def test_held_out_texts_without_a_known_word_stop_training_and_scoring(
    tmp_path: Path, toy_run: Path, warnings_of: Warn, case: str
) -> None:
    texts, settings = UNSCORABLE[case], {"prompt_fields": (), "validation_fraction": 0.3, "test_fraction": 0.0}
    problem = "the validation split has nothing to score, because the tokenizer knows no word of a text"
    assert problem in refused(warnings_of, texts, **settings, tokenizer=toy_run)
    assert not (tmp_path / "run" / "metrics.json").exists()
    data = DataConfig(path=str(tmp_path / "a.jsonl"), prefix="", text_field="text", **settings)
    config = ScoreConfig(model=str(toy_run), split="validation", data=data, output_dir=str(tmp_path / "scores"))
    assert problem in refused(evaluate_model, config, Path(config.model))


@pytest.mark.parametrize("learning_rate", [1e3, 1e20])
def test_a_validation_loss_that_is_not_finite_is_never_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings_of: Warn, learning_rate: float
) -> None:
    monkeypatch.setitem(globals(), "TRAINING", dataclasses.replace(TRAINING, learning_rate=learning_rate))
    message = refused(warnings_of, [f"red wine {number} is good" for number in range(60)])
    assert message == "epoch 1: the validation perplexity is not finite: lower training.learning_rate"
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_texts_beyond_block_size_are_warned_of_and_recorded(tmp_path: Path, warnings_of: Warn) -> None:
    warned = warnings_of(
        [f"text {number}" for number in range(60)] + [f"{number} word " * 300 for number in range(20)]
    )
    training = RunMetrics.load(tmp_path / "run").training
    texts = json.loads((tmp_path / "run" / "data_report.json").read_text())["splits"]["train"]
    assert 0 < training.reviews_cut <= 20
    assert f"{training.reviews_cut} of {texts} texts are longer than block_size 40: 9" in warned
    assert training.words_cut is not None
    assert 0.9 < training.words_cut < 1
    assert "longer than" not in warnings_of([f"text {number}" for number in range(60)], output="short")


def test_line_breaks_are_kept_from_the_data_to_the_command(
    tmp_path: Path, warnings_of: Warn, capsys: pytest.CaptureFixture[str]
) -> None:
    colors = ["red", "blue", "green", "white"]
    warnings_of(["\n".join(sentences(colors, " ", 5, 2)) + f"\n{number}" for number in range(60)], line_breaks=True)
    prompt = "note : blue\n"
    (found,) = pipeline("text-generation", model=str(tmp_path / "run"))(prompt, max_new_tokens=1)
    assert found["generated_text"].startswith(prompt)
    tokenizer = load_tokenizer(tmp_path / "run")
    assert tokenizer.tokenize(prompt)[-1] == "\n"
    assert tokenizer.decode(tokenizer(prompt + "green\n").input_ids, skip_special_tokens=True).endswith(
        "blue\ngreen\n"
    )
    (text,) = generate_texts(load_model(tmp_path / "run"), tokenizer, [prompt], seed=0)
    assert text.startswith(prompt)
    assert not text.removeprefix(prompt).startswith(" ")
    generate.main([str(tmp_path / "run"), "--prompt", prompt, "--seed", "0"])
    assert capsys.readouterr().out == text + "\n"


def test_a_run_with_line_breaks_is_scored_per_the_words_of_its_training(tmp_path: Path, warnings_of: Warn) -> None:
    colors = ["red", "blue", "green", "white"]
    lines = ["\n".join(sentences(colors, " ", 3, 1 + number % 5)) + f"\n{number}" for number in range(60)]
    warnings_of(lines, line_breaks=True)
    own = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    found = wine_gpt.evaluate_model(tmp_path / "run", texts=4).likelihood
    assert found.words == own["words"]
    assert found.nats_per_word == pytest.approx(own["nats_per_word"], rel=1e-5)


def test_the_fingerprint_is_that_of_words_and_rules() -> None:
    texts = ["wine review : Italy", "red\nwine"]
    now = fingerprint(train_tokenizer(texts))
    assert fingerprint(train_tokenizer(texts, line_breaks=True)) != now
    assert fingerprint(train_tokenizer(["red wine : Italy"])) != now
    assert fingerprint(train_tokenizer(texts)) == now
