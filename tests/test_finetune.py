"""Fine-tuning: its files and figures, resuming, loading without wine_gpt, and refused input."""

import copy
import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from peft import PeftModel
from safetensors.torch import load_file, save_file
from support.halt import interrupt_steps
from support.refused import refused as refused_call
from support.refused import refused_script
from support.small_run import flags
from support.snapshot import file_contents
from support.system_faults import run_in_subprocess
from support.toy_training import MODEL, make_splits, make_tokenizer
from support.training_processes import script
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from wine_gpt.base_model import base_of, data_settings
from wine_gpt.commands.finetune import main
from wine_gpt.config import (
    DataConfig,
    FinetuneConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    PretrainConfig,
    ReviewsConfig,
    TrainingConfig,
)
from wine_gpt.config_io import parse_config
from wine_gpt.data.reviews import load_reviews
from wine_gpt.data.subsets import Subset
from wine_gpt.data.template import CLASS_TEMPLATE, COMPOSED
from wine_gpt.errors import RunInterrupted, UserError
from wine_gpt.finetuning.adapter import build_adapter
from wine_gpt.finetuning.base import Base, load_base
from wine_gpt.finetuning.finetune import finetune
from wine_gpt.finetuning.interpolation import ALPHAS, best_alpha, keep_best_alpha
from wine_gpt.finetuning.objective import SubsetModeling
from wine_gpt.finetuning.results import BaseReference, SubsetMetrics, ValidationLoss
from wine_gpt.finetuning.subset_reviews import SubsetReviews
from wine_gpt.finetuning.subset_run import SubsetRun
from wine_gpt.installation import install_command
from wine_gpt.modeling.gpt2 import build_model
from wine_gpt.modeling.loss import LanguageModelLoss
from wine_gpt.modeling.pretrained import load_model
from wine_gpt.modeling.scoring import score, score_after
from wine_gpt.run_folder import locked
from wine_gpt.tokenizer.encoding import TOKENIZED
from wine_gpt.training.objective import LanguageModeling
from wine_gpt.training.pretrain import pretrain
from wine_gpt.training.resume import trained_weights
from wine_gpt.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
TRAINING = TrainingConfig(
    epochs=2, batch_tokens=512, learning_rate=0.01, mixed_precision="no", weight_decay=0.0, warmup_ratio=0.1
)
# the fruits that this grape's reviews name, in a fixed order
OWN = {"Pinot Noir": "cherry then beet then tea", "Rosé": "melon then peach then mint"}
OTHERS = ["cherry", "beet", "tea", "melon", "peach", "mint"]
ENOUGH = 30


def write_records(file: Path) -> None:
    """Write 240 reviews of five grapes, two of which have accents or spaces in their names."""
    random = np.random.default_rng(0)
    grapes = ["Pinot Noir"] * 80 + ["Rosé"] * 60 + ["Gamay"] * 60 + ["../../x"] * 39 + ["Lonely"]
    records = []
    for number, grape in enumerate(grapes):
        order = OWN.get(grape) or " then ".join(random.permutation(OTHERS)[:3])
        text = f"Number {number % 50} of {random.integers(100)}: {order}. {' '.join(random.permutation(OTHERS)[:4])}."
        country = ("France", "Italy")[number % 2]
        records.append({"country": country, "province": "Somewhere", "variety": grape, "description": text})
    file.write_text(json.dumps(records), encoding="utf-8")


def data_of(folder: Path) -> DataConfig:
    return DataConfig(path=str(folder / "reviews.json"), validation_fraction=0.2, test_fraction=0.2)


def reviews_of(folder: Path) -> datasets.DatasetDict:
    return load_reviews(data_of(folder)).splits


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with reviews and a base model that was trained on them for 3 epochs."""
    folder = tmp_path_factory.mktemp("finetuning")
    write_records(folder / "reviews.json")
    cache = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    pretrain(
        PretrainConfig(
            data=data_of(folder),
            model=ModelConfig(n_layer=2, n_head=2, n_embd=32, n_inner=64, block_size=48, dropout=0.1),
            training=dataclasses.replace(TRAINING, epochs=3),
            output_dir=str(folder / "base"),
        )
    )
    yield folder
    datasets.config.HF_DATASETS_CACHE = cache


def config(work: Path, output: str, **settings: Any) -> FinetuneConfig:  # noqa: ANN401
    given = {"base": str(work / "base"), "output_dir": str(work / output), "training": TRAINING, "min_reviews": ENOUGH}
    if settings.get("method") != "full":
        given |= {"objective": ObjectiveConfig(header_weight=2.0, text_weight=0.5), "lora": LoraConfig(rank=2)}
    return FinetuneConfig(**(given | settings))


@pytest.fixture(scope="module")
def adapters(work: Path) -> list[SubsetMetrics]:
    """Return the metrics of an adapter for each grape."""
    return finetune(config(work, "lora", variety="all"))


@pytest.fixture(scope="module")
def whole(work: Path) -> SubsetMetrics:
    """Return the metrics of a whole model for one grape."""
    (metrics,) = finetune(config(work, "full", method="full", variety="pinot noir"))
    return metrics


# files and figures


def test_each_value_gets_a_folder(work: Path, adapters: list[SubsetMetrics], whole: SubsetMetrics) -> None:
    assert [metrics.value for metrics in adapters] == ["Pinot Noir", "Gamay", "Rosé", "../../x"]
    common = {"finetune.yaml", "metrics.json", "review_template.json", "tokenizer.json", "tokenizer_config.json"}
    for slug in ("pinot-noir", "gamay", "rose", "x"):
        assert {*file_contents(work / "lora" / slug)} == common | {"adapter_config.json", "adapter_model.safetensors"}
    model = {"config.json", "generation_config.json", "model.safetensors"}
    assert {*file_contents(work / "full" / "pinot-noir")} == common | model
    tables = {"subsets.csv", "subsets.md", "subsets.png"}
    assert {path.name for path in (work / "lora").iterdir()} == tables | {"pinot-noir", "gamay", "rose", "x"}
    assert (work / "lora" / "subsets.md").read_text(encoding="utf-8").count("\n") == 2 + 4


def test_the_figures_are_of_the_subsets_reviews_in_each_split(
    work: Path, adapters: list[SubsetMetrics], whole: SubsetMetrics
) -> None:
    reviews = reviews_of(work)
    sha256 = hashlib.sha256((work / "base" / "model.safetensors").read_bytes()).hexdigest()
    for metrics in (*adapters, whole):
        counts = {name: split["variety"].count(metrics.value) for name, split in reviews.items()}
        assert metrics.reviews == counts
        assert metrics.base == BaseReference(str(work / "base"), sha256)
        whole_reviews, after_header = metrics.comparison.whole, metrics.comparison.after_header
        expected = whole_reviews.tuned.perplexity / whole_reviews.base.perplexity - 1
        assert whole_reviews.perplexity_change.value == pytest.approx(expected)
        assert metrics.alpha in ALPHAS
        # wine review : france : somewhere : pinot noir :, of which the first word is counted in neither
        of_header = 7 + len(re.findall(r"\w+|[^\w\s]", metrics.value))
        for before, after in ((whole_reviews.tuned, after_header.tuned), (whole_reviews.base, after_header.base)):
            assert before.reviews == counts["test"]
            assert before.words - after.words == of_header * counts["test"]
    (saved,) = (json.loads(path.read_text()) for path in (work / "full").glob("*/metrics.json"))
    assert saved == whole.to_dict()
    assert SubsetMetrics.from_dict(saved) == whole
    assert whole.size_bytes == (work / "full" / "pinot-noir" / "model.safetensors").stat().st_size


def test_it_learns_what_is_specific_to_the_subset(adapters: list[SubsetMetrics], whole: SubsetMetrics) -> None:
    for metrics in (adapters[0], whole):
        assert metrics.comparison.better
        assert metrics.comparison.whole.perplexity_change.high < -0.02
    assert whole.comparison.after_header.perplexity_change.high < 0


def test_the_header_is_learned_and_the_text_is_held_to_the_base(work: Path) -> None:
    training = dataclasses.replace(TRAINING, epochs=8)
    objective = ObjectiveConfig(header_weight=4.0, text_weight=0.0)
    (metrics,) = finetune(config(work, "held", variety="rosé", training=training, objective=objective))
    assert metrics.comparison.ceiling_reached is not None
    assert metrics.comparison.ceiling_reached > 0.9
    # trained on the text, the adapter changes it by -19%
    assert abs(metrics.comparison.after_header.perplexity_change.value) < 0.02


def test_the_header_has_a_weight_of_its_own_and_the_base_predicts_the_text() -> None:
    """Against the plain formula: 3 CE(header) + 0.25 CE(text) + 0.75 CE(text, base), without dropout."""
    tokenizer, splits = make_tokenizer(), make_splits()
    model = build_model(MODEL, tokenizer, 0)
    # each header is "w0 : w1 :"
    data = DataConfig(prefix="w0", prompt_fields=("field",), text_field="text")
    texts = datasets.DatasetDict(
        train=datasets.Dataset.from_list([{"field": "w1", "text": ""}] * len(splits["train"]))
    )
    subset = SubsetReviews(Base("", data, "", "", tokenizer), Subset("w1", "w1", {}), texts, splits, 1.0)
    weights = ObjectiveConfig(header_weight=3.0, text_weight=0.25)
    objective = SubsetModeling(model, subset, weights, Accelerator(cpu=True))
    base = copy.deepcopy(model).eval()
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    objective.module.train()
    reviews = np.array([5, 0, 7])
    found = objective.module(*objective.inputs(reviews, 12, torch.device("cpu")))
    expected = torch.zeros(())
    for ids in splits["train"][reviews]["input_ids"]:
        given, labels = torch.tensor([ids[:-1]]), torch.tensor(ids[1:])
        logs = model(given).logits[0].log_softmax(-1)
        taught = -(base(given).logits[0].softmax(-1) * logs).sum(-1)
        own = -logs[torch.arange(len(labels)), labels]
        expected = expected + 3 * own[:4].sum() + (0.25 * own + 0.75 * taught)[4:].sum()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_copying_is_measured_for_generated_and_real_reviews(work: Path, adapters: list[SubsetMetrics]) -> None:
    reviews = reviews_of(work)

    def words(split: str) -> list[list[str]]:
        rows = zip(reviews[split]["variety"], reviews[split]["description"], strict=True)
        return [re.findall(r"\w+|[^\w\s]", text.lower()) for variety, text in rows if variety == "Pinot Noir"]

    spans = {
        tuple(of[start:end])
        for of in words("train")
        for start in range(len(of))
        for end in range(start + 1, len(of) + 1)
    }
    longest = [
        max(
            end - start
            for start in range(len(of))
            for end in range(start + 1, len(of) + 1)
            if tuple(of[start:end]) in spans
        )
        for of in words("test") + words("validation")
    ]
    copying = adapters[0].copying
    assert copying is not None
    assert copying.real == pytest.approx(np.mean(longest))
    # the model has learned some spans
    assert 1 < copying.generated < max(map(len, spans))
    figures = f"{copying.generated:.1f} ({np.mean(longest):.1f})"
    assert f" | {figures} | " in (work / "lora" / "subsets.md").read_text(encoding="utf-8")


def test_an_adapters_copies_are_measured_without_transformers_slow_loop(
    work: Path, adapters: list[SubsetMetrics], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*arguments: object) -> None:
        raise AssertionError("the loop of transformers")

    monkeypatch.setattr("wine_gpt.generation.generate._generate", slow)
    monkeypatch.setattr(LanguageModeling, "sample", lambda objective, seed: [])
    (metrics,) = finetune(config(work, "fast", variety="rosé"))
    assert metrics.copying == adapters[2].copying


def test_the_kept_alpha_is_the_best_on_validation(adapters: list[SubsetMetrics]) -> None:
    for metrics in adapters:
        losses = metrics.validation_by_alpha
        kept = losses[metrics.alpha]
        assert kept.whole == min(loss.whole for loss in losses.values() if not loss.text_is_worse)
        assert not kept.text_is_worse
        # at 1 the weights are those of the best epoch
        best = min(epoch.nats_per_word for epoch in metrics.training.epochs if epoch.nats_per_word)
        assert losses[1.0].whole == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_each_method_has_a_config(method: str) -> None:
    file = ROOT / "configs" / "finetune" / f"{method}.yaml"
    given = parse_config(FinetuneConfig, [str(file), "--variety", "Rosé", "--resume"])
    assert (given.method, given.requested, given.field, given.resume) == (method, "Rosé", "variety", True)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_interpolation_undoes_an_overlong_training(tmp_path: Path, method: str) -> None:
    """Weights extrapolated to 4 times the trained update are best at alpha 0.25."""
    tokenizer, splits = make_tokenizer(), make_splits()
    model = build_model(MODEL, tokenizer, 0)
    if method == "lora":
        model = build_adapter(model, LoraConfig(rank=4, dropout=0.0), seed=0)
    longer = dataclasses.replace(TRAINING, epochs=8)
    trainer = Trainer(
        LanguageModeling(LanguageModelLoss(model), tokenizer, splits, "w0"),
        longer,
        Accelerator(cpu=True),
        tmp_path,
        {},
    )
    weights = trained_weights(model)
    start = {name: tensor.clone() for name, tensor in weights.items()}
    base = score(trainer.module, splits["validation"], tokenizer, trainer.accelerator)
    trainer.run()
    good = score(trainer.module, splits["validation"], tokenizer, trainer.accelerator)
    for name, tensor in weights.items():
        if "lora_A" not in name:
            tensor.copy_(torch.lerp(start[name], tensor, 4.0))
    # the header of these texts is their first word
    skips = [None, np.ones(len(splits["validation"]), np.int64)]
    alpha, losses = keep_best_alpha(
        trainer,
        start,
        lambda: score_after(skips, trainer.module, splits["validation"], tokenizer, trainer.accelerator),
    )
    whole = [loss.whole for loss in losses.values()]
    assert whole == [loss.text for loss in losses.values()]
    assert losses[alpha].whole == min(whole)
    assert losses[0.25].whole == pytest.approx(good.nats_per_word, abs=1e-5)
    assert losses[0.0].whole == pytest.approx(base.nats_per_word, abs=1e-5)
    kept = score(trainer.module, splits["validation"], tokenizer, trainer.accelerator)
    assert kept.nats_per_word == pytest.approx(min(whole), abs=1e-5)
    assert min(whole) < min(whole[0], whole[-1])


def test_a_gain_from_the_header_does_not_outweigh_a_worse_text() -> None:
    whole = (3.0, 2.9, 2.8, 2.7, 2.6)
    losses = {alpha: ValidationLoss(a, 3 + alpha, alpha > 0.5) for alpha, a in zip(ALPHAS, whole, strict=True)}
    assert best_alpha(losses) == 0.5
    worse = {alpha: ValidationLoss(a, 3 + alpha, alpha > 0) for alpha, a in zip(ALPHAS, whole, strict=True)}
    assert best_alpha(worse) == 0.0


def test_all_adapters_have_the_same_shape(work: Path, adapters: list[SubsetMetrics]) -> None:
    settings = [json.loads(path.read_text()) for path in (work / "lora").glob("*/adapter_config.json")]
    assert len({json.dumps({**one, "target_modules": sorted(one["target_modules"])}) for one in settings}) == 1
    assert settings[0]["fan_in_fan_out"] is True
    assert settings[0]["base_model_name_or_path"] == str(work / "base")
    assert "auto_map" not in settings[0]
    shapes = [
        {name: tensor.shape for name, tensor in load_file(path).items()}
        for path in (work / "lora").glob("*/adapter_model.safetensors")
    ]
    assert all(shape == shapes[0] for shape in shapes)


def test_the_scoring_script_finds_a_models_reviews_by_its_base(
    work: Path, adapters: list[SubsetMetrics], whole: SubsetMetrics
) -> None:
    for folder in (work / "lora" / "rose", work / "full" / "pinot-noir"):
        assert data_settings(folder) == data_settings(work / "base") != {}


def test_the_words_before_the_running_text_are_counted(work: Path) -> None:
    reviews = datasets.Dataset.from_dict(
        {
            "country": ["Spain", "A-B"],
            "province": ["Rioja", "C"],
            "variety": ["Red", "D"],
            "description": ["Good : wine.", "Wine review : E"],
        }
    )
    splits = datasets.DatasetDict(train=reviews)
    subset = SubsetReviews(load_base(str(work / "base")), Subset("Red", "red", {}), splits, splits, 1.0)
    # wine review : spain : rioja : red : / wine review : a - b : c : d :
    assert subset.header_lengths["train"].tolist() == [9, 11]


def test_what_the_value_tells_is_measured_against_headers_without_it(
    work: Path, adapters: list[SubsetMetrics], whole: SubsetMetrics
) -> None:
    """Against forward passes over texts in which [UNK] replaces the words of the grape."""
    base, reviews = load_base(str(work / "base")), reviews_of(work)
    model = load_model(work / "base").eval()
    for metrics in (*adapters, whole):
        nats = []
        for record in reviews["test"]:
            if record["variety"] != metrics.value:
                continue
            words = len(base.tokenizer.tokenize(metrics.value))
            text = base.tokenizer.tokenize(CLASS_TEMPLATE.render(record))
            start = len(base.tokenizer.tokenize(f"wine review : {record['country']} : {record['province']} :"))
            ids = base.tokenizer.convert_tokens_to_ids(["[BOS]", *text])
            ids[start + 1 : start + 1 + words] = [base.tokenizer.unk_token_id] * words
            ids = torch.tensor(ids)
            with torch.inference_mode():
                logs = model(ids[None]).logits[0].log_softmax(dim=-1)
            first = start + 1 + words + 1
            nats += [-logs[position - 1, ids[position]].item() for position in range(first, len(ids))]
        hidden = metrics.comparison.value_hidden
        assert hidden is not None
        assert hidden.base.words == len(nats) == metrics.comparison.after_header.base.words
        assert hidden.base.nats_per_word == pytest.approx(np.mean(nats), abs=1e-4)
        shown = metrics.comparison.after_header.base.nats_per_word
        assert hidden.perplexity_change.value == pytest.approx(np.expm1(shown - np.mean(nats)), abs=1e-4)
        train = reviews["train"]["variety"]
        assert metrics.comparison.train_fraction == train.count(metrics.value) / len(train)


# loading with peft and transformers


def test_the_models_load_switch_and_merge_and_have_the_figures_of_their_metrics(
    work: Path, adapters: list[SubsetMetrics], whole: SubsetMetrics
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(work / "lora" / "pinot-noir")
    split = reviews_of(work)["test"]
    texts = [text for text, grape in zip(split[COMPOSED], split["variety"], strict=True) if grape == "Pinot Noir"]
    encoded = [tokenizer(text, return_tensors="pt").input_ids for text in texts]

    def load(name: str) -> PeftModel:
        base = AutoModelForCausalLM.from_pretrained(work / "base")
        return PeftModel.from_pretrained(base, work / "lora" / name, adapter_name=name)

    def logits(model: torch.nn.Module, ids: torch.Tensor = encoded[0]) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model.eval()(ids).logits
        return found

    alone = {name: logits(load(name)) for name in ("pinot-noir", "rose")}
    both = load("pinot-noir")
    both.load_adapter(work / "lora" / "rose", adapter_name="rose")
    for name in ("rose", "pinot-noir"):
        both.set_adapter(name)
        assert torch.equal(logits(both), alone[name])
    assert torch.allclose(logits(load("pinot-noir").merge_and_unload()), alone["pinot-noir"], atol=1e-4)
    assert (alone["rose"] - alone["pinot-noir"]).abs().max() > 0.1
    full = work / "full" / "pinot-noir"
    for model, metrics in ((load("pinot-noir"), adapters[0]), (AutoModelForCausalLM.from_pretrained(full), whole)):
        # without the start of text and the first word
        scores = torch.cat([logits(model, ids)[0, 1:-1] for ids in encoded])
        nats = torch.nn.functional.cross_entropy(scores, torch.cat([ids[0, 2:] for ids in encoded]))
        assert nats.exp().item() == pytest.approx(metrics.comparison.whole.tuned.perplexity, rel=1e-4)
    for folder in (work / "lora" / "pinot-noir", full):
        generate = pipeline("text-generation", model=str(folder))
        written = generate("wine review : France", do_sample=False)[0]["generated_text"]
        assert written.startswith("wine review : France")


# resuming


class Killed(BaseException):
    """Simulates SIGKILL, which no handler can catch."""


def test_a_killed_run_resumes_to_the_same_bits(
    work: Path,
    adapters: list[SubsetMetrics],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    saves = iter(range(100))
    save = Trainer.save_checkpoint

    def save_and_die(trainer: Trainer) -> None:
        save(trainer)
        # two epochs of the first subset and one of the second are saved
        if next(saves) == 2:
            raise Killed

    monkeypatch.setattr(Trainer, "save_checkpoint", save_and_die)
    with pytest.raises(Killed):
        finetune(config(work, "killed", variety="all"))
    monkeypatch.undo()
    assert (work / "killed" / "pinot-noir" / "metrics.json").exists()
    assert not (work / "killed" / "gamay" / "metrics.json").exists()
    finished = file_contents(work / "killed" / "pinot-noir")
    for variety in ("all", "gamay"):
        with pytest.raises(UserError, match="gamay holds an unfinished run: --resume to continue"):
            finetune(config(work, "killed", variety=variety))
    with caplog.at_level("INFO", logger="wine_gpt"):
        metrics = finetune(config(work, "killed", variety="all", resume=True))
    log = caplog.text
    assert log.count("finished already") == 1
    assert log.count("resumed from step ") == 1
    assert file_contents(work / "killed" / "pinot-noir") == finished
    for slug in ("pinot-noir", "gamay", "rose", "x"):
        weights = f"{slug}/adapter_model.safetensors"
        assert (work / "killed" / weights).read_bytes() == (work / "lora" / weights).read_bytes(), slug
    timeless = [
        [dataclasses.replace(one, seconds=0, training=one.training.epochs, settings={}) for one in found]
        for found in (metrics, adapters)
    ]
    assert timeless[0] == timeless[1]
    assert not [*(work / "killed").glob("*/checkpoints")]


def test_finished_subsets_are_skipped(
    work: Path, adapters: list[SubsetMetrics], caplog: pytest.LogCaptureFixture
) -> None:
    """Also without --resume, so that ``--variety all`` adds the others to those that there are."""
    shutil.copytree(work / "lora", work / "more", ignore=shutil.ignore_patterns("gamay"))
    with caplog.at_level("INFO", logger="wine_gpt"):
        found = finetune(config(work, "more", variety="all"))
    assert caplog.text.count("finished already") == 3
    assert [metrics.value for metrics in found] == ["Pinot Noir", "Gamay", "Rosé", "../../x"]
    assert found[0] == adapters[0]
    for slug in ("pinot-noir", "rose", "x"):
        assert file_contents(work / "more" / slug) == file_contents(work / "lora" / slug)


def test_checkpoints_that_a_killed_run_left_are_removed(work: Path, whole: SubsetMetrics) -> None:
    shutil.copytree(work / "full", work / "left")
    left = work / "left" / "pinot-noir" / "checkpoints"
    (left / "step-00000008").mkdir(parents=True)
    with locked(left.parent), pytest.raises(UserError, match="is locked by pid"):
        finetune(config(work, "left", method="full", variety="pinot noir"))
    assert left.exists()
    assert finetune(config(work, "left", method="full", variety="pinot noir")) == [whole]
    assert not left.exists()


def test_a_table_that_cannot_be_written_is_one_line(work: Path, whole: SubsetMetrics) -> None:
    shutil.copytree(work / "full", work / "blocked")
    (work / "blocked" / "subsets.csv").unlink()
    (work / "blocked" / "subsets.csv").mkdir()
    with pytest.raises(UserError, match=r"can't write .*blocked: .* Is a directory.*bytes free$"):
        finetune(config(work, "blocked", method="full", variety="pinot noir"))


def test_ctrl_c_in_one_subset_stops_all(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "end_epoch", lambda trainer, progress: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(RunInterrupted):
        finetune(config(work, "interrupted", variety="all"))
    assert [path.name for path in (work / "interrupted").iterdir()] == ["pinot-noir"]


def test_a_run_finished_with_other_settings_is_refused(work: Path, whole: SubsetMetrics) -> None:
    before = file_contents(work / "full")
    longer = dataclasses.replace(TRAINING, epochs=5)
    with pytest.raises(UserError, match=r"other settings: training.epochs: then 2, now 5;"):
        finetune(config(work, "full", method="full", variety="pinot noir", training=longer, resume=True))
    assert file_contents(work / "full") == before


def test_overwrite_leaves_nothing_of_the_run_before(
    work: Path, adapters: list[SubsetMetrics], whole: SubsetMetrics
) -> None:
    shutil.copytree(work / "full", work / "again")
    shutil.copytree(work / "lora" / "rose", work / "again" / "rose")
    finetune(config(work, "again", variety="pinot noir", overwrite=True))
    names = {path.name for path in (work / "again" / "pinot-noir").iterdir()}
    assert "adapter_config.json" in names
    assert not names & {"config.json", "model.safetensors", "generation_config.json"}
    table = (work / "again" / "subsets.md").read_text(encoding="utf-8")
    assert table.count("| lora |") == 2
    assert "| Rosé |" in table


def test_an_interrupted_overwrite_of_several_subsets_is_resumed(
    work: Path, whole: SubsetMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(work / "full" / "pinot-noir", work / "replaced" / "rose")
    metrics = json.loads((work / "replaced" / "rose" / "metrics.json").read_text(encoding="utf-8"))
    former = {**metrics, "value": "Rosé", "settings": {**metrics["settings"], "value": "Rosé"}}
    (work / "replaced" / "rose" / "metrics.json").write_text(json.dumps(former), encoding="utf-8")
    (work / "replaced" / "rose" / "adapter_config.json").write_text("{}")
    training = dataclasses.replace(TRAINING, epochs=1)
    settings = {"method": "full", "variety": "all", "min_reviews": 50, "training": training}
    with monkeypatch.context() as patch:
        interrupt_steps(patch, signal.SIGINT)
        with pytest.raises(RunInterrupted):
            finetune(config(work, "replaced", overwrite=True, **settings))
    found = finetune(config(work, "replaced", resume=True, **settings))
    assert {one.value: len(one.training.epochs) for one in found} == {"Pinot Noir": 1, "Gamay": 1, "Rosé": 1}
    assert not (work / "replaced" / "rose" / "adapter_config.json").exists()


def test_models_of_two_bases_are_not_mixed(work: Path, whole: SubsetMetrics, tmp_path: Path) -> None:
    other = shutil.copytree(work / "base", tmp_path / "other", ignore=shutil.ignore_patterns("checkpoints"))
    weights = load_file(other / "model.safetensors")
    weights["transformer.ln_f.bias"] += 0.01
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    shutil.copytree(work / "full", work / "two")
    before = file_contents(work / "two")
    settings = {"method": "full", "base": str(other)}
    for variety in ("gamay", "pinot noir"):
        with pytest.raises(UserError, match=r"pinot-noir was fine-tuned from other weights, of .*base: name another"):
            finetune(config(work, "two", variety=variety, **settings))
    assert file_contents(work / "two") == before
    (metrics,) = finetune(config(work, "two", variety="pinot noir", overwrite=True, **settings))
    assert metrics.base.path == str(other)


def test_a_folder_with_pretraining_runs_is_refused(work: Path) -> None:
    for output in ("", "base"):
        with pytest.raises(UserError, match=r"output_dir: .*base is a pretraining run: name a folder for adapters"):
            finetune(config(work, output, variety="gamay"))


# the base's path


def test_a_base_given_by_a_relative_path_is_recorded_by_its_absolute_path(
    work: Path, adapters: list[SubsetMetrics], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    given = config(work, "named", variety="rosé", base="./base", training=dataclasses.replace(TRAINING, epochs=1))
    (metrics,) = finetune(given)
    folder, base = work / "named" / "rose", str(work / "base")
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == base
    assert metrics.base.path == json.loads((folder / "metrics.json").read_text())["base"]["path"] == base
    assert parse_config(FinetuneConfig, [str(folder / "finetune.yaml")]).base == base


def moved(work: Path, tmp_path: Path, named: str) -> Path:
    """Copy a base and an adapter of it, which names its base as ``named``, to ``now/runs``; return the adapter."""
    runs = tmp_path / "now" / "runs"
    shutil.copytree(work / "base", runs / "base", ignore=shutil.ignore_patterns("checkpoints"))
    shutil.copytree(work / "lora" / "rose", runs / "lora" / "rose")
    for name, change in (
        ("adapter_config.json", lambda content: {"base_model_name_or_path": named}),
        ("metrics.json", lambda content: {"base": {**content["base"], "path": named}}),
    ):
        file = runs / "lora" / "rose" / name
        content = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**content, **change(content)}), encoding="utf-8")
    return runs / "lora" / "rose"


@pytest.mark.parametrize("named", ["../base", "/gone/project/runs/base", r"C:\Users\ana\runs\base"])
def test_a_base_that_was_moved_with_its_adapter_is_found(
    work: Path, adapters: list[SubsetMetrics], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    adapter = moved(work, tmp_path, named)
    monkeypatch.chdir(tmp_path)
    base = adapter.parents[1] / "base"
    assert base_of(adapter) == base
    assert data_settings(adapter) == data_settings(base) != {}
    assert torch.equal(load_model(adapter).transformer.wpe.weight, load_model(base).transformer.wpe.weight)
    (tmp_path / "link").symlink_to(adapter)
    assert base_of("link") == base


@pytest.mark.parametrize("named", ["runs/base", "x" * 300])
def test_a_missing_base_is_one_line_and_not_asked_of_the_hub(
    work: Path, adapters: list[SubsetMetrics], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    adapter = moved(work, tmp_path, named)
    shutil.rmtree(adapter.parents[1] / "base")
    monkeypatch.chdir(tmp_path)
    assert data_settings(adapter) == {}
    line = refused_call(load_model, adapter)
    assert line.startswith(f"model: {adapter} is an adapter of {named}, which is no folder: write the path")
    # a folder of that name with another model is not the base either
    shutil.copytree(work / "lora" / "gamay", tmp_path / "now" / "base")
    assert refused_call(load_model, adapter) == line


def test_a_base_that_was_trained_again_is_refused(work: Path, adapters: list[SubsetMetrics], tmp_path: Path) -> None:
    adapter = moved(work, tmp_path, str(tmp_path / "now" / "runs" / "base"))
    weights = load_file(adapter.parents[1] / "base" / "model.safetensors")
    weights["transformer.ln_f.bias"] += 0.01
    save_file(weights, adapter.parents[1] / "base" / "model.safetensors", metadata={"format": "pt"})
    assert "base was trained again since" in refused_call(load_model, adapter)


def test_folders_may_have_any_name(work: Path, adapters: list[SubsetMetrics], tmp_path: Path) -> None:
    home = tmp_path / '-dash ünï-çødé "x" quote\'d #1 50% [a]*?'
    shutil.copytree(work / "base", home / "base", ignore=shutil.ignore_patterns("checkpoints"))
    settings = {"base": str(home / "base"), "training": dataclasses.replace(TRAINING, epochs=1)}
    finetune(config(home, "lora", variety="rosé", **settings))
    assert (home / "lora" / "subsets.md").read_text(encoding="utf-8").count("Rosé") == 1
    assert base_of(home / "lora" / "rose") == home / "base"
    load_model(home / "lora" / "rose")


# refused input


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """Return a function that runs the command, which must refuse its arguments, and returns the error."""
    return lambda arguments: refused_script(capsys, main, arguments)


# Accelerate keeps one precision per process
GIVEN = ["--min_reviews", str(ENOUGH), "--training.mixed_precision", "no"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variety", "Lonely"], "variety Lonely: 1 review, minimum 30"),
        (["--variety", "../../y"], "variety ../../y: 0 reviews, minimum 30; did you mean ../../x?"),
        (["--variety", "Pinot Noirr"], "variety Pinot Noirr: 0 reviews, minimum 30; did you mean Pinot Noir?"),
        (["--variety", "/etc/passwd"], "variety /etc/passwd: 0 reviews, minimum 30"),
        (
            ["--variety", "all", "--min_reviews", "500"],
            "variety all: none has 500 reviews, some in each split: the larg",
        ),
        (["--field", "country", "--value", "Itly"], "country Itly: 0 reviews, minimum 30; did you mean Italy?"),
        (
            ["--field", "region", "--value", "x"],
            "config: field is 'region': the reviews have no such column; name one of country, province, variety, desc",
        ),
        (["--variety", "gamay", "--lora.targets", "wq"], "lora.targets: Target modules"),
        (
            ["--variety", "gamay", "--base", "none"],
            "base: no such folder: none",
        ),
        (
            ["--variety", "gamay", "--base", "org/wine-gpt"],
            "base: no such folder: org/wine-gpt; download it first: hf download org/wine-gpt --local-dir FOLDER",
        ),
        (["--variety", "gamay", "--data.path", "none.json"], "data.path: no such file: none.json"),
        (
            ["--variety", "gamay", "--data.prefix", "beer"],
            "config: command line: data.prefix is no setting of this command, but of pretrain",
        ),
        ([], "config: value is None: name one"),
        (["--variety", " "], "config: value is ' ': name one"),
        (["--variety", "gamay", "--field", "country"], "config: variety is 'gamay': is short for field and value"),
        (
            ["--variety", "gamay", "--method", "full", "--lora.targets", "c_attn"],
            "config: lora.targets is ('c_attn',): --method full trains all weights and has no adapter: leave it out",
        ),
        (["--variety", "gamay", "--method", "prompt"], "config: method is 'prompt': must be one of lora, full"),
        (
            ["--variety", "gamay", "--resume", "--overwrite"],
            "config: overwrite is True: can't go together with resume",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_and_writes_nothing(
    work: Path, refused: Callable[[list[str]], str], arguments: list[str], message: str
) -> None:
    before = {path for path in work.rglob("*") if "cache" not in path.parts}
    output = ["--output_dir", str(work / "deep" / "wrong")]
    assert refused([*GIVEN, "--base", str(work / "base"), *output, *arguments]).startswith(message)
    after = {path for path in work.rglob("*") if "cache" not in path.parts}
    # the lock of a run that could not start may stay
    assert {path for path in after - before if path.is_file()} <= {
        work / "deep" / "wrong" / "gamay" / "checkpoints" / ".lock"
    }


def test_a_fine_tuned_model_is_no_base(
    work: Path, adapters: list[SubsetMetrics], whole: SubsetMetrics, refused: Callable[[list[str]], str]
) -> None:
    for folder in (work / "lora" / "rose", work / "full" / "pinot-noir"):
        line = refused([*GIVEN, "--base", str(folder), "--variety", "gamay", "--output_dir", str(work / "twice")])
        assert line == f"base: {folder} is a fine-tuned model: name a pretrained run, such as {work / 'base'}"


def test_other_reviews_than_the_bases_are_refused(work: Path, refused: Callable[[list[str]], str]) -> None:
    records = json.loads((work / "reviews.json").read_text(encoding="utf-8"))
    (work / "fewer.json").write_text(json.dumps(records[1:]), encoding="utf-8")
    arguments = [*GIVEN, "--base", str(work / "base"), "--variety", "gamay", "--output_dir", str(work / "other")]
    line = refused([*arguments, "--data.path", str(work / "fewer.json")])
    assert re.search(r"fewer\.json is not what .*base was trained on: its reviews", line)
    # the same reviews in another file are accepted
    shutil.copy(work / "reviews.json", work / "moved.json")
    moved = ReviewsConfig(path=str(work / "moved.json"))
    finetune(config(work, "moved", variety="gamay", data=moved, training=dataclasses.replace(TRAINING, epochs=1)))


def test_a_subset_whose_words_are_all_unknown_is_named(work: Path, tmp_path: Path) -> None:
    base = load_base(str(work / "base"))
    ids = [base.tokenizer.bos_token_id, *[base.tokenizer.unk_token_id] * 3, base.tokenizer.eos_token_id]
    unknown = datasets.Dataset.from_dict({"input_ids": [ids], "length": [len(ids)]}, features=TOKENIZED)
    splits = datasets.DatasetDict(dict.fromkeys(("train", "validation", "test"), unknown))
    settings = FinetuneConfig(base=base.path, output_dir=str(tmp_path), value="梅酒")
    reviews = SubsetReviews(base, Subset("梅酒", "x", {}), datasets.DatasetDict(), splits, 0.5)
    run = SubsetRun(reviews, settings, Accelerator(cpu=True))
    message = refused_call(run.require_ready)
    assert message.startswith("variety 梅酒: data: the validation split has nothing to score, because the tokenizer")
    assert [*tmp_path.iterdir()] == []


def test_a_base_without_a_data_fingerprint_is_refused(work: Path) -> None:
    shutil.copytree(work / "base", work / "old", ignore=shutil.ignore_patterns("checkpoints"))
    metrics = json.loads((work / "old" / "metrics.json").read_text())
    del metrics["data_fingerprint"]
    (work / "old" / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(UserError, match="has no data_fingerprint: pretrain the base again"):
        finetune(config(work, "never", variety="gamay", base=str(work / "old")))
    assert not (work / "never").exists()


def without_peft(arguments: list[str], cache: Path) -> tuple[object, str, str]:
    """Run a script in this process as where peft is not installed."""
    sys.modules["peft"] = None  # type: ignore[assignment]
    for name in [name for name in sys.modules if name.startswith("wine_gpt.")]:
        del sys.modules[name]
    return script(arguments, cache)


def test_without_peft_full_works_and_lora_says_what_to_install(
    work: Path, refused: Callable[[list[str]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [str(ROOT / "scripts" / "finetune.py"), str(ROOT / "configs" / "finetune" / "full.yaml")]
    settings = {
        **{"base": work / "base", "value": "france", "field": "country", "output_dir": work / "whole"},
        **{"training.epochs": 1, "training.mixed_precision": "no"},
    }
    arguments = [*command, *flags(settings)]
    code, stdout, stderr = run_in_subprocess(without_peft, arguments, work / "cache")
    assert code == 0, stderr
    assert "| France | full |" in stdout
    assert (work / "whole" / "france" / "model.safetensors").exists()
    monkeypatch.setitem(sys.modules, "peft", None)
    line = refused([*arguments[1:], "--method", "lora"])
    assert line == f"method lora needs peft: {install_command('adapters')}, or use --method full"
