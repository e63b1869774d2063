"""Evaluation through ``scripts/score.py``: of a small run, an adapter, and a model with subword tokens."""

import dataclasses
import importlib.util
import json
import math
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from support.refused import refused
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tools.sample_grammar.grammar import generate_records
from wine_gpt.base_model import data_settings
from wine_gpt.commands.score import main as score_models
from wine_gpt.commands.score import read_configs
from wine_gpt.config import DataConfig, FinetuneConfig, ModelConfig, PretrainConfig, ScoreConfig, TrainingConfig
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import Reviews, load_reviews, texts
from wine_gpt.data.template import CLASS_TEMPLATE
from wine_gpt.evaluation import plots
from wine_gpt.evaluation.evaluate import evaluate_model, load_subject, output_folder, prepare
from wine_gpt.evaluation.generated import ReviewGenerator, ReviewParts, read_reviews
from wine_gpt.evaluation.predictions import Prediction, predict
from wine_gpt.evaluation.results import EvaluationReport
from wine_gpt.evaluation.sections import recovery_rates
from wine_gpt.evaluation.table import compare, to_text
from wine_gpt.installation import install_command
from wine_gpt.publishing.corpus import OwnCorpus
from wine_gpt.publishing.run_record import read_run
from wine_gpt.tokenizer import class_words, save_tokenizer

SCRIPT = Path(__file__).parents[1] / "scripts" / "score.py"
FEW = ("--texts", "20", "--min_reviews", "12")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with 400 records and a cache for ``datasets``."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "reviews.json").write_text(json.dumps([*generate_records(400, seed=3)]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def base(home: Path) -> Path:
    """Return a finished run with 10% validation and 10% test reviews, split by another seed than the default."""
    from wine_gpt.training.pretrain import pretrain

    data = DataConfig(path=str(home / "reviews.json"), validation_fraction=0.1, test_fraction=0.1, split_seed=7)
    shape = ModelConfig(n_layer=1, n_head=2, n_embd=48, n_inner=64, block_size=96)
    training = TrainingConfig(epochs=6, batch_tokens=1024, learning_rate=0.01, mixed_precision="no")
    pretrain(PretrainConfig(data=data, model=shape, training=training, output_dir=str(home / "base")))
    return home / "base"


@pytest.fixture(scope="module")
def bpe(home: Path) -> Path:
    """Return an untrained GPT-2 with a byte-level BPE tokenizer whose only special token is the end of text."""
    folder = home / "bpe"
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    core.train_from_iterator((record["description"] or "" for record in generate_records(200, seed=3)), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")
    torch.manual_seed(0)
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 160}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **shape))
    # zero embeddings give every token the same probability
    model.transformer.wte.weight.data.zero_()
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that calls the script and returns its stdout and stderr."""
    spec = importlib.util.spec_from_file_location("score", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        module.main()
        return "".join(capsys.readouterr())

    return call


def read(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return figures


@pytest.fixture(scope="module")
def reviews(base: Path) -> Reviews:
    settings = {key.removeprefix("data."): value for key, value in data_settings(base).items()}
    return load_reviews(DataConfig(**{**settings, "prompt_fields": tuple(settings["prompt_fields"])}))


@pytest.fixture(scope="module")
def report(base: Path) -> EvaluationReport:
    """Return the figures of the base run, computed once and also saved in its folder."""
    from wine_gpt.commands.score import read_config
    from wine_gpt.evaluation.evaluate import evaluate_model

    return evaluate_model(*read_config([str(base), *FEW]))


def test_the_run_is_scored_on_the_reviews_that_it_held_out(base: Path, report: EvaluationReport) -> None:
    """The run's metrics.json has equal figures, which the training loop computed on this split."""
    own = read(base)["test"]
    likelihood = report.likelihood.to_dict()
    assert {name: likelihood[name] for name in own} == pytest.approx(own, rel=1e-5)


def test_the_loss_has_baselines_on_the_same_words(report: EvaluationReport, base: Path) -> None:
    order = ["uniform", "unigram", "bigram", "5-gram"]
    losses = [report.baselines[name] for name in order]
    assert list(report.baselines) == order
    assert losses == sorted(losses, reverse=True)
    vocabulary = json.loads((base / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    assert losses[0] == pytest.approx(math.log(vocabulary))


def test_a_run_writes_figures_and_plots(base: Path, report: EvaluationReport) -> None:
    folder = base / "evaluation"
    plots = ["loss_by_field.png", "loss_by_position.png", "reliability.png"]
    assert sorted(file.name for file in folder.iterdir()) == sorted(["metrics.json", *plots])
    for plot in plots:
        assert (folder / plot).read_bytes().startswith(b"\x89PNG")
    assert read(folder) == report.to_dict()
    # publishing finds that it is of the run's reviews and sampling settings
    assert read_run(base, OwnCorpus("mit")).evaluation == report
    assert list(report.copying) == ["generated", "real", "continued"]
    assert report.copying["generated"].texts == 20
    assert list(report.diversity) == ["generated", "real"]
    assert report.diversity["real"].length_distance == 0
    assert report.conditioning is not None
    rates = report.conditioning.rates
    assert list(rates) == ["generated", "real", "commonest"]
    for of_kind in rates.values():
        assert of_kind.keys() <= {"country", "province", "variety"}
        assert all(0 <= rate <= 1 for rate in of_kind.values())
    assert {"country", "variety"} <= rates["real"].keys()


def test_the_report_names_the_models_own_sampling_settings(base: Path, report: EvaluationReport) -> None:
    own = json.loads((base / "generation_config.json").read_text(encoding="utf-8"))
    assert (report.samples.texts, report.samples.seed) == (20, 42)
    settings = report.samples.settings
    for name in ("do_sample", "temperature"):
        assert settings[name] == own[name]
    assert {"top_k", "top_p", "repetition_penalty", "no_repeat_ngram_size"} < settings.keys()


def test_training_on_removes_the_evaluation(base: Path, tmp_path: Path) -> None:
    from wine_gpt.training.pretrain import pretrain

    run = tmp_path / "run"
    shutil.copytree(base, run)
    (run / "evaluation").mkdir(exist_ok=True)
    (run / "evaluation" / "metrics.json").write_text("{}")
    flags = ["--output_dir", str(run), "--resume", "latest", "--training.epochs", "7"]
    pretrain(parse_config(PretrainConfig, [str(base / "config.yaml"), *flags]))
    assert read(run)["training"]["steps"] > read(base)["training"]["steps"]
    assert not (run / "evaluation").exists()


def test_headers_that_fill_the_models_positions_are_left_out(
    home: Path, score: Run, caplog: pytest.LogCaptureFixture
) -> None:
    from wine_gpt.finetuning.finetune import finetune
    from wine_gpt.training.pretrain import pretrain

    records = json.loads((home / "reviews.json").read_text())
    long = " ".join(record["description"] for record in records[:9])
    rows = [{**record, "variety": long} if index % 4 == 0 else record for index, record in enumerate(records)]
    (home / "long.json").write_text(json.dumps(rows))
    data = DataConfig(path=str(home / "long.json"), validation_fraction=0.1, test_fraction=0.1)
    shape = ModelConfig(n_layer=1, n_head=2, n_embd=16, n_inner=16, block_size=96)
    training = TrainingConfig(epochs=1, batch_tokens=4096, mixed_precision="no")
    pretrain(PretrainConfig(data=data, model=shape, training=training, output_dir=str(home / "long")))
    score(home / "long", *FEW)
    assert re.search(r"headers: 10 of 45 fill the model's 96 positions and are left out", caplog.text)
    assert EvaluationReport.from_dict(read(home / "long" / "evaluation")).likelihood.reviews == 45
    (metrics,) = finetune(
        FinetuneConfig(base=str(home / "long"), variety=long, training=training, output_dir=str(home / "subset"))
    )
    assert metrics.copying is None
    assert metrics.comparison.after_header.perplexity_change.value == 0


def test_the_weights_are_scored_in_float32_whatever_they_were_saved_in(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "half")
    load_subject(base)[0].bfloat16().save_pretrained(tmp_path / "half")
    assert load_subject(tmp_path / "half")[0].dtype == torch.float32


def test_equal_seeds_give_equal_figures(base: Path, report: EvaluationReport, score: Run, tmp_path: Path) -> None:
    printed = score(base, *FEW, "--output_dir", tmp_path / "again")
    assert read(tmp_path / "again") == report.to_dict()
    assert to_text(report) in printed
    assert f"saved: {tmp_path / 'again'}" in printed
    score(base, *FEW, "--seed", 1, "--output_dir", tmp_path / "other")
    assert read(tmp_path / "other")["copying"] != report.to_dict()["copying"]
    assert read(tmp_path / "other")["likelihood"] == report.likelihood.to_dict()


def test_sections_that_cannot_be_computed_are_left_out_with_the_reason(base: Path, score: Run, tmp_path: Path) -> None:
    flags = ["--texts", 3, "--min_reviews", 500, "--output_dir", tmp_path, "--data.prompt_fields", "variety"]
    printed = score(base, *flags)
    assert "conditioning: variety left out: 0 labels have 500 texts to train on, and two are needed" in printed
    assert read(tmp_path).keys() == {
        "model",
        "split",
        "texts_fingerprint",
        "likelihood",
        "baselines",
        "copying",
        "diversity",
        "samples",
        "environment",
    }


def test_a_plot_that_cannot_be_written_is_one_line(base: Path, tmp_path: Path) -> None:
    (tmp_path / "reliability.png").mkdir()
    (chosen,) = read_configs([str(base), "--texts", "3", "--min_reviews", "500", "--output_dir", str(tmp_path)])
    message = refused(evaluate_model, *chosen)
    assert re.search(rf"^can't write {tmp_path}: .* Is a directory.*bytes free$", message)


def test_generated_texts_depend_on_seed_and_settings(base: Path) -> None:
    subject = load_subject(base)
    prompts = ["wine review : italy"] * 3

    def written(seed: int, **settings: object) -> list[str]:
        return ReviewGenerator(*subject, 2, seed, settings).continuations(prompts, 12, "writing")

    assert written(1) == written(1)
    assert written(1) != written(2)
    assert len(set(written(1, temperature=5.0))) == 3
    assert len(set(written(1, do_sample=False))) == 1
    settings = ReviewGenerator(*subject, 2, 1, {"temperature": 5.0}).sampling()
    assert (settings["temperature"], settings["do_sample"]) == (5.0, True)


def test_predictions_are_the_models_probabilities_one_text_at_a_time(base: Path, reviews: Reviews) -> None:
    model, tokenizer = load_subject(base)
    some = list(texts(reviews.splits["test"]))[:7]
    for text, prediction in zip(some, predict(model, tokenizer, some), strict=True):
        ids = torch.tensor([*tokenizer(text)["input_ids"], tokenizer.eos_token_id])
        with torch.no_grad():
            probabilities = model(ids[None]).logits[0].softmax(-1)
        # after [BOS] and the first word
        given = probabilities[1:-1].gather(1, ids[2:, None])[:, 0]
        assert prediction.nats.tolist() == pytest.approx((-given[:-1].log()).tolist(), abs=1e-4)
        assert prediction.end_nats == pytest.approx(-math.log(given[-1]), abs=1e-4)
        best, likeliest = probabilities[1:-2].max(-1)
        assert prediction.confidence.tolist() == pytest.approx(best.tolist(), abs=1e-4)
        assert prediction.correct.tolist() == (likeliest == ids[2:-1]).tolist()
        assert prediction.words == len(prediction.nats) == len(class_words(text)) - 1
        assert prediction.characters == len(text) - len("wine")


def test_a_text_that_spells_the_end_of_text_is_scored_to_its_end(base: Path) -> None:
    (prediction,) = predict(*load_subject(base), ["wine [EOS] is red"])
    assert len(prediction.nats) == prediction.words == len(["[", "eos", "]", "is", "red"])


def test_a_text_longer_than_the_model_counts_up_to_its_last_position(base: Path) -> None:
    model, tokenizer = load_subject(base)
    (prediction,) = predict(model, tokenizer, ["wine " + "plum " * 200])
    # the first of the 96 positions predicts the first word, which is not counted
    assert len(prediction.nats) == prediction.words == 95
    assert prediction.characters == 95 * len(" plum")
    assert prediction.end_nats is None


def test_nats_of_subword_tokens_are_divided_by_the_classs_words(
    bpe: Path, base: Path, report: EvaluationReport, reviews: Reviews, score: Run, tmp_path: Path
) -> None:
    settings = {
        key: value for key, value in data_settings(base).items() if key != "data.prompt_fields" and value is not None
    }
    flags = [part for key, value in settings.items() for part in (f"--{key}", value)]
    printed = score(bpe, *flags, *FEW, "--output_dir", tmp_path)
    assert "does not say what it was trained on: it may have seen these reviews" in printed
    found, ours = EvaluationReport.from_dict(read(tmp_path)).likelihood, report.likelihood
    tokenizer = load_subject(bpe)[1]
    held_out = list(texts(reviews.splits["test"]))
    lengths = [len(tokenizer(text)["input_ids"]) for text in held_out]
    assert max(lengths) > 160 > min(lengths)
    short = [text for text, length in zip(held_out, lengths, strict=True) if length <= 159]
    (prediction,) = predict(*load_subject(bpe), short[:1])
    tokens = len(tokenizer(short[0].removeprefix("wine"))["input_ids"])
    assert prediction.nats.tolist() == pytest.approx([math.log(len(tokenizer))] * tokens)
    assert prediction.words == len(class_words(short[0])) - 1
    assert prediction.characters == len(short[0]) - len("wine")
    # long texts are cut, so fewer words are counted than for our model
    assert found.words < ours.words
    assert found.unknown_rate == 0
    total = found.nats_per_word * found.words
    assert total / math.log(len(tokenizer)) == pytest.approx(round(total / math.log(len(tokenizer))), abs=1e-3)
    assert found.bits_per_character > 2 * ours.bits_per_character


def test_models_with_different_tokenizers_are_compared_by_bits_per_character(report: EvaluationReport) -> None:
    worse = dataclasses.replace(report.likelihood, bits_per_character=9.0, nats_per_word=0.5)
    other = dataclasses.replace(report, model="runs/other", likelihood=worse)
    header, first, second = compare([other, report]).splitlines()
    assert header.split()[1] == "bits_per_character"
    assert (first.split()[0], second.split()[:2]) == (report.model, ["runs/other", "9.000"])
    assert "on different reviews" in compare([report, dataclasses.replace(other, texts_fingerprint="another")])
    cut = dataclasses.replace(report, likelihood=dataclasses.replace(worse, words=report.likelihood.words - 1))
    assert compare([report, cut]).endswith("on different numbers of words, because a shorter block_size cuts reviews")


def test_a_model_that_may_have_seen_the_reviews_is_named(bpe: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare(ScoreConfig(str(bpe), DataConfig()), bpe)
    assert f"{bpe} does not say what it was trained on: it may have seen these reviews" in caplog.text


def test_a_run_without_test_reviews_is_not_told_to_score_others(base: Path, tmp_path: Path) -> None:
    run = shutil.copytree(base, tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("test_fraction: 0.1", "test_fraction: 0.0"))
    (chosen,) = read_configs([str(run)])
    message = "data: the test split is empty: pretrain with a larger data.test_fraction or use more data"
    assert refused(prepare, *chosen) == message


def test_the_header_decides_the_split_if_equal_texts_are_kept(base: Path, tmp_path: Path) -> None:
    run = shutil.copytree(base, tmp_path / "run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("deduplicate: text", "deduplicate: record"))
    (chosen,) = read_configs([str(run), "--data.prompt_fields", "variety"])
    assert refused(prepare, *chosen).startswith(f"data.prompt_fields: {run} was trained with ('country', ")


def test_the_home_folder_may_be_written_as_a_tilde(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(base.parent))
    assert output_folder(ScoreConfig(f"~/{base.name}")) == base / "evaluation"


def test_spellings_of_a_label_are_one_label() -> None:
    descriptions = ["lime and petrol", "pepper and smoke"] * 30
    labels = ["Riesling", "Syrah", "RIESLING ", "syrah"] * 15
    train = ReviewParts([], descriptions, {"variety": labels})
    requested = ReviewParts([], descriptions[:2], {"variety": ["riesling", "SYRAH"]})
    rates = recovery_rates({"real": requested.descriptions}, requested, train, ScoreConfig("runs/base"))
    assert rates == {"real": {"variety": 1.0}, "commonest": {"variety": 0.5}}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list of the axes that are saved."""
    axes: list[Any] = []
    monkeypatch.setattr(plots, "save_axes", lambda saved, _: axes.append(saved))
    return axes


def prediction(first: int, *nats: float) -> Prediction:
    """Return the prediction of as many words, the first of which is the token with this index."""
    ids, is_best = np.zeros(len(nats), np.int64), np.zeros(len(nats), bool)
    return Prediction([], ids, first, np.array(nats), np.ones(len(nats)), is_best, None, len(nats), len(nats))


def test_the_loss_is_drawn_at_the_positions_of_its_tokens(drawn: list[Any]) -> None:
    """The first word of characters has several tokens."""
    losses = [1.0, 2.0, 3.0, 4.0, 6.0]
    plots.save_loss_by_position(Path("a.png"), [prediction(4, loss, 2 * loss) for loss in losses])
    (line,), (band,) = drawn[0].lines, drawn[0].collections
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([5, 6], pytest.approx([3.2, 6.4]))
    heights = band.get_paths()[0].vertices[:, 1]
    assert max(heights) == pytest.approx(6.4 + 2 * 2 * statistics.stdev(losses) / math.sqrt(5))


def test_the_loss_of_a_labels_spellings_is_drawn_once(drawn: list[Any]) -> None:
    spellings = ["Rosé", "ROSÉ", "Rosé", "rosé ", "Rose\u0301", "Merlot"]
    plots.save_loss_by_label(Path("a.png"), "variety", spellings, [prediction(1, 2.0)] * 6)
    assert [tick.get_text() for tick in drawn[0].get_yticklabels()] == ["Rosé (5)"]


def test_several_models_have_a_folder_each(base: Path, tmp_path: Path) -> None:
    assert [config.model for config, _ in read_configs([str(base), str(base), *FEW])] == [str(base)] * 2
    assert "name it with one model only" in refused(
        read_configs, [str(base), str(base), "--output_dir", str(tmp_path)]
    )


def test_a_model_that_cannot_be_loaded_is_an_error_before_any_is_scored(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        score_models([str(base), str(tmp_path), *FEW])
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert f"error: model: {tmp_path} holds no model: it has no config.json" in stderr


def test_an_adapter_is_its_base_with_other_weights_on_its_bases_split(base: Path, score: Run, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model, tokenizer = load_subject(base)
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    config.base_model_name_or_path = str(base)
    adapted = peft.get_peft_model(model, config)
    adapted.save_pretrained(tmp_path / "same")
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.3)
    adapted.save_pretrained(tmp_path / "other")
    likelihoods = {}
    for name in ("same", "other"):
        save_tokenizer(tokenizer, tmp_path / name)
        printed = score(tmp_path / name, "--texts", 2)
        assert "trained on" not in printed
        likelihoods[name] = read(tmp_path / name / "evaluation")["likelihood"]
    own = read(base)["test"]
    assert likelihoods["same"]["nats_per_word"] == pytest.approx(own["nats_per_word"], rel=1e-5)
    assert likelihoods["other"]["words"] == own["words"]
    assert likelihoods["other"]["nats_per_word"] > own["nats_per_word"] + 0.001


def test_a_damaged_adapter_is_named(
    base: Path, tmp_path: Path, score: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"base_model_name_or_path": str(base), "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    for content, message in ((None, "has no adapter_model.safetensors"), (b"\0" * 9, "is damaged at its header")):
        if content is not None:
            (tmp_path / "adapter_model.safetensors").write_bytes(content)
        with pytest.raises(SystemExit):
            score(tmp_path)
        assert message in capsys.readouterr().err


def test_headers_descriptions_and_labels_make_up_the_texts(reviews: Reviews) -> None:
    split = reviews.splits["test"]
    found = read_reviews(split, CLASS_TEMPLATE)
    assert [f"{header} {text}" for header, text in zip(found.headers, found.descriptions, strict=True)] == list(
        texts(split)
    )
    first = split[0]
    assert found.headers[0] == f"wine review : {first['country']} : {first['province']} : {first['variety']} :"
    assert {name: labels[0] for name, labels in found.labels.items()} == {
        name: first[name] for name in ("country", "province", "variety")
    }


def test_some_generated_provinces_lie_in_their_country(report: EvaluationReport) -> None:
    # the sample has few provinces, so even this small model learns some of them
    assert report.conditioning is not None
    assert 0 < (report.conditioning.existing_provinces or 0) <= 1


WRONG = {
    "no model": ([], "name a model first: score.py MODEL"),
    "flag first": (["--texts", "3"], "name a model first"),
    "no folder": (["{home}/none"], "model: no such folder"),
    "no model in it": (["{home}"], "holds no model"),
    "unknown flag": (["{base}", "--text", "3"], "unknown key text; did you mean texts?"),
    "split": (["{base}", "--split", "train"], "split is 'train': must be one of test, validation"),
    "texts": (["{base}", "--texts", "0"], "texts is 0: must be at least 1"),
    "training reviews": (
        ["{base}", "--data.split_seed", "8"],
        "data.split_seed: {base} was trained with 7; another value would score reviews that it has seen: leave",
    ),
    "more test reviews": (
        ["{base}", "--data.test_fraction", "0.5"],
        "data.test_fraction: {base} was trained with 0.1",
    ),
    "no test split": (
        ["{base}", "--data.path", "sample", "--data.test_fraction", "0"],
        "the test split is empty: raise data.test_fraction",
    ),
    "no such file": (["{base}", "--data.path", "{home}/none.json"], "no such file"),
    "not writable": (["{base}", "--output_dir", "{home}/reviews.json"], "can't write to {home}/reviews.json"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line_and_exit_code_2(
    home: Path, base: Path, score: Run, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, message = WRONG[case]
    folders = {"home": home, "base": base}
    with pytest.raises(SystemExit) as stopped:
        score(*(argument.format(**folders) for argument in arguments))
    assert stopped.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message.format(**folders) in error


def test_without_evaluate_one_line_says_what_to_install(
    base: Path, score: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "evaluate", None)
    with pytest.raises(SystemExit):
        score(base)
    assert f"evaluation needs evaluate: {install_command('evaluation')}" in capsys.readouterr().err
